"""Predictions of variants that were not trained, against surfaces whose truth is known."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from gpt_experiments.analysis import LOSS, SweepResults
from gpt_experiments.analysis.offered import MOST_ROWS, combinations, offered_values
from gpt_experiments.analysis.prediction import BETWEEN, KNOWN, OUTSIDE, TOGETHER, CannotPredictError, fit_predictor
from gpt_experiments.config import ModelConfig, Variant
from gpt_experiments.errors import ConfigError
from gpt_experiments.parameters import Shape
from tests.support.simulated import full_grid, one_at_a_time, simulate

GRID = full_grid()


def truth(shape: Shape) -> float:
    """Main effects, a curvature, and two parameters that act together."""
    width, depth = math.log2(shape.n_embed / 64), math.log2(shape.n_layer / 4)
    return 2 - 0.05 * width + 0.02 * depth**2 - 0.03 * width * depth + 0.2 * shape.dropout + 0.01 * shape.n_head / 8


def frame(shapes: list[Shape]) -> pd.DataFrame:
    return pd.DataFrame([dataclasses.asdict(shape) for shape in shapes])


def some(size: int, seed: int = 0) -> tuple[list[Shape], list[Shape]]:
    """So many cells of the grid, and the others."""
    order = np.random.default_rng(seed).permutation(len(GRID))
    return [GRID[i] for i in order[:size]], [GRID[i] for i in order[size:]]


@pytest.mark.parametrize(("size", "seeds"), [(110, 1), (24, 3)])
def test_nineteen_of_twenty_unseen_trials_lie_within_their_interval(size: int, seeds: int) -> None:
    covered, errors, naive = [], [], []
    for number in range(2):
        seen, unseen = some(size, number)
        results = simulate(truth, variants=seen, seeds=seeds, noise=0.005, seed_effect=0.0, random=number)
        predictor = fit_predictor(results)
        found = predictor.predict(frame(unseen))
        new = simulate(truth, variants=unseen, seeds=1, noise=0.005, seed_effect=0.0, random=100 + number).trials[LOSS]
        covered += list((found["low"] <= new) & (new <= found["high"]))
        errors += list(np.abs(found["loss"] - [truth(shape) for shape in unseen]))
        naive.append(predictor.nearest_error)
    assert 0.9 <= np.mean(covered) <= 0.995
    assert np.mean(errors) < 0.25 * np.mean(naive)


def test_an_interval_holds_the_noise_of_a_trial_and_narrows_no_further() -> None:
    results = simulate(truth, variants=some(120)[0], seeds=4, noise=0.01, seed_effect=0.0)
    found = fit_predictor(results).predict(frame(some(120)[1]))
    assert found["high"].sub(found["loss"]).min() > 1.6 * 0.01
    assert found["high"].sub(found["loss"]).median() < 3 * 0.01


def test_size_is_exact_and_time_is_near() -> None:
    seen, unseen = some(60)
    found = fit_predictor(simulate(truth, variants=seen, seeds=1)).predict(frame(unseen))
    assert list(found["n_params"]) == [ModelConfig(shape=shape, vocab_size=65).n_params for shape in unseen]
    took = np.array([1e-6 * 3200 * shape.block_size * shape.n_layer for shape in unseen])
    assert np.abs(np.log(found["seconds"] / took)).max() < 0.05
    assert (found["seconds_low"] < found["seconds"]).all()


def test_times_of_different_hardware_are_not_predicted() -> None:
    results = simulate(truth, variants=some(20)[0], seeds=1)
    mixed = results.trials.assign(hardware=["one", "other"] * 10)
    found = fit_predictor(dataclasses.replace(results, trials=mixed)).predict(frame(GRID[:3]))
    assert found["seconds"].isna().all()
    assert found["loss"].notna().all()


def test_what_nothing_like_was_trained_has_a_wide_interval_and_is_marked() -> None:
    predictor = fit_predictor(simulate(truth, variants=one_at_a_time(), seeds=3))
    base = Shape()
    both = dataclasses.replace(base, n_embed=128, n_layer=8)
    larger = dataclasses.replace(base, n_embed=256)
    found = predictor.predict(frame([base, both, larger]))
    half = found["high"] - found["loss"]
    assert list(found["beyond"]) == [KNOWN, TOGETHER, OUTSIDE]
    assert half[1] > 3 * half[0]
    assert half[2] > 1.5 * half[0]
    assert abs(truth(both) - found["loss"][1]) < 1.5 * half[1]


def test_combinations_of_a_grid_are_not_marked() -> None:
    predictor = fit_predictor(simulate(truth, variants=some(120)[0], seeds=1))
    assert set(predictor.predict(frame(GRID))["beyond"]) == {KNOWN}


def test_between_levels_an_interval_is_wider_and_says_so() -> None:
    predictor = fit_predictor(simulate(truth, variants=some(120)[0], seeds=1))
    at, between = Shape(n_embed=64), Shape(n_embed=96)
    found = predictor.predict(frame([at, between]))
    half = found["high"] - found["loss"]
    step = abs(truth(Shape(n_embed=128)) - truth(at))
    assert list(found["beyond"]) == [KNOWN, BETWEEN]
    assert half[1] > half[0]
    assert half[1] > 0.2 * step


def test_one_parameter_with_many_levels_is_enough() -> None:
    shapes = [Shape(block_size=size) for size in (16, 32, 48, 64, 96, 128, 192, 256, 384)]
    results = simulate(lambda shape: 2 - 0.1 * math.log2(shape.block_size), variants=shapes, seeds=2, noise=0.002)
    found = fit_predictor(results).predict(pd.DataFrame({"block_size": [24, 320]}))
    assert np.abs(found["loss"] - [2 - 0.1 * math.log2(24), 2 - 0.1 * math.log2(320)]).max() < 0.02


def test_too_little_is_refused_with_a_sentence() -> None:
    with pytest.raises(CannotPredictError, match="needs at least 8 variants that have finished, and this sweep has 7"):
        fit_predictor(simulate(truth, variants=GRID[:7]))
    with pytest.raises(CannotPredictError, match="the same loss"):
        fit_predictor(simulate(lambda shape: 2.0, variants=GRID[:20], noise=0.0, seed_effect=0.0))


def test_a_variant_that_cannot_be_trained_is_refused() -> None:
    predictor = fit_predictor(simulate(truth, variants=some(30)[0], seeds=1))
    with pytest.raises(ConfigError, match="n_embed=36 is not divisible by n_head=8"):
        predictor.predict(frame([Shape()]).assign(n_embed=36, n_head=8))


def test_a_failed_trial_does_not_count() -> None:
    whole: SweepResults = simulate(truth, variants=one_at_a_time()[:8], seeds=1)
    assert fit_predictor(whole).variants == 8
    with pytest.raises(CannotPredictError, match="has 7"):
        fit_predictor(simulate(truth, variants=one_at_a_time()[:8], seeds=1, lost=[("n_head=8", 0)]))


def test_values_between_levels_are_offered_where_they_can_be_trained() -> None:
    levels = {
        "n_head": [1, 4, 8],
        "n_layer": [1, 4, 8],
        "n_embed": [32, 64, 128],
        "dropout": [0.0, 0.1, 0.3],
        "learning_rate": [1e-4, 1e-3],
    }
    assert offered_values(levels, Variant()) == {
        "n_head": [1, 2, 4, 8],
        "n_layer": [1, 2, 4, 6, 8],
        "n_embed": [32, 48, 64, 96, 128],
        "dropout": [0.0, 0.05, 0.1, 0.2, 0.3],
        "learning_rate": [1e-4, 3.2e-4, 1e-3],
    }


def test_never_more_values_are_offered_than_a_page_can_hold() -> None:
    levels = {
        "n_head": list(range(1, 9)),
        "n_embed": list(range(16, 300, 8)),
        "learning_rate": list(np.geomspace(1e-4, 1e-2, 60)),
        "dropout": list(np.linspace(0, 0.3, 100)),
    }
    offered = offered_values(levels, Variant())
    assert len(combinations(offered)) <= MOST_ROWS
    assert all(values[0] == levels[name][0] and values[-1] == levels[name][-1] for name, values in offered.items())
    assert all(len(values) >= 8 for values in offered.values())
    assert offered_values({"dropout": [0.1]}, Variant()) == {"dropout": [0.1]}
