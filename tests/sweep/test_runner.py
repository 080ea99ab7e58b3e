"""Whole sweeps on a real store with real worker processes, in this process."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from gpt_experiments import names
from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import ConfigError, CorpusError
from gpt_experiments.model import load_checkpoint
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.sweep.definition import SweepDefinition
from gpt_experiments.sweep.definition_file import load_definition
from gpt_experiments.sweep.dry_run import dry_run
from gpt_experiments.sweep.resources import RunOptions, find_hardware
from gpt_experiments.sweep.runner import run_single, run_sweep
from gpt_experiments.tracking import Store
from tests.support.listeners import Recorder
from tests.support.stores import TRIAL_FILES

DEFINITION = """
name: tiny
method: {method}
baseline: {{n_head: 2, n_layer: 1, n_embed: 8, dropout: 0.1, block_size: 32}}
levels: {levels}
training: {{steps: 4, batch_size: 4, eval_interval: 2, learning_rate: {learning_rate}}}
"""
ON_CPU = RunOptions(device="cpu", workers=2)
INLINE = RunOptions(device="cpu", executor="inline")  # for what does not depend on how trials are run


def define(
    tmp_path: Path,
    levels: str = "{n_head: [1, 4]}",
    method: str = "one-at-a-time",
    learning_rate: str = "0.001",
) -> SweepDefinition:
    file = tmp_path / "tiny.yaml"
    file.write_text(DEFINITION.format(method=method, levels=levels, learning_rate=learning_rate))
    return load_definition(str(file))


def runs(store: Store, kind: str) -> list[Run]:
    client = MlflowClient(tracking_uri=store.uri)
    return client.search_runs([store.experiment.experiment_id], f"tags.`{names.KIND}` = '{kind}'")


def pictured_steps(client: MlflowClient, run_id: str) -> list[int]:
    """The steps of the pictures of attention that MLflow shows with a slider."""
    files = [file.path for file in client.list_artifacts(run_id, "images") if file.path.endswith(".png")]
    return sorted(int(re.split("[%+]", path)[2]) for path in files)


def test_a_sweep_leaves_one_complete_run_a_trial_under_one_parent(
    tmp_path: Path, store_uri: str, corpus: Corpus
) -> None:
    store, listener = Store(store_uri), Recorder()
    report = run_sweep(define(tmp_path), corpus, store, ON_CPU, listener)

    assert [start.to_train for start in listener.started] == [3]
    assert {trial.planned.label for trial in report.trials} == {"baseline", "n_head=1", "n_head=4"}
    assert {trial.outcome for trial in report.trials} == {"finished"}
    assert sorted(listener.evaluations) == sorted((t.label, s) for t in listener.trials for s in (0, 2, 4))

    (parent,) = runs(store, "sweep")
    assert parent.info.status == "FINISHED"
    assert parent.info.run_id == report.parent_run_id
    trials = runs(store, "trial")
    assert len(trials) == 3
    client = MlflowClient(tracking_uri=store_uri)
    for run in trials:
        assert run.info.status == "FINISHED"
        tags, params = run.data.tags, run.data.params
        assert tags["mlflow.parentRunId"] == parent.info.run_id
        assert tags[names.SWEEP] == "tiny"
        trial = next(t for t in listener.trials if t.cell == tags[names.CELL])
        expected = dataclasses.asdict(trial.trial.shape) | dataclasses.asdict(trial.trial.training)
        assert {name: params[name] for name in expected} == {name: str(value) for name, value in expected.items()}
        assert [m.step for m in client.get_metric_history(run.info.run_id, names.VAL_LOSS)] == [0, 2, 4]
        assert run.data.metrics[names.N_PARAMS] == trial.n_params
        heads = trial.trial.shape.n_head * trial.trial.shape.n_layer
        by_head = client.get_metric_history(run.info.run_id, "heads/entropy")
        assert [m.step for m in by_head] == list(range(1, heads + 1))
        files = {f.path for f in client.list_artifacts(run.info.run_id)}
        assert files == TRIAL_FILES
        assert pictured_steps(client, run.info.run_id) == [0, 2, 4]
        (usage,) = client.get_metric_history(run.info.run_id, "system/worker_memory_usage_megabytes")
        assert usage.step == 4
        assert usage.value > 10
        drawn = {f.path for f in client.list_artifacts(run.info.run_id, "attention")}
        assert drawn >= {"attention/layer_1.png", "attention/mean.png", "attention/explorer.html"}
        sample = Path(client.download_artifacts(run.info.run_id, "sample.txt")).read_text()
        assert len(sample) == 300
        loaded = load_checkpoint(Path(client.download_artifacts(run.info.run_id, "checkpoint")))
        assert loaded.model.config.shape == trial.trial.shape
        assert loaded.tokenizer == corpus.tokenizer


@pytest.mark.slow
def test_again_trains_nothing_and_extended_trains_what_is_new(tmp_path: Path, store_uri: str, corpus: Corpus) -> None:
    store = Store(store_uri)
    first = run_sweep(define(tmp_path), corpus, store, INLINE, Recorder())

    again, listener = run_sweep(define(tmp_path), corpus, store, INLINE, Recorder()), Recorder()
    assert {trial.outcome for trial in again.trials} == {"reused"}
    assert {trial.run_id for trial in again.trials} == {trial.run_id for trial in first.trials}
    assert again.parent_run_id == first.parent_run_id

    more = run_sweep(define(tmp_path, "{n_head: [1, 4, 8], n_layer: [2]}"), corpus, store, INLINE, listener)
    assert more.parent_run_id == first.parent_run_id
    assert {t.label for t in listener.trials} == {"n_head=8", "n_layer=2"}
    seeds = define(tmp_path).with_overrides(seeds=2)
    run_sweep(seeds, corpus, store, INLINE, listener := Recorder())
    assert [t.trial.seed for t in listener.trials] == [1338] * 3

    cells = [run.data.tags[names.CELL] for run in runs(store, "trial")]
    assert len(cells) == len(set(cells)) == 8
    assert len(runs(store, "sweep")) == 1

    forced = run_sweep(define(tmp_path), corpus, store, dataclasses.replace(INLINE, force=True), Recorder())
    assert {trial.outcome for trial in forced.trials} == {"finished"}


@pytest.mark.slow
def test_one_worker_trains_every_trial(tmp_path: Path, store_uri: str, corpus: Corpus) -> None:
    report = run_sweep(define(tmp_path), corpus, Store(store_uri), RunOptions(device="cpu", workers=1), Recorder())
    assert [trial.outcome for trial in report.trials] == ["finished"] * 3
    assert report.is_complete


@pytest.mark.slow
def test_another_sweep_reuses_a_cell_and_other_training_does_not(
    tmp_path: Path, store_uri: str, corpus: Corpus
) -> None:
    store = Store(store_uri)
    single = Trial(shape=define(tmp_path).baseline, training=define(tmp_path).training)
    alone = run_single(single, corpus, store, INLINE, Recorder())
    assert alone.trials[0].outcome == "finished"
    assert alone.parent_run_id is None

    sweep = run_sweep(define(tmp_path), corpus, store, INLINE, Recorder())
    outcomes = {trial.planned.label: trial.outcome for trial in sweep.trials}
    assert outcomes == {"baseline": "reused", "n_head=1": "finished", "n_head=4": "finished"}

    longer = define(tmp_path).with_overrides(steps=5)
    other = run_sweep(longer, corpus, store, INLINE, Recorder())
    assert {trial.outcome for trial in other.trials} == {"finished"}
    assert other.parent_run_id != sweep.parent_run_id


@pytest.mark.slow
def test_a_grid_with_more_trials_trains_the_difference(tmp_path: Path, store_uri: str, corpus: Corpus) -> None:
    store = Store(store_uri)
    grid = define(tmp_path, "{n_head: [1, 2], n_layer: [1, 2], dropout: [0.0, 0.1]}", method="grid")
    first = run_sweep(grid.with_overrides(trials=3), corpus, store, INLINE, Recorder())
    assert [trial.outcome for trial in first.trials] == ["finished"] * 3
    second = run_sweep(grid.with_overrides(trials=5), corpus, store, INLINE, Recorder())
    assert sorted(trial.outcome for trial in second.trials) == ["finished"] * 2 + ["reused"] * 3
    cells = [run.data.tags[names.CELL] for run in runs(store, "trial")]
    assert len(cells) == len(set(cells)) == 5


@pytest.mark.slow
def test_tpe_asks_for_as_many_as_planned_and_goes_on_where_it_was(
    tmp_path: Path, store_uri: str, corpus: Corpus
) -> None:
    store = Store(store_uri)
    levels = "{n_head: [1, 2, 4], n_layer: [1, 2], dropout: [0.0, 0.1]}"
    tpe = define(tmp_path / ".", levels + "\ntrials: 3", method="tpe")
    first = run_sweep(tpe, corpus, store, INLINE, Recorder())
    assert [trial.outcome for trial in first.trials] == ["finished"] * 3
    again = run_sweep(tpe, corpus, store, INLINE, listener := Recorder())
    assert listener.trials == []
    assert not again.failed
    more = run_sweep(tpe.with_overrides(trials=5), corpus, store, INLINE, listener := Recorder())
    assert len(listener.trials) == 2
    assert not more.failed
    cells = [run.data.tags[names.CELL] for run in runs(store, "trial")]
    assert len(cells) == len(set(cells)) == 5


@pytest.mark.slow
def test_diverged_trials_fail_with_the_reason_and_are_tried_again(
    tmp_path: Path, store_uri: str, corpus: Corpus
) -> None:
    store = Store(store_uri)
    wild = define(tmp_path, learning_rate="1e30")
    for attempt in (1, 2):
        report = run_sweep(wild, corpus, store, INLINE, Recorder())
        assert [trial.outcome for trial in report.trials] == ["failed"] * 3
        found = runs(store, "trial")
        assert len(found) == 3 * attempt
        for run in found:
            assert run.info.status == "FAILED"
            assert "diverged: the loss is" in run.data.tags[names.FAILURE]
            client = MlflowClient(tracking_uri=store_uri)
            assert "DivergedError" in Path(client.download_artifacts(run.info.run_id, "traceback.txt")).read_text()
    (parent,) = runs(store, "sweep")
    assert (parent.info.status, parent.data.tags[names.FAILURE]) == ("FAILED", "3 of 3 trials failed")


@pytest.mark.slow
def test_out_of_time_starts_nothing_more_and_says_so(tmp_path: Path, store_uri: str, corpus: Corpus) -> None:
    store = Store(store_uri)
    hurried = RunOptions(device="cpu", workers=1, timeout=0.001)
    report = run_sweep(define(tmp_path), corpus, store, hurried, Recorder())
    assert report.timed_out
    assert len(report.trials) <= 1
    assert (report.done, report.total) == (len(report.trials), 3)
    assert not report.is_complete
    (parent,) = runs(store, "sweep")
    assert parent.info.status == "KILLED"
    assert "out of time" in parent.data.tags[names.FAILURE]
    rest = run_sweep(define(tmp_path), corpus, store, INLINE, Recorder())
    assert len(rest.trials) == 3
    assert not rest.timed_out


def test_what_cannot_work_is_refused_before_any_run_is_opened(tmp_path: Path, store_uri: str, corpus: Corpus) -> None:
    store = Store(store_uri)
    with pytest.raises(CorpusError, match="block_size=9000 is too long"):
        run_sweep(define(tmp_path, "{block_size: [8, 9000]}"), corpus, store, INLINE, Recorder())
    with pytest.raises(ConfigError, match="device 'cuda:77' is not available"):
        run_sweep(define(tmp_path), corpus, store, RunOptions(device="cuda:77"), Recorder())
    assert runs(store, "sweep") == []
    with pytest.raises(ConfigError, match="workers must be at least 1, but got 0"):
        RunOptions(workers=0)
    with pytest.raises(ConfigError, match=r"timeout must be a positive number of seconds, at most .*, but got -1"):
        RunOptions(timeout=-1)


def test_a_dry_run_plans_and_estimates_and_writes_nothing(tmp_path: Path, corpus: Corpus) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    grid = define(tmp_path, "{n_head: [1, 2], n_layer: [1, 2, 3], n_embed: [8, 16]}", method="grid")
    plan = dry_run(grid, corpus, ON_CPU, uri, "gpt-experiments")
    assert len(plan.rows) == 12
    assert all(row.seconds is not None and row.seconds > 0 for row in plan.rows)
    assert plan.seconds > 0
    assert plan.hardware == find_hardware(ON_CPU, 12)
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.slow
def test_a_dry_run_knows_what_is_done(tmp_path: Path, store_uri: str, corpus: Corpus) -> None:
    single = Trial(shape=define(tmp_path).baseline, training=define(tmp_path).training)
    run_single(single, corpus, Store(store_uri), INLINE, Recorder())
    plan = dry_run(define(tmp_path), corpus, INLINE, store_uri, "gpt-experiments")
    assert {row.planned.label for row in plan.rows if row.seconds is None} == {"baseline"}


def test_workers_never_outnumber_the_trials() -> None:
    assert find_hardware(RunOptions(device="cpu", workers=64), 3).workers == 3
    assert find_hardware(RunOptions(device="cpu"), 1).workers == 1
    assert find_hardware(RunOptions(device="cpu"), 0).workers == 1


def test_the_studys_defaults_are_the_studys() -> None:
    assert TrainingSetup() == TrainingSetup(steps=3000, batch_size=32, learning_rate=3e-4, eval_interval=500)
    assert Shape() == Shape(n_head=4, n_layer=4, n_embed=64, dropout=0.1, block_size=128)
