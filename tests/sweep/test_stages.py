"""Sweeps that add seeds until they are decided, and grids whose sizes have seeds of their own, in real stores."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest

from gpt_experiments.analysis import effects
from gpt_experiments.analysis.effects import looked_at
from gpt_experiments.config import SEED_STREAM, own_seed, seed_of_own
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import ConfigError
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.records import SweepSummary
from gpt_experiments.sweep.definition import SweepDefinition
from gpt_experiments.sweep.dry_run import dry_run
from gpt_experiments.sweep.resources import RunOptions
from gpt_experiments.sweep.runner import run_sweep
from gpt_experiments.tracking import Store
from gpt_experiments.tracking.reader import read_sweep
from tests.support.listeners import Recorder

TINY = SweepDefinition(
    name="tiny",
    method="one-at-a-time",
    baseline=Shape(n_head=2, n_layer=1, n_embed=8, dropout=0.0, block_size=16),
    levels={"n_head": (1,), "n_embed": (16,)},
    training=TrainingSetup(steps=2, batch_size=2, eval_interval=2),
)
ON_CPU = RunOptions(device="cpu", executor="inline", attention_over_training=False)


def run(store: Store, corpus: Corpus, definition: SweepDefinition, listener: Recorder | None = None) -> SweepSummary:
    return run_sweep(definition, corpus, store, ON_CPU, listener or Recorder())


def seeds_by_label(summary: SweepSummary) -> dict[str, int]:
    return dict(Counter(record.planned.label for record in summary.trials))


class Stops(Recorder):
    """Ends the sweep with an error after so many trials, as a process that is killed ends."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._left = after

    def trial_ended(self, record: object) -> None:
        self._left -= 1
        if self._left == 0:
            raise RuntimeError("killed")


@pytest.mark.slow
def test_only_what_is_undecided_gets_more_seeds(corpus: Corpus, store_uri: str) -> None:
    """Heads of two steps differ by next to nothing, which a wide margin calls equivalent; no margin is that narrow."""
    definition = TINY.with_overrides(until_decided=True, max_seeds=6, margin=0.001)
    store = Store(store_uri, "x")
    summary = run(store, corpus, definition)
    assert summary.is_complete
    asked = seeds_by_label(summary)
    results = read_sweep(store)
    looked = looked_at(results)
    assert (results.until_decided, results.most_seeds, results.margin) == (True, 6, 0.001)
    assert (looked.looks.seeds, looked.next_seeds) == ((4, 6), None)
    for effect in effects(results):
        label = f"{effect.hyperparameter}={effect.level:g}"
        assert asked[label] == looked.looks.seeds[(effect.look or 0) - 1]
        assert effect.verdict in ("better", "worse", "equivalent") or effect.look == looked.done
    assert asked["baseline"] == max(asked.values())
    again = run(store, corpus, definition)
    assert seeds_by_label(again) == asked
    assert all(record.run_id in {r.run_id for r in summary.trials} for record in again.trials)


@pytest.mark.slow
def test_a_wide_margin_decides_at_the_first_look_and_a_dry_run_knows_it_afterwards(
    corpus: Corpus, store_uri: str
) -> None:
    definition = TINY.with_overrides(until_decided=True, margin=5.0)
    store = Store(store_uri, "x")
    before = dry_run(definition, corpus, ON_CPU, store_uri, "x")
    assert (len(before.rows), before.to_train) == (12, 12)
    summary = run(store, corpus, definition)
    assert (seeds_by_label(summary), summary.total) == ({"baseline": 4, "n_head=1": 4, "n_embed=16": 4}, 12)
    with pytest.raises(ConfigError, match="was begun with --until-decided --margin 5 --max-seeds 12, so its verdicts"):
        run(store, corpus, TINY.with_overrides(until_decided=True, margin=1.0))
    after = dry_run(definition, corpus, ON_CPU, store_uri, "x")
    assert (len(after.rows), after.to_train) == (12, 0)
    assert not any("more trials" in notice for notice in after.notices)


@pytest.mark.slow
def test_a_sweep_that_was_killed_goes_on_at_the_same_look(corpus: Corpus, store_uri: str) -> None:
    definition = TINY.with_overrides(until_decided=True, max_seeds=5, margin=1e-7)
    whole = run(Store(store_uri, "whole"), corpus, definition)
    store = Store(store_uri, "cut")
    for after in (3, 9):
        with pytest.raises(RuntimeError, match="killed"):
            run(store, corpus, definition, Stops(after))
    assert seeds_by_label(run(store, corpus, definition)) == seeds_by_label(whole)
    pairs = [
        [(e.difference.mean, e.verdict, e.look) for e in effects(read_sweep(Store(store_uri, name)))]
        for name in ("whole", "cut")
    ]
    assert pairs[0] == pairs[1]


@pytest.mark.slow
def test_seeds_by_hand_make_it_a_sweep_of_one_look(corpus: Corpus, store_uri: str) -> None:
    store = Store(store_uri, "x")
    first = run(store, corpus, TINY.with_overrides(until_decided=True, margin=5.0))
    second = run(store, corpus, TINY.with_overrides(seeds=5))
    assert second.parent_run_id == first.parent_run_id
    assert sum(record.outcome == "reused" for record in second.trials) == 12
    results = read_sweep(store)
    assert (results.until_decided, {effect.look for effect in effects(results)}) == (False, {None})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"until_decided": True, "seeds": 3}, "--until-decided chooses the seeds itself, so --seeds 3 has no meaning"),
        ({"max_seeds": 3}, "--max-seeds is for --until-decided alone"),
        ({"until_decided": True, "max_seeds": 1}, "until_decided needs at least 2 seeds, because one decides nothing"),
        ({"margin": 0.0}, "margin must be a number of nats per character above 0, as 0.01, but got 0.0"),
        ({"margin": float("nan")}, "margin must be a number of nats per character above 0"),
    ],
)
def test_what_does_not_fit_is_refused(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TINY.with_overrides(**overrides)  # type: ignore[arg-type]
    grid = dataclasses.replace(TINY, method="grid", seeds=(1, 2, 3))
    with pytest.raises(ConfigError, match="until_decided is only for one-at-a-time"):
        grid.with_overrides(until_decided=True)
    with pytest.raises(ConfigError, match="own_seeds is only for grid"):
        dataclasses.replace(TINY, own_seeds=True)
    with pytest.raises(ConfigError, match=r"with own_seeds a seed must be below 10,000, but got 12,345"):
        dataclasses.replace(grid, own_seeds=True, seeds=(12345,))


@pytest.mark.slow
def test_each_size_of_a_grid_has_seeds_of_its_own(corpus: Corpus, store_uri: str) -> None:
    grid = dataclasses.replace(
        TINY, method="grid", levels={"n_head": (1, 2), "n_embed": (8, 16)}, own_seeds=True, seeds=(7, 8)
    )
    store = Store(store_uri, "x")
    summary = run(store, corpus, grid)
    seeds = {(r.planned.variant.shape.n_embed, r.planned.trial.seed) for r in summary.trials}
    assert len(summary.trials) == 8
    assert len({seed for _, seed in seeds}) == 4  # two of each width, which its heads share
    for record in summary.trials:
        seed = record.planned.trial.seed
        assert seed == own_seed(record.planned.variant, seed_of_own(seed))
        assert seed_of_own(seed) in (7, 8)
        assert seed > SEED_STREAM
    results = read_sweep(store)
    assert results.own_seeds
    assert results.finished_seeds == [7, 8]
    assert {record.outcome for record in run(store, corpus, grid).trials} == {"reused"}
    shared = run(store, corpus, dataclasses.replace(grid, own_seeds=False))
    assert shared.parent_run_id != summary.parent_run_id
