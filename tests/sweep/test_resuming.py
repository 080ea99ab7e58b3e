"""What a sweep finds in its store, and makes of it: real sweeps, of which most trials are answered by made-up runs."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from gpt_experiments import names
from gpt_experiments.config import Trial, Variant
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import TrackingError
from gpt_experiments.parameters import PARAMETERS, Shape, TrainingSetup
from gpt_experiments.records import PlannedTrial, SweepSummary
from gpt_experiments.sweep.definition import Range, SweepDefinition
from gpt_experiments.sweep.dry_run import dry_run
from gpt_experiments.sweep.history import trials_of
from gpt_experiments.sweep.resources import RunOptions
from gpt_experiments.sweep.runner import run_single, run_sweep
from gpt_experiments.tracking import Store
from gpt_experiments.tracking.reader import read_sweep, read_sweep_trials
from tests.support.listeners import Recorder
from tests.support.stores import add_run

BASELINE = Shape(n_head=2, n_layer=1, n_embed=8, dropout=0.0, block_size=16)
SEARCH = SweepDefinition(
    name="searched",
    method="tpe",
    baseline=BASELINE,
    levels={"n_head": (1, 2, 4), "n_layer": (1, 2), "dropout": (0.0, 0.1)},
    training=TrainingSetup(steps=2, batch_size=2, eval_interval=2),
    trials=4,
)
ON_CPU = RunOptions(device="cpu", executor="inline")


def train_elsewhere(
    store: Store, corpus: Corpus, definition: SweepDefinition, *variants: Variant, seeds: Iterable[int] | None = None
) -> None:
    """Leave finished runs of the variants, as if another sweep had trained them."""
    for variant in variants:
        for trial in trials_of(definition, corpus, variant):
            if seeds is None or trial.seed in seeds:
                add_run(store, corpus, 2.0 + variant.shape.dropout + variant.shape.n_layer, trial=trial)


def run(
    store: Store, corpus: Corpus, definition: SweepDefinition, options: RunOptions = ON_CPU
) -> tuple[SweepSummary, list[PlannedTrial]]:
    """The report of the sweep, and the trials that it trained."""
    listener = Recorder()
    return run_sweep(definition, corpus, store, options, listener), listener.trials


def plan(store: Store, run_id: str | None) -> list[dict[str, Any]]:
    assert run_id is not None
    path = MlflowClient(tracking_uri=store.uri).download_artifacts(run_id, names.PLAN_FILE)
    rows: list[dict[str, Any]] = json.loads(Path(path).read_text())
    return rows


def planned_variants(store: Store, run_id: str | None) -> list[Variant]:
    rows = plan(store, run_id)
    return list(dict.fromkeys(Variant.of({name: row[name] for name in PARAMETERS}) for row in rows))


def trial_runs(store: Store) -> list[Run]:
    client = MlflowClient(tracking_uri=store.uri)
    return client.search_runs([store.experiment.experiment_id], f"tags.`{names.KIND}` = 'trial'")


def variants(*changes: dict[str, Any]) -> list[Variant]:
    return [SEARCH.baseline_variant.with_values(change) for change in changes]


@pytest.mark.slow
def test_what_others_finished_inside_the_space_counts_and_what_lies_outside_does_not(
    store_uri: str, corpus: Corpus
) -> None:
    store = Store(store_uri)
    inside = variants({"n_head": 1}, {"n_head": 4, "dropout": 0.1}, {"n_layer": 2})
    outside = variants({"n_layer": 3}, {"n_embed": 16}, {"block_size": 8}, {"dropout": 0.05})
    train_elsewhere(store, corpus, SEARCH, *inside, *outside)
    other_setup = dataclasses.replace(SEARCH, training=TrainingSetup(steps=3))
    train_elsewhere(store, corpus, other_setup, other_setup.baseline_variant.with_values({"n_head": 4}))
    report, trained = run(store, corpus, SEARCH)
    assert report.is_complete
    assert len(trained) == 1
    named = planned_variants(store, report.parent_run_id)
    assert named[:3] == inside
    assert len(named) == 4
    assert not set(named) & set(outside)


@pytest.mark.slow
def test_run_again_trains_nothing_and_names_the_same_variants_whatever_others_have_trained_since(
    store_uri: str, corpus: Corpus
) -> None:
    store = Store(store_uri)
    four = variants({"n_head": 1}, {"n_head": 4}, {"n_layer": 2}, {"dropout": 0.1})
    train_elsewhere(store, corpus, SEARCH, *four)
    first, trained = run(store, corpus, SEARCH)
    assert trained == []
    named = planned_variants(store, first.parent_run_id)
    assert named == four
    # Later another sweep trains more of the space, and some of these cells again.
    train_elsewhere(store, corpus, SEARCH, *variants({"n_head": 1, "n_layer": 2}, {"n_head": 4}, {"n_head": 1}))
    for _ in range(2):
        again, trained = run(store, corpus, SEARCH)
        assert (trained, again.done, again.total) == ([], 4, 4)
        assert again.parent_run_id == first.parent_run_id
        assert planned_variants(store, again.parent_run_id) == named


@pytest.mark.slow
def test_a_search_whose_levels_changed_goes_on_with_what_is_still_inside(store_uri: str, corpus: Corpus) -> None:
    store = Store(store_uri)
    train_elsewhere(store, corpus, SEARCH, *variants({"n_head": 1}, {"n_head": 4}, {"n_layer": 2}, {"dropout": 0.1}))
    first, _ = run(store, corpus, SEARCH)
    narrower = dataclasses.replace(
        SEARCH, levels={"n_head": (1, 2), "n_layer": Range(low=1, high=3, step=2), "dropout": (0.0, 0.1)}
    )
    report, trained = run(store, corpus, narrower)
    assert report.parent_run_id == first.parent_run_id
    assert report.is_complete
    named = planned_variants(store, report.parent_run_id)
    assert named[:2] == variants({"n_head": 1}, {"dropout": 0.1})
    assert [planned.variant for planned in trained] == named[2:]
    assert len(named) == 4
    assert {variant.shape.n_layer for variant in named} <= {1, 3}


@pytest.mark.slow
def test_more_seeds_are_trained_of_the_variants_that_there_are(store_uri: str, corpus: Corpus) -> None:
    store = Store(store_uri)
    two = dataclasses.replace(SEARCH, trials=2)
    train_elsewhere(store, corpus, two, *variants({"n_head": 1}, {"n_head": 4}))
    run(store, corpus, two)
    report, trained = run(store, corpus, dataclasses.replace(two, seeds=(1337, 5)))
    assert report.is_complete
    assert {planned.variant for planned in trained} == set(variants({"n_head": 1}, {"n_head": 4}))
    assert [planned.trial.seed for planned in trained] == [5, 5]


def test_a_variant_of_which_others_have_only_one_seed_is_no_variant_of_this_sweep(
    store_uri: str, corpus: Corpus
) -> None:
    store = Store(store_uri)
    two = dataclasses.replace(SEARCH, seeds=(1, 2), trials=1)
    train_elsewhere(store, corpus, two, *variants({"n_head": 1}), seeds=[1])
    train_elsewhere(store, corpus, two, *variants({"n_head": 4}))
    report, trained = run(store, corpus, two)
    assert trained == []
    assert planned_variants(store, report.parent_run_id) == variants({"n_head": 4})


def test_a_dry_run_of_a_search_knows_what_is_done(store_uri: str, corpus: Corpus) -> None:
    store = Store(store_uri)
    train_elsewhere(store, corpus, SEARCH, *variants({"n_head": 1}, {"n_head": 4}, {"n_layer": 2}))
    part = dry_run(SEARCH, corpus, ON_CPU, store_uri, "gpt-experiments")
    assert [row.planned.done is not None for row in part.rows] == [True] * 3
    assert part.notices == (
        "tpe chooses up to 1 more trials as results come in; the estimate takes the baseline's time for each",
    )
    assert part.to_choose == 1
    assert part.groups == (1,)
    train_elsewhere(store, corpus, SEARCH, *variants({"dropout": 0.1}))
    whole = dry_run(SEARCH, corpus, ON_CPU, store_uri, "gpt-experiments")
    assert [row.planned.done is not None for row in whole.rows] == [True] * 4
    assert (whole.seconds, whole.groups, whole.notices) == (0.0, (), ())
    run(store, corpus, SEARCH)
    more = dry_run(dataclasses.replace(SEARCH, seeds=(1337, 5)), corpus, ON_CPU, store_uri, "gpt-experiments")
    assert [row.planned.done is not None for row in more.rows] == [True, False] * 4
    assert all((row.seconds is None) is (row.planned.done is not None) for row in more.rows)


class _Killed(BaseException):
    """Ends a sweep as SIGKILL does: nothing is written any more."""


@pytest.mark.slow
def test_a_report_can_be_made_of_a_search_that_was_killed(store_uri: str, corpus: Corpus) -> None:
    class Killer(Recorder):
        def trial_started(self, planned: PlannedTrial) -> None:
            super().trial_started(planned)
            if len(self.trials) == 2:
                raise _Killed

    store = Store(store_uri)
    with pytest.raises(_Killed):
        run_sweep(SEARCH, corpus, store, ON_CPU, Killer())
    results = read_sweep(store, "searched")
    assert sorted(results.trials["outcome"]) == ["finished", "missing"]
    assert [trial.finished is not None for trial in read_sweep_trials(store, "searched").trials] == [True, False]
    begun = planned_variants(store, results.run_id)
    report, trained = run(store, corpus, SEARCH)
    assert len(trained) == 3
    assert planned_variants(store, report.parent_run_id)[:2] == begun


def test_a_search_that_has_chosen_nothing_yet_has_no_report_and_says_so(store_uri: str, corpus: Corpus) -> None:
    class Killer(Recorder):
        def sweep_started(self, start: object) -> None:
            raise _Killed

    store = Store(store_uri)
    with pytest.raises(_Killed):
        run_sweep(SEARCH, corpus, store, ON_CPU, Killer())
    with pytest.raises(TrackingError, match="has no finished trial yet"):
        read_sweep(store, "searched")


@pytest.mark.parametrize("damaged", ["[{", "{}", "[1, null]", '[{"n_head": "x"}]', '[{"n_head": 3}]', "null"])
def test_an_earlier_plan_that_is_damaged_is_no_obstacle(store_uri: str, corpus: Corpus, damaged: str) -> None:
    store = Store(store_uri)
    train_elsewhere(store, corpus, SEARCH, *variants({"n_head": 1}, {"n_head": 4}, {"n_layer": 2}, {"dropout": 0.1}))
    first, _ = run(store, corpus, SEARCH)
    assert first.parent_run_id is not None
    MlflowClient(tracking_uri=store_uri).log_text(first.parent_run_id, damaged, names.PLAN_FILE)
    again, trained = run(store, corpus, SEARCH)
    assert trained == []
    assert again.is_complete
    assert len(plan(store, again.parent_run_id)) == 4


@pytest.mark.slow
def test_a_finished_run_whose_checkpoint_is_gone_is_trained_again_with_a_notice(
    tmp_path: Path, store_uri: str, corpus: Corpus
) -> None:
    store = Store(store_uri)
    two = SweepDefinition(
        name="two", method="one-at-a-time", baseline=BASELINE, levels={"n_head": (1,)}, training=SEARCH.training
    )
    train_elsewhere(store, corpus, two, *variants({}, {"n_head": 1}))
    kept, lost = trial_runs(store)
    shutil.rmtree(tmp_path / "mlruns" / "gpt-experiments" / lost.info.run_id / "artifacts" / "checkpoint")
    plan = dry_run(two, corpus, ON_CPU, store_uri, "gpt-experiments")
    assert "the checkpoint of 1 finished trial is gone from file://" in plan.notices[0]
    report = run_sweep(two, corpus, store, ON_CPU, listener := Recorder())
    assert {trial.run_id: trial.outcome for trial in report.trials}[kept.info.run_id] == "reused"
    assert [planned.cell for planned in listener.trials] == [lost.data.tags[names.CELL]]
    assert [notice for notice in listener.notices if "the checkpoint of 1 finished trial is gone from" in notice]
    again = run_sweep(two, corpus, store, ON_CPU, listener := Recorder())
    assert {trial.outcome for trial in again.trials} == {"reused"}
    assert listener.notices == []


@pytest.mark.slow
def test_a_search_whose_checkpoints_are_gone_trains_its_variants_again(
    tmp_path: Path, store_uri: str, corpus: Corpus
) -> None:
    store = Store(store_uri)
    two = dataclasses.replace(SEARCH, trials=2)
    train_elsewhere(store, corpus, two, *variants({"n_head": 1}, {"n_head": 4}))
    first, _ = run(store, corpus, two)
    for checkpoint in (tmp_path / "mlruns").rglob("checkpoint"):
        shutil.rmtree(checkpoint)
    report = run_sweep(two, corpus, store, ON_CPU, listener := Recorder())
    assert len(listener.trials) == 2
    assert {planned.variant for planned in listener.trials} == set(planned_variants(store, first.parent_run_id))
    assert report.is_complete
    assert [notice for notice in listener.notices if "the checkpoints of 2 finished trials are gone from" in notice]


@pytest.mark.slow
def test_a_single_trial_whose_checkpoint_is_gone_is_trained_again(
    tmp_path: Path, store_uri: str, corpus: Corpus
) -> None:
    store = Store(store_uri)
    trial = Trial(shape=BASELINE, training=SEARCH.training)
    add_run(store, corpus, 2.0, trial=trial, checkpoint=False)
    report = run_single(trial, corpus, store, ON_CPU, listener := Recorder())
    assert [trial.outcome for trial in report.trials] == ["finished"]
    assert [notice for notice in listener.notices if "is gone from" in notice]
