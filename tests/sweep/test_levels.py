"""Levels that cannot meet, in searches that leave such pairs out; ranges with steps."""

from __future__ import annotations

import itertools
import warnings

import pytest

from gpt_experiments.config import Variant
from gpt_experiments.sweep.definition import Range, SweepDefinition
from gpt_experiments.sweep.methods import make_method


def drain(definition: SweepDefinition) -> list[Variant]:
    method, asked = make_method(definition), []
    while (variant := method.suggest()) is not None:
        asked.append(variant)
        method.update(variant, float(variant.shape.n_head))
    return asked


def test_a_grid_leaves_out_the_pairs_that_do_not_divide_and_counts_the_others() -> None:
    levels = {"n_head": (1, 3, 4, 5), "n_embed": (12, 16), "n_layer": (1, 2)}
    definition = SweepDefinition(name="a", method="grid", levels=levels, skip_indivisible=True)
    assert make_method(definition).planned == 10
    found = drain(definition)
    assert {(v.shape.n_head, v.shape.n_embed, v.shape.n_layer) for v in found} == {
        (h, w, n) for h, w, n in itertools.product(*levels.values()) if w % h == 0
    }
    assert len(found) == 10


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_a_search_gives_as_many_variants_as_were_asked_for(method: str) -> None:
    levels = {"n_head": Range(low=1, high=8), "n_embed": (8, 16), "n_layer": Range(low=1, high=50)}
    definition = SweepDefinition(name="a", method=method, levels=levels, trials=30, skip_indivisible=True)  # type: ignore[arg-type]
    found = drain(definition)
    assert len(set(found)) == 30
    assert {v.shape.n_head for v in found} == {1, 2, 4, 8}


def test_a_range_whose_step_does_not_reach_its_end_is_drawn_without_a_warning() -> None:
    levels = {"dropout": Range(low=0.0, high=0.5, step=0.2)}
    definition = SweepDefinition(name="a", method="random", levels=levels, trials=9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = drain(definition)
    assert {v.shape.dropout for v in found} == {0.0, 0.2, 0.4}
