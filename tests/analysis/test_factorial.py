"""Variance shares of factorials whose decomposition is known."""

from __future__ import annotations

import itertools

import pytest
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from gpt_experiments.analysis import LOSS, marginal_means, variance_shares
from gpt_experiments.parameters import Shape
from tests.support.simulated import full_grid, simulate


def shares(results_of: float, with_interaction: float) -> dict[str, float]:
    def loss(variant: Shape) -> float:
        wide, deep = variant.n_embed == 128, variant.n_layer == 8
        return 2.5 - results_of * wide - 0.1 * deep - with_interaction * (wide and deep)

    results = simulate(loss, variants=full_grid(), method="grid", seeds=1, noise=0.0, seed_effect=0.0)
    table = variance_shares(results)
    return dict(zip(table["term"], table["share"], strict=True))


def test_additive_effects_share_the_variance_as_their_squares() -> None:
    found = shares(0.2, 0.0)
    assert found["n_embed"] == pytest.approx(0.8)
    assert found["n_layer"] == pytest.approx(0.2)
    assert found["n_layer x n_embed"] == pytest.approx(0, abs=1e-9)
    assert found["rest"] == pytest.approx(0, abs=1e-9)
    assert sum(found.values()) == pytest.approx(1)


def test_an_interaction_has_its_own_share() -> None:
    """By hand: with levels in thirds, effects a and b and interaction c, sums of squares from the cell means."""
    a, b, c = 0.2, 0.1, 0.3
    main_a, main_b = (a + c / 3) ** 2 * 2 / 9, (b + c / 3) ** 2 * 2 / 9
    interaction = c**2 * 4 / 81
    total = main_a + main_b + interaction
    found = shares(a, c)
    assert found["n_embed"] == pytest.approx(main_a / total)
    assert found["n_layer"] == pytest.approx(main_b / total)
    assert found["n_layer x n_embed"] == pytest.approx(interaction / total)


def test_the_shares_of_noisy_losses_are_those_of_an_analysis_of_variance() -> None:
    """Against statsmodels' sequential sums of squares, which in a balanced design depend on no order."""
    results = simulate(lambda v: 2.5 - v.n_head * v.n_layer / 100, variants=full_grid(), method="grid", seeds=2)
    terms = {f"C({name})": name for name in results.varied}
    terms |= {f"C({a}):C({b})": f"{a} x {b}" for a, b in itertools.combinations(results.varied, 2)}
    table = anova_lm(ols(f"{LOSS} ~ {' + '.join(terms)}", data=results.finished).fit(), typ=1)["sum_sq"]
    found = variance_shares(results).set_index("term")["share"]
    for key, term in terms.items():
        assert found[term] == pytest.approx(table[key] / table.sum(), abs=1e-9)


def test_equal_losses_have_no_variance_to_share() -> None:
    results = simulate(lambda v: 2.5, variants=full_grid(), method="grid", seeds=1, noise=0.0, seed_effect=0.0)
    assert set(variance_shares(results)["share"]) == {0.0}


def test_marginal_means_average_over_everything_else() -> None:
    results = simulate(lambda v: v.n_head / 10, variants=full_grid(), method="grid", seeds=1, noise=0, seed_effect=0)
    means = marginal_means(results, "n_head")
    assert list(means["n_head"]) == [1, 4, 8]
    assert list(means["loss"]) == pytest.approx([0.1, 0.4, 0.8])


def test_only_a_full_factorial_is_taken_apart() -> None:
    assert not simulate(lambda v: 2.5).is_factorial
    with pytest.raises(ValueError, match="full factorial"):
        variance_shares(simulate(lambda v: 2.5))
    partial = simulate(lambda v: 2.5, variants=full_grid()[:-1], method="grid", seeds=1)
    assert not partial.is_factorial
