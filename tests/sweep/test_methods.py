"""What is tried next: real Optuna studies."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gpt_experiments.config import Variant
from gpt_experiments.sweep.definition import Range, SweepDefinition
from gpt_experiments.sweep.methods import History, Method, make_method
from gpt_experiments.sweep.methods.space import Space
from tests.support.variants import make_variant


def drain(method: Method, limit: int = 1000) -> list[Variant]:
    asked = []
    while len(asked) < limit and (variant := method.suggest()) is not None:
        asked.append(variant)
    return asked


def definition(method: str, **changes: object) -> SweepDefinition:
    levels = {"n_head": (1, 2, 4), "n_layer": (1, 2), "dropout": (0.0, 0.1)}
    return SweepDefinition(name="x", **({"method": method, "levels": levels} | changes))  # type: ignore[arg-type]


def test_a_grid_gives_every_cell_once_then_nothing() -> None:
    method = make_method(definition("grid"))
    assert method.planned == 12
    asked = drain(method)
    assert len(set(asked)) == len(asked) == 12
    assert {v.shape.n_head for v in asked} == {1, 2, 4}
    assert {(v.shape.n_embed, v.shape.block_size) for v in asked} == {(64, 128)}
    assert method.suggest() is None


def test_a_grids_order_depends_on_nothing_that_happens() -> None:
    """Any number under way, reported in any order, failures among them: the i-th cell is the i-th cell."""
    expected = drain(make_method(definition("grid")))
    for seed in range(5):
        dice, method = random.Random(seed), make_method(definition("grid"))
        asked: list[Variant] = []
        under_way: list[Variant] = []
        while len(asked) < 12:
            if under_way and dice.random() < 0.5:
                method.update(under_way.pop(dice.randrange(len(under_way))), dice.choice([None, 2.0]))
            else:
                variant = method.suggest()
                assert variant is not None
                asked.append(variant)
                under_way.append(variant)
        for variant in under_way:
            method.update(variant, 1.0)
        assert method.suggest() is None
        assert asked == expected


def test_a_grid_with_more_trials_begins_with_the_same_ones() -> None:
    few, more = (drain(make_method(definition("grid", trials=n))) for n in (5, 8))
    assert len(few) == 5
    assert more[:5] == few
    assert len(drain(make_method(definition("grid", trials=99)))) == 12


def test_an_extended_grid_gives_every_new_cell() -> None:
    wider = {"n_head": (1, 2, 4, 8), "n_layer": (1, 2), "dropout": (0.0, 0.1)}
    before, after = drain(make_method(definition("grid"))), drain(make_method(definition("grid", levels=wider)))
    assert len(set(after) - set(before)) == 4
    assert set(before) < set(after)


def test_random_is_the_same_every_time_and_never_repeats() -> None:
    ranges = {"n_layer": Range(low=1, high=5), "dropout": Range(low=0.0, high=0.5), "n_head": (1, 2)}
    wanted = definition("random", levels=ranges, trials=20)
    first, second = drain(make_method(wanted)), drain(make_method(wanted))
    assert first == second
    assert len(set(first)) == 20
    assert drain(make_method(definition("random", levels=ranges, trials=30)))[:20] == first
    assert {v.shape.n_layer for v in first} <= set(range(1, 6))
    assert all(0 <= v.shape.dropout <= 0.5 for v in first)


@pytest.mark.parametrize("name", ["random", "tpe", "gp"])
def test_a_space_that_is_exhausted_ends_the_search(name: str) -> None:
    method = make_method(definition(name, trials=50))
    assert len(set(drain(method))) == 12
    assert method.suggest() is None


def test_tpe_learns_where_the_low_losses_are() -> None:
    ranges = {"dropout": Range(low=0.0, high=0.9), "n_layer": Range(low=1, high=12)}
    method = make_method(definition("tpe", levels=ranges, trials=60))
    asked = []
    while (variant := method.suggest()) is not None:
        asked.append(variant)
        method.update(variant, (variant.shape.dropout - 0.2) ** 2 + 0.01 * abs(variant.shape.n_layer - 6))
    late = asked[-20:]
    assert sum(abs(v.shape.dropout - 0.2) for v in late) / 20 < 0.15
    assert sum(abs(v.shape.dropout - 0.2) for v in asked[:10]) / 10 > 0.15


def test_gp_finds_where_the_low_losses_are_and_is_the_same_every_time() -> None:
    levels = {"dropout": Range(low=0.0, high=0.9), "n_layer": (1, 2, 4, 6, 8, 12)}

    def asked() -> list[Variant]:
        method, found = make_method(definition("gp", levels=levels, trials=20)), []
        while (variant := method.suggest()) is not None:
            found.append(variant)
            method.update(variant, (variant.shape.dropout - 0.2) ** 2 + 0.01 * abs(variant.shape.n_layer - 6))
        return found

    first = asked()
    late = first[-4:]
    assert sum(abs(v.shape.dropout - 0.2) for v in late) / 4 < 0.05
    assert sum(v.shape.n_layer == 6 for v in late) >= 3
    assert asked() == first


def test_gp_takes_a_list_of_numbers_as_a_scale_whatever_its_order() -> None:
    space = Space(definition("gp", levels={"n_layer": (8, 1, 4), "dropout": (0.0, 0.1)}, trials=4), ordered=True)
    trial = space.ended_trial(make_variant(n_layer=4, dropout=0.1), 2.0)
    assert trial.params == {"n_layer": 1, "dropout": 1}
    assert space.variant(trial) == make_variant(n_layer=4, dropout=0.1)  # type: ignore[arg-type]
    assert space.holds(make_variant(n_layer=8, dropout=0.0))
    assert not space.holds(make_variant(n_layer=2, dropout=0.0))


def test_gp_draws_by_chance_where_it_would_draw_the_same_again() -> None:
    """Its next draw has little reason to differ from one that was refused, and each costs a fit."""
    levels = {"n_head": (1, 2, 3, 4), "n_embed": (8, 12, 16, 24)}
    method, found = make_method(definition("gp", levels=levels, trials=40, skip_indivisible=True)), []
    while (variant := method.suggest()) is not None:
        found.append(variant)
        method.update(variant, 2.0 + variant.shape.n_head)
    assert len(found) == len(set(found)) == 14


@pytest.mark.parametrize("name", ["tpe", "gp"])
def test_a_method_that_learns_counts_and_never_repeats_what_was_done_before(name: str) -> None:
    first = make_method(definition(name, trials=6))
    done = {}
    for i in range(4):
        variant = first.suggest()
        assert variant is not None
        first.update(variant, None if i == 3 else float(i))
        if i < 3:
            done[variant] = float(i)
    rest = drain(make_method(definition(name, trials=6), History(values=done, variants=tuple(done))))
    assert len(rest) == 3
    assert not set(rest) & set(done)


@pytest.mark.parametrize("name", ["tpe", "gp"])
def test_several_may_be_under_way_at_once(name: str) -> None:
    method = make_method(definition(name, trials=9))
    asked = [method.suggest() for _ in range(4)]
    assert len(set(asked)) == 4
    for variant in reversed(asked):
        assert variant is not None
        method.update(variant, 2.5)
    assert len(drain(method)) == 5


def test_optuna_says_nothing_and_writes_nothing(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for method in ("grid", "random", "tpe", "gp"):
        drain(make_method(definition(method, trials=4)))
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["tpe", "gp"])
def test_a_method_that_learns_is_told_of_what_was_begun_before(name: str) -> None:
    begun = make_variant(n_head=1, n_layer=1, dropout=0.0)
    method = make_method(definition(name, trials=4), History(variants=(begun,)))
    assert method.planned == 3
    method.update(begun, 2.0)
    assert begun not in drain(method)


@pytest.mark.parametrize(
    ("changes", "inside"),
    [
        ({}, True),
        ({"n_head": 8}, False),  # not a level
        ({"n_embed": 32}, False),  # not varied, and not the baseline's
        ({"n_layer": 3}, True),
        ({"n_layer": 4}, False),  # between two steps
        ({"n_layer": 9}, False),  # beyond the range
        ({"dropout": 0.6}, True),  # three steps of 0.2, in floating-point 0.6000000000000001
        ({"dropout": 0.65}, False),
    ],
)
def test_the_space_is_what_the_levels_allow(changes: dict[str, float], inside: bool) -> None:
    levels = {"n_head": (1, 2, 4), "n_layer": Range(low=1, high=8, step=2), "dropout": Range(low=0, high=0.7, step=0.2)}
    space = Space(definition("tpe", levels=levels, trials=5))
    variant = make_variant(n_head=2, n_layer=1, dropout=0.2).with_values(changes)
    assert space.holds(variant) is inside


@pytest.mark.parametrize(
    "dropout", [Range(low=0.1, high=0.7, step=0.1), Range(low=0.0, high=0.5), Range(low=0.01, high=0.5, log=True)]
)
def test_whatever_a_search_gives_is_inside_its_space(dropout: Range) -> None:
    wanted = definition("tpe", levels={"dropout": dropout, "n_layer": Range(low=1, high=40, log=True)}, trials=40)
    asked = drain(make_method(wanted))
    assert asked
    assert all(Space(wanted).holds(variant) for variant in asked)
