"""Effects, held to sweeps whose truth is known: intervals cover, and verdicts are as rarely false as they say."""

from __future__ import annotations

import numpy as np
import pytest

from gpt_experiments.analysis import effects, noise
from gpt_experiments.parameters import Shape
from tests.support.simulated import full_grid, simulate

TRUTH = {
    ("n_head", 1): 0.02,
    ("n_layer", 1): 0.15,
    ("n_layer", 8): -0.03,
    ("n_embed", 32): 0.3,
    ("n_embed", 128): -0.12,
    ("dropout", 0.3): 0.02,
    ("block_size", 32): 0.05,
}


def known(variant: Shape) -> float:
    return 2.5 + sum(change for (name, level), change in TRUTH.items() if getattr(variant, name) == level)


def nothing(variant: Shape) -> float:
    return 2.5


def coverage_and_false_alarms(sweeps: int, seeds: int) -> tuple[float, float]:
    """The share of 95 % intervals that hold the true effect, and of sweeps without any effect that see one."""
    covered = []
    for random in range(sweeps):
        for effect in effects(simulate(known, seeds=seeds, random=random)):
            true = TRUTH.get((effect.hyperparameter, effect.level), 0.0)
            covered.append(effect.difference.low <= true <= effect.difference.high)
    alarms = [
        any(effect.verdict in ("better", "worse") for effect in effects(simulate(nothing, seeds=seeds, random=random)))
        for random in range(sweeps)
    ]
    return float(np.mean(covered)), float(np.mean(alarms))


@pytest.mark.slow
def test_intervals_cover_and_false_alarms_are_rare() -> None:
    covered, alarms = coverage_and_false_alarms(sweeps=12, seeds=4)
    assert 0.88 <= covered <= 0.995
    assert alarms <= 0.17  # two of twelve: at a true rate of 5 % more are seen twice in a hundred times


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 5])
def test_intervals_cover_at_95_percent_and_the_family_error_stays_at_5(seeds: int) -> None:
    covered, alarms = coverage_and_false_alarms(sweeps=100, seeds=seeds)
    assert 0.92 <= covered <= 0.98
    assert alarms <= 0.05 + 3 * (0.05 * 0.95 / 100) ** 0.5


def test_large_effects_get_their_verdict_and_signs_are_right() -> None:
    found = {(e.hyperparameter, e.level): e for e in effects(simulate(known, seeds=5))}
    assert list(found)[:3] == [("n_head", 1), ("n_head", 8), ("n_layer", 1)]
    assert found["n_embed", 32].verdict == "worse"
    assert found["n_embed", 128].verdict == "better"
    assert found["n_head", 8].verdict in ("equivalent", "undecided")
    assert found["n_layer", 1].difference.mean == pytest.approx(0.15, abs=0.02)
    assert found["n_layer", 1].p_adjusted >= found["n_layer", 1].difference.p_value


def test_the_same_variant_under_other_names_gives_no_verdict() -> None:
    """An A/A sweep: every difference is exactly nothing."""
    found = effects(simulate(nothing, seeds=3, noise=0.0))
    assert {effect.verdict for effect in found} == {"equivalent"}


def test_pairing_by_seed_takes_out_what_seeds_share() -> None:
    found = effects(simulate(known, seeds=3, noise=0.0, seed_effect=0.5))
    assert all(effect.difference.half_width < 1e-9 for effect in found)


def test_a_verdict_is_read_off_the_interval_that_holds_for_all() -> None:
    seen = set()
    for random in range(4):
        for effect in effects(simulate(known, seeds=4, random=random)):
            judged = effect.judged
            assert judged.low < effect.difference.low < effect.difference.high < judged.high  # ten are looked at
            expected = (
                "better"
                if judged.high < 0
                else "worse"
                if judged.low > 0
                else "equivalent"
                if judged.low > -0.01 and judged.high < 0.01
                else "undecided"
            )
            assert effect.verdict == expected
            assert (effect.p_adjusted < 0.05) == (expected in ("better", "worse"))
            seen.add(expected)
    assert {"better", "worse", "undecided"} <= seen


def test_one_seed_gives_no_verdict() -> None:
    found = effects(simulate(known, seeds=1))
    assert {effect.verdict for effect in found} == {"no verdict"}
    assert all(np.isnan(effect.difference.low) for effect in found)


def test_a_lost_trial_takes_its_seed_out_of_its_pairs_alone() -> None:
    found = {(e.hyperparameter, e.level): e for e in effects(simulate(known, seeds=4, lost=[("n_head=8", 2)]))}
    assert (found["n_head", 8].difference.n, found["n_head", 8].lost_seeds) == (3, 1)
    assert (found["n_head", 1].difference.n, found["n_head", 1].lost_seeds) == (4, 0)
    alone = effects(simulate(known, seeds=2, lost=[("n_head=8", 0), ("n_head=8", 1)]))
    assert ("n_head", 8) not in {(e.hyperparameter, e.level) for e in alone}
    assert effects(simulate(known, seeds=1, lost=[("baseline", 0)])) == []


def test_in_a_grid_a_level_is_compared_in_every_setting_of_the_others() -> None:
    found = {(e.hyperparameter, e.level): e for e in effects(simulate(known, variants=full_grid(), method="grid"))}
    assert all(effect.combinations == 81 for effect in found.values())
    assert found["n_embed", 128].better_in == 81
    assert found["n_embed", 128].difference.mean == pytest.approx(-0.12, abs=0.005)


def test_noise_is_the_pooled_standard_deviation_over_seeds() -> None:
    assert noise(simulate(known, seeds=40, noise=0.01, seed_effect=0.0)) == pytest.approx(0.01, rel=0.1)
