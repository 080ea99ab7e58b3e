"""Groups of trials through real workers into a real store: each trial as if it had been alone."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from gpt_experiments import names
from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.execution.group_training import Trainer
from gpt_experiments.execution.inline import InlineExecutor
from gpt_experiments.execution.local import LocalExecutor
from gpt_experiments.execution.protocol import Executor
from gpt_experiments.kernels import SWITCH
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.records import PlannedTrial, TrialRecord
from gpt_experiments.sweep.coordinator import Coordinator
from gpt_experiments.sweep.definition import SweepDefinition
from gpt_experiments.sweep.dry_run import dry_run
from gpt_experiments.sweep.grouping import bytes_for_evaluation, bytes_per_replica
from gpt_experiments.sweep.plan import plan_trial
from gpt_experiments.sweep.resources import RunOptions
from gpt_experiments.sweep.runner import run_single, run_sweep
from gpt_experiments.sweep.trial_run import RunContext
from gpt_experiments.sweep.unwritten import Unwritten
from gpt_experiments.tracking import Store
from gpt_experiments.training import Evaluation, TrainingSummary
from tests.support import trainers
from tests.support.executors import hardware
from tests.support.listeners import Recorder
from tests.support.stores import TRIAL_FILES

VARIANT = Shape(n_head=2, n_layer=1, n_embed=8, dropout=0.0, block_size=16)
SETUP = TrainingSetup(steps=4, batch_size=4, eval_interval=2, learning_rate=1e-3)
SWEEP = SweepDefinition(
    name="grouped",
    method="one-at-a-time",
    baseline=VARIANT,
    levels={"dropout": (0.0, 0.3)},
    training=SETUP,
    seeds=(1, 2, 3),
)
IN_GROUPS = RunOptions(device="cpu", workers=2, replicas=3)


class Groups:
    """A source of the given groups, each named by its seeds, which notes how they end.

    A seed of `wild` trains at a learning rate that lets no loss stay finite.
    """

    def __init__(self, corpus: Corpus, groups: Iterable[Sequence[int]], wild: Sequence[int] = ()) -> None:
        def plan(seed: int) -> PlannedTrial:
            setup = dataclasses.replace(SETUP, learning_rate=1e30) if seed in wild else SETUP
            trial = Trial(shape=VARIANT, seed=seed, training=setup)
            return plan_trial(trial, trial.variant, "x", corpus, {})

        self._waiting = [[plan(seed) for seed in seeds] for seeds in groups]
        self.total = sum(len(group) for group in self._waiting)
        self.values: dict[int, float | None] = {}

    def next_group(self) -> list[PlannedTrial] | None:
        return self._waiting.pop(0) if self._waiting else None

    def evaluated(self, planned: PlannedTrial, evaluation: Evaluation) -> None:
        """All go on."""

    def ended(self, planned: PlannedTrial, summary: TrainingSummary | None) -> None:
        assert planned.trial.seed not in self.values
        self.values[planned.trial.seed] = None if summary is None else summary.best_val_loss


def run_groups(
    source: Groups, corpus: Corpus, store: Store, executor: Executor, listener: Recorder
) -> dict[int, TrialRecord]:
    """The reports of the trials, by seed."""
    context = RunContext(
        corpus=corpus,
        store=store,
        listener=listener,
        must_stop=lambda: any("stop" in notice for notice in listener.notices),
        may_start=lambda: True,
        unwritten=Unwritten(store),
    )
    return {report.planned.trial.seed: report for report in Coordinator(context, executor, source).run()}


def all_runs(store: Store) -> list[Run]:
    client = MlflowClient(tracking_uri=store.uri)
    return client.search_runs([store.experiment.experiment_id], f"tags.`{names.KIND}` = 'trial'")


def trial_runs(store: Store) -> dict[tuple[int, float], Run]:
    """The runs of trials by seed and dropout; one each."""
    found = all_runs(store)
    by_trial = {(int(run.data.params["seed"]), float(run.data.params["dropout"])): run for run in found}
    assert len(by_trial) == len(found)
    return by_trial


def on_cpu(corpus: Corpus, trainer: Trainer = trainers.train_group, **how: int) -> LocalExecutor:
    return LocalExecutor(corpus, hardware(**how), trainer)


@pytest.mark.slow
def test_seeds_and_dropout_levels_train_as_groups_and_each_is_a_run_as_if_alone(
    tmp_path: Path, store_uri: str, corpus: Corpus
) -> None:
    store, listener = Store(store_uri), Recorder()
    report = run_sweep(SWEEP, corpus, store, IN_GROUPS, listener)
    assert [trial.outcome for trial in report.trials] == ["finished"] * 6
    assert [(start.workers, start.replicas) for start in listener.started] == [(2, 3)]
    assert sorted(listener.evaluations) == sorted((t.label, step) for t in listener.trials for step in (0, 2, 4))
    client = MlflowClient(tracking_uri=store_uri)
    found = trial_runs(store)
    assert len(found) == 6
    for run in found.values():
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == report.parent_run_id
        assert [m.step for m in client.get_metric_history(run.info.run_id, names.VAL_LOSS)] == [0, 2, 4]
        assert {file.path for file in client.list_artifacts(run.info.run_id)} == TRIAL_FILES
        assert client.get_metric_history(run.info.run_id, "heads/entropy")

    alone = run_single(
        Trial(shape=VARIANT, seed=2, training=SETUP),
        corpus,
        store,
        dataclasses.replace(IN_GROUPS, force=True),
        Recorder(),
    ).trials[0]
    grouped = next(t for t in report.trials if t.planned.trial.seed == 2 and t.planned.trial.shape == VARIANT)
    assert grouped.planned.cell == alone.planned.cell
    assert grouped.summary.final_train_loss == pytest.approx(alone.summary.final_train_loss, rel=1e-5)
    assert grouped.summary.final_val_loss == pytest.approx(alone.summary.final_val_loss, rel=1e-5)
    assert grouped.summary.best_val_loss == pytest.approx(alone.summary.best_val_loss, rel=1e-5)


@pytest.mark.slow
def test_by_default_an_accelerator_gets_groups_as_large_as_fit_and_writers_beside_it(
    store_uri: str, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of a sweep on an accelerator but the accelerator itself: the CPU stands for it, with a memory for four."""
    trial = Trial(shape=VARIANT, training=SETUP)
    each, once = bytes_per_replica(trial, corpus.vocab_size), bytes_for_evaluation(trial, corpus.vocab_size)
    memory = int((4.5 * each + once) / 0.85)
    monkeypatch.setattr("gpt_experiments.sweep.resources.free_memory", lambda device, processes: memory)
    store, listener = Store(store_uri), Recorder()
    report = run_sweep(SWEEP, corpus, store, RunOptions(device="cpu", workers=1), listener)
    assert [trial.outcome for trial in report.trials] == ["finished"] * 6
    (start,) = listener.started
    assert (start.workers, start.replicas) == (1, 3)  # two of three, rather than four and two
    assert start.writers >= 1
    client = MlflowClient(tracking_uri=store_uri)
    for run in trial_runs(store).values():
        assert run.info.status == "FINISHED"
        assert {file.path for file in client.list_artifacts(run.info.run_id)} == TRIAL_FILES


@pytest.mark.slow
def test_a_grouped_sweep_goes_on_with_what_is_missing(tmp_path: Path, store_uri: str, corpus: Corpus) -> None:
    store = Store(store_uri)
    first = dataclasses.replace(SWEEP, seeds=(1, 2))
    run_sweep(first, corpus, store, IN_GROUPS, Recorder())
    report = run_sweep(SWEEP, corpus, store, IN_GROUPS, listener := Recorder())
    assert [planned.trial.seed for planned in listener.trials] == [3, 3]
    assert sorted(trial.outcome for trial in report.trials) == ["finished"] * 2 + ["reused"] * 4
    again = run_sweep(SWEEP, corpus, store, IN_GROUPS, listener := Recorder())
    assert listener.trials == []
    assert {trial.outcome for trial in again.trials} == {"reused"}
    assert len(trial_runs(store)) == 6


@pytest.mark.slow
def test_one_trial_of_a_group_diverges_and_the_others_finish(store_uri: str, corpus: Corpus) -> None:
    store, source = Store(store_uri), Groups(corpus, [(1, 2, 3)], wild=[2])
    reports = run_groups(source, corpus, store, on_cpu(corpus), Recorder())
    assert {seed: report.outcome for seed, report in reports.items()} == {1: "finished", 2: "failed", 3: "finished"}
    statuses = {seed: run.info.status for (seed, _), run in trial_runs(store).items()}
    assert statuses == {1: "FINISHED", 2: "FAILED", 3: "FINISHED"}
    assert "diverged: the loss is" in trial_runs(store)[2, 0.0].data.tags[names.FAILURE]
    assert source.values == {1: reports[1].summary.best_val_loss, 2: None, 3: reports[3].summary.best_val_loss}


@pytest.mark.slow
def test_a_group_that_does_not_fit_is_split_with_a_notice(store_uri: str, corpus: Corpus) -> None:
    store, listener = Store(store_uri), Recorder()
    source = Groups(corpus, [(1, 2, 3, 4)])
    reports = run_groups(source, corpus, store, on_cpu(corpus, trainers.two_fit), listener)
    assert [report.outcome for report in reports.values()] == ["finished"] * 4
    assert [notice for notice in listener.notices if "train as 2 and 2" in notice]
    client = MlflowClient(tracking_uri=store_uri)
    for run in trial_runs(store).values():
        assert [m.step for m in client.get_metric_history(run.info.run_id, names.VAL_LOSS)] == [0, 2, 4]
        assert run.data.tags[names.REPLICAS] == "2"


@pytest.mark.slow
def test_each_run_says_with_how_many_trials_and_threads_it_trained(
    store_uri: str, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, "off")
    store = Store(store_uri)
    executor = InlineExecutor(corpus, hardware(threads=2), trainers.two_fit)
    run_groups(Groups(corpus, [(1, 2, 3), (4,)]), corpus, store, executor, Recorder())
    recorded = {
        seed: [run.data.tags[name] for name in (names.REPLICAS, names.THREADS, names.KERNELS)]
        for (seed, _), run in trial_runs(store).items()
    }
    assert recorded == {
        1: ["2", "2", "off"],  # the group of three was split
        2: ["2", "2", "off"],
        3: ["1", "2", "off"],
        4: ["1", "2", "off"],
    }


@pytest.mark.slow
def test_a_warning_of_a_later_part_of_a_group_is_a_notice_though_its_first_trial_has_ended(
    store_uri: str, corpus: Corpus
) -> None:
    setup, listener = on_cpu(corpus, trainers.two_fit_and_warn_late), Recorder()
    reports = run_groups(Groups(corpus, [[1, 2, 3, 4]]), corpus, Store(store_uri), setup, listener)
    assert {seed: report.outcome for seed, report in reports.items()} == dict.fromkeys((1, 2, 3, 4), "finished")
    assert [notice for notice in listener.notices if "captured" in notice] == [
        "not captured with seed 1",
        "not captured with seed 3",
    ]


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_fails_its_group_and_no_other(store_uri: str, corpus: Corpus) -> None:
    store, source = Store(store_uri), Groups(corpus, [(1, trainers.UNLUCKY_SEED), (3, 4)])
    reports = run_groups(source, corpus, store, on_cpu(corpus, trainers.unlucky_seed_kills), Recorder())
    assert {seed: report.outcome for seed, report in reports.items()} == {
        1: "failed",
        13: "failed",
        3: "finished",
        4: "finished",
    }
    assert all("killed by SIGKILL" in str(reports[seed].reason) for seed in (1, 13))
    assert {run.info.status for run in trial_runs(store).values()} == {"FINISHED", "FAILED"}
    assert source.values == {
        1: None,
        13: None,
        3: reports[3].summary.best_val_loss,
        4: reports[4].summary.best_val_loss,
    }


@pytest.mark.slow
def test_files_are_written_beside_the_training_and_nothing_is_left_behind(store_uri: str, corpus: Corpus) -> None:
    """What an accelerator's worker does, on the CPU: the second group begins before the first one's files are there."""

    class Order(Recorder):
        def __init__(self) -> None:
            super().__init__()
            self.ended_when_evaluated: list[tuple[int, int]] = []

        def trial_evaluated(self, planned: PlannedTrial, evaluation: Evaluation) -> None:
            self.ended_when_evaluated.append((planned.trial.seed, len(self.ended)))

    store, listener = Store(store_uri), Order()
    before = psutil.Process().children()
    source = Groups(corpus, [(1, 2), (3, 4)])
    reports = run_groups(source, corpus, store, on_cpu(corpus, writers=2), listener)
    assert [report.outcome for report in reports.values()] == ["finished"] * 4
    assert min(ended for seed, ended in listener.ended_when_evaluated if seed == 3) == 0
    assert source.values == {seed: report.summary.best_val_loss for seed, report in reports.items()}
    client = MlflowClient(tracking_uri=store_uri)
    for run in trial_runs(store).values():
        assert run.info.status == "FINISHED"
        assert {file.path for file in client.list_artifacts(run.info.run_id)} == TRIAL_FILES
    assert not psutil.wait_procs(started_since(before), timeout=10)[1]


@pytest.mark.slow
def test_an_interrupt_ends_workers_and_their_writers(store_uri: str, corpus: Corpus) -> None:
    class Impatient(Recorder):
        def trial_evaluated(self, planned: PlannedTrial, evaluation: Evaluation) -> None:
            if planned.trial.seed == 3:
                self.notices.append("stop")

    store, listener = Store(store_uri), Impatient()
    before = psutil.Process().children()
    started = time.monotonic()
    reports = run_groups(Groups(corpus, [(1, 2), (3, 4), (5,)]), corpus, store, on_cpu(corpus, writers=1), listener)
    assert time.monotonic() - started < 60
    assert reports[3].outcome == reports[4].outcome == "interrupted"
    assert 5 not in reports
    assert {run.info.status for run in trial_runs(store).values()} <= {"FINISHED", "KILLED"}
    assert not psutil.wait_procs(started_since(before), timeout=10)[1]


@pytest.mark.slow
def test_when_the_sweep_is_killed_its_workers_and_their_writers_end_too(
    tmp_path: Path, store_uri: str, text: str
) -> None:
    (tmp_path / "text.txt").write_text(text)
    program = [sys.executable, "-m", "tests.sweep.sweep_beside_writers", store_uri, str(tmp_path / "text.txt"), "40"]
    with subprocess.Popen(program, cwd=Path(__file__).parents[2]) as process:
        try:
            store, deadline = Store(store_uri), time.monotonic() + 240
            while "FINISHED" not in {run.info.status for run in all_runs(store)}:
                assert process.poll() is None
                assert time.monotonic() < deadline, "waited four minutes in vain"
                time.sleep(0.2)
            descendants = psutil.Process(process.pid).children(recursive=True)
            assert sum(not p.children() and not is_tracker(p) for p in descendants) == 2  # writers; a worker has them
        finally:
            process.kill()
    assert psutil.wait_procs(descendants, timeout=10)[1] == []
    assert store.close_abandoned()


def is_tracker(process: psutil.Process) -> bool:
    """Python's own, which watches over shared memory, and stays as long as this process."""
    return "resource_tracker" in " ".join(process.cmdline())


def started_since(before: Sequence[psutil.Process]) -> list[psutil.Process]:
    """This process's new children and all theirs; of a fork server, which stays, only what it has forked.

    Helpers that an older child starts do not count: a browser that another test has left open for the next one starts
    some whenever it likes.
    """
    found: list[psutil.Process] = []
    for child in psutil.Process().children():
        is_server = "forkserver" in " ".join(child.cmdline())
        if is_server or not (child in before or is_tracker(child)):
            found += [*([] if is_server else [child]), *child.children(recursive=True)]
    return found


def test_a_dry_run_tells_the_groups(store_uri: str, corpus: Corpus) -> None:
    plan = dry_run(SWEEP, corpus, IN_GROUPS, store_uri, "gpt-experiments")
    assert plan.groups == (3, 3)
    assert sorted(row.group or 0 for row in plan.rows) == [1, 1, 1, 2, 2, 2]
    assert all(row.seconds is not None and row.seconds > 0 for row in plan.rows)
    shares = sum(row.seconds or 0 for row in plan.rows)
    assert plan.seconds == pytest.approx(max(shares / 2, 3 * max(row.seconds or 0 for row in plan.rows)))
    one_by_one = dry_run(SWEEP, corpus, dataclasses.replace(IN_GROUPS, replicas=1), store_uri, "gpt-experiments")
    assert one_by_one.groups == (1,) * 6
