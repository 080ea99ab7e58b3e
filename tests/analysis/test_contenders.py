"""Which variants could be the best, from losses whose truth is known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from gpt_experiments.analysis.contenders import VariantLosses, contenders, seed_noise
from gpt_experiments.analysis.effects import SEED_SD


def variant(label: str, *losses: float, n_params: int = 100, first_seed: int = 1, **values: float) -> VariantLosses:
    by_seed = {first_seed + place: loss for place, loss in enumerate(losses)}
    return VariantLosses(label=label, n_params=n_params, losses=by_seed, values=values)


def drawn(means: list[float], seeds: int, sd: float, *, shared: float = 0.0, random: int = 0) -> list[VariantLosses]:
    rng = np.random.default_rng(random)
    of_seed = rng.normal(0, shared, seeds)
    return [variant(f"v{i}", *(mean + of_seed + rng.normal(0, sd, seeds))) for i, mean in enumerate(means)]


def test_those_far_above_the_best_are_told_apart_and_those_beside_it_are_not() -> None:
    found = contenders(drawn([2.0, 2.003, 2.1, 2.5], 3, 0.005), most=8)
    assert set(found.labels) == {"v0", "v1"}
    assert found.left_out == 0


def test_what_a_seed_does_to_all_variants_is_no_noise() -> None:
    variants = drawn([2.0, 2.03, 2.06, 2.09], 4, 0.002, shared=0.2)
    found = contenders(variants, most=8)
    assert found.labels == ("v0",)
    assert found.noise.source == "paired seeds"
    assert found.noise.sd < 0.01
    # Without the first seed of one variant nothing is paired, and the seeds drown every difference.
    variants[3] = variant("v3", *[*variants[3].losses.values()][1:], first_seed=2)
    found = contenders(variants, most=8)
    assert (found.noise.source, len(found.labels)) == ("seeds", 4)


def test_the_noise_is_that_of_the_seeds_where_there_are_several() -> None:
    for shared in (0.0, 0.05):
        noise = seed_noise(drawn([2.0] * 200, 5, 0.005, shared=shared))
        assert noise.sd == pytest.approx(0.005, rel=0.1)
        assert noise.degrees == 199 * 4


def test_with_one_seed_the_noise_is_what_a_factorial_leaves_else_a_guess() -> None:
    rng, levels = np.random.default_rng(0), (1.0, 4.0, 8.0)
    grid = [
        variant(f"{a} {b} {c} {d}", 2 + 0.1 * a - 0.05 * b + 0.01 * a * c + rng.normal(0, 0.02), a=a, b=b, c=c, d=d)
        for a, b, c, d in itertools.product(levels, repeat=4)
    ]
    noise = seed_noise(grid)
    assert (noise.source, noise.degrees) == ("factorial", 81 - 1 - 8 - 24)
    assert noise.sd == pytest.approx(0.02, rel=0.25)
    for partial in (grid[1:], [one for one in grid if one.values["c"] == one.values["d"] == 1.0]):
        assert seed_noise(partial).source == "guess"
        assert (seed_noise(partial).sd, seed_noise(partial).degrees) == (SEED_SD, math.inf)


def test_in_a_grid_of_one_seed_sizes_differ_by_their_luck_and_variants_of_one_size_by_less() -> None:
    rng, levels = np.random.default_rng(0), (1.0, 4.0, 8.0)
    luck = {size: rng.normal(0, 0.05) for size in itertools.product(levels, repeat=3)}
    grid = [
        variant(
            f"{n_layer} {n_embed} {block_size} {n_head} {dropout}",
            2 + 0.1 * dropout + luck[n_layer, n_embed, block_size] + rng.normal(0, 0.002),
            n_layer=n_layer,
            n_embed=n_embed,
            block_size=block_size,
            n_head=n_head,
            dropout=dropout,
        )
        for n_layer, n_embed, block_size, n_head, dropout in itertools.product(levels, repeat=5)
    ]
    noise = seed_noise(grid)
    assert (noise.source, noise.degrees) == ("factorial", 8)
    assert noise.sd == pytest.approx(0.05, rel=0.4)
    assert noise.within is not None
    assert noise.within.sd == pytest.approx(0.002, rel=0.1)
    best = min(grid, key=lambda one: one.mean)
    could_be = set(contenders(grid, most=999).labels)
    same_size = {one.label for one in grid if one.label.split()[:3] == best.label.split()[:3]}
    assert len(could_be & same_size) <= 3  # its dropouts can be distinguished, though other sizes are not
    assert len(could_be - same_size) > 10


def test_equal_variants_are_told_apart_in_one_sweep_of_twenty_at_most() -> None:
    false_alarms = sum(len(contenders(drawn([2.0] * 12, 3, 0.005, random=i), most=99).labels) < 12 for i in range(200))
    assert false_alarms <= 30  # the best was picked by its losses, which costs some of the 5 %


def test_of_too_many_the_lowest_means_are_kept_and_the_rest_counted() -> None:
    found = contenders(drawn([2.0] * 30, 1, 0.001), most=8)
    assert (len(found.labels), found.left_out) == (8, 22)
    means = {one.label: one.mean for one in drawn([2.0] * 30, 1, 0.001)}
    assert list(found.labels) == sorted(means, key=lambda label: means[label])[:8]


def test_equal_means_go_to_fewer_parameters_and_seeds_that_do_not_differ_tell_all_apart() -> None:
    big, small, other = variant("a", 2.0, 2.0, n_params=900), variant("b", 2.0, 2.0), variant("c", 2.1, 2.1)
    assert contenders([big, small, other], most=8).labels == ("b", "a")
    assert contenders([big], most=8).labels == ("a",)
