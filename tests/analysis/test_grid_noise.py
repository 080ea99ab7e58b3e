"""The noise of a grid whose noise is known, within plots and between them."""

from __future__ import annotations

import pytest

from gpt_experiments.analysis import grid_noise, marginal_means, variance_shares
from gpt_experiments.analysis.results import SweepResults
from gpt_experiments.parameters import Shape
from tests.support.simulated import full_grid, simulate

SMALL = [Shape(n_head=heads, n_embed=width) for heads in (1, 4, 8) for width in (32, 64, 128)]


def of_seeds(random: int = 0, seeds: int = 40, plot_noise: float = 0.05) -> SweepResults:
    return simulate(
        lambda v: 2.5, variants=SMALL, seeds=seeds, noise=0.02, seed_effect=0.5, plot_noise=plot_noise, random=random
    )


def test_noise_is_what_seeds_differ_by_within_plots_and_between_them_apart_from_the_seed_itself() -> None:
    results = of_seeds()
    within, between = grid_noise(results, "n_head"), grid_noise(results, "n_embed")
    assert (within.degrees, between.degrees, within.of_seeds) == (6 * 39, 2 * 39, True)
    assert within.variance == pytest.approx(0.02**2, rel=0.25)
    assert between.variance == pytest.approx(0.02**2 + 3 * 0.05**2, rel=0.4)  # three trials a plot
    means = marginal_means(results, "n_head")
    assert set(means["half_width"]) == {within.half_width(120)}
    assert within.half_width(120) == pytest.approx(1.97 * (within.variance / 120) ** 0.5, rel=0.01)


def test_with_one_seed_the_noise_is_what_pairs_leave() -> None:
    grid = {"variants": full_grid(), "method": "grid", "seeds": 1, "noise": 0.02, "plot_noise": 0.03}
    own = simulate(lambda v: v.n_head * v.n_embed / 100, own_seeds=True, **grid)
    within, between = grid_noise(own, "n_head", "n_embed"), grid_noise(own, "n_embed", "n_layer")
    assert (within.degrees, between.degrees, within.of_seeds) == (243 - 1 - 10 - 40 - 8, 8, False)
    assert within.variance == pytest.approx(0.02**2, rel=0.3)
    assert between.variance > 2 * within.variance
    shared = simulate(lambda v: 2.5, **grid)
    assert grid_noise(shared, "n_head").is_known
    assert not grid_noise(shared, "n_embed").is_known  # nothing says what the one seed does to a width


def test_two_hyperparameters_and_one_seed_leave_nothing_to_tell_the_noise_from() -> None:
    two = simulate(lambda v: 2.5, variants=SMALL, seeds=1)
    assert not grid_noise(two, "n_head").is_known
    assert variance_shares(two)["noise"].isna().all()
    assert marginal_means(two, "n_head")["half_width"].isna().all()


@pytest.mark.slow
def test_noise_alone_stays_below_its_mark_in_95_of_100_sweeps() -> None:
    beyond = [set(variance_shares(of_seeds(random, seeds=3)).query("share > noise")["term"]) for random in range(150)]
    for term in ("n_head", "n_embed", "n_head x n_embed"):
        assert 1 <= sum(term in terms for terms in beyond) <= 17
