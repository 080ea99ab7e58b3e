"""Variance shares of factorials whose decomposition is known."""

from __future__ import annotations

import itertools

import pytest
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from gpt_experiments.analysis import LOSS, effects, findings, marginal_means, variance_shares
from gpt_experiments.analysis.factorial import reversals
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


def differing(variant: Shape) -> float:
    return 2.5 + 0.05 * (variant.n_head == 1) - 0.06 * (variant.n_embed == 128) + 0.04 * (variant.block_size == 32)


def false_verdicts(*, own_seeds: bool, seeds: int = 1, sweeps: int = 40) -> float:
    """The share of grids without any effect in which some level gets the verdict better or worse."""

    def any_false(random: int) -> bool:
        results = simulate(
            lambda v: 2.5,
            variants=full_grid(),
            method="grid",
            seeds=seeds,
            noise=0.002,
            plot_noise=0.01,
            own_seeds=own_seeds,
            random=random,
        )
        return any(effect.verdict in ("better", "worse") for effect in effects(results))

    return sum(map(any_false, range(sweeps))) / sweeps


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize(("own_seeds", "seeds"), [(True, 1), (True, 2), (False, 1)])
def test_false_verdicts_of_a_grid_are_rare_whatever_a_seed_does_to_a_size(own_seeds: bool, seeds: int) -> None:
    assert false_verdicts(own_seeds=own_seeds, seeds=seeds) <= 0.05 + 2 * (0.05 * 0.95 / 40) ** 0.5


def test_a_grid_of_one_seed_gets_verdicts_from_its_interactions() -> None:
    results = simulate(
        differing, variants=full_grid(), method="grid", seeds=1, noise=0.002, plot_noise=0.005, own_seeds=True
    )
    found = {(e.hyperparameter, e.level): e for e in effects(results)}
    assert found["n_head", 1].verdict == "worse"
    assert found["n_head", 1].difference.mean == pytest.approx(0.05, abs=0.002)
    assert found["n_head", 8].verdict == "equivalent"
    assert found["n_embed", 128].verdict == "better"
    assert found["block_size", 32].verdict == "worse"
    assert {effect.noise_from for effect in found.values()} == {"interactions"}
    # 27 plots: 20 degrees of freedom within, beyond what three hyperparameters change; 8 between, beyond their pairs.
    assert {e.difference.df for (name, _), e in found.items() if name in ("n_head", "dropout")} == {20}
    assert {e.difference.df for (name, _), e in found.items() if name not in ("n_head", "dropout")} == {8}
    assert "interactions of three and more" in " ".join(findings.overall(results, list(found.values())))


def test_sizes_that_share_one_seed_get_no_verdict() -> None:
    results = simulate(differing, variants=full_grid(), method="grid", seeds=1, noise=0.002, plot_noise=0.005)
    found = {(e.hyperparameter, e.level): e.verdict for e in effects(results)}
    assert found["n_head", 1] == "worse"
    assert {verdict for (name, _), verdict in found.items() if name not in ("n_head", "dropout")} == {"no verdict"}
    text = " ".join(findings.overall(results, effects(results)))
    assert "6 more have only one seed, so no verdict" in text
    assert "With `own_seeds: true` in its file, a grid of one seed has verdicts on sizes, too." in text


def test_a_grid_of_several_seeds_is_judged_by_them() -> None:
    own = simulate(
        differing, variants=full_grid(), method="grid", seeds=2, noise=0.002, plot_noise=0.005, own_seeds=True
    )
    found = {(e.hyperparameter, e.level): e for e in effects(own)}
    assert {e.noise_from for e in found.values()} == {"seeds"}
    assert found["n_embed", 128].verdict == "better"
    assert 5 < found["n_embed", 128].difference.df <= 18
    assert found["n_embed", 128].difference.n == 2


def test_a_grid_that_lacks_a_trial_is_still_judged() -> None:
    results = simulate(
        differing,
        variants=full_grid(),
        method="grid",
        seeds=1,
        noise=0.002,
        plot_noise=0.005,
        own_seeds=True,
        lost=[("n_head=8 n_layer=8", 0)],
    )
    found = {(e.hyperparameter, e.level): e for e in effects(results)}
    assert found["n_head", 1].verdict == "worse"
    assert found["n_embed", 128].verdict == "better"
    assert found["n_embed", 128].difference.mean == pytest.approx(-0.06, abs=0.01)


@pytest.mark.slow
def test_a_level_whose_effect_changes_its_sign_is_named() -> None:
    def crossing(variant: Shape) -> float:
        return 2.5 + 0.03 * (variant.n_head == 8) * (1 if variant.n_embed == 32 else -1)

    results = simulate(
        crossing, variants=full_grid(), method="grid", seeds=1, noise=0.002, plot_noise=0.005, own_seeds=True
    )
    (found,) = [each for each in reversals(results) if each.name == "n_head"]
    assert (found.level, found.other, found.worse_at) == (8, "n_embed", 32)
    assert found.better_at in (64, 128)
    said = [sentence for sentence in findings.of_interactions(results) if sentence.startswith("n_head=8")]
    assert said == [
        f"n_head=8 is better than n_head=4 at n_embed={found.better_at:g}, and worse at n_embed=32: its mean over the "
        "grid hides that."
    ]
    calm = simulate(differing, variants=full_grid(), method="grid", seeds=1, noise=0.002, own_seeds=True)
    assert reversals(calm) == []
