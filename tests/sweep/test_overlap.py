"""Two sweeps on one store at once, as a user starts them: each cell is trained once, whoever trains it."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from gpt_experiments import names
from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.records import PlannedTrial, SweepSummary
from gpt_experiments.sweep.resources import RunOptions
from gpt_experiments.sweep.runner import run_single
from gpt_experiments.tracking import Claims, RunRecorder, Store, schema
from gpt_experiments.tracking.agreement import Answer
from gpt_experiments.training import Evaluation
from tests.support.left import another_process, leave_to
from tests.support.listeners import Recorder

DEFINITION = """
name: {name}
method: grid
baseline: {{n_head: 2, n_layer: 1, n_embed: 16, dropout: 0.1, block_size: 32}}
levels: {{n_head: [1, 4], n_layer: [1, 2]}}
training: {{steps: 100, batch_size: 4, eval_interval: 50}}
"""
TRIAL = Trial(
    shape=Shape(n_head=2, n_layer=1, n_embed=8, dropout=0.0, block_size=16),
    training=TrainingSetup(steps=2, batch_size=2, eval_interval=2),
)


def open_run(store: Store, corpus: Corpus, owner: str) -> str:
    """A run of the cell, as the process `owner` has it, without a heartbeat."""
    cell = TRIAL.cell(corpus.digest)
    run_id = store.start_run(kind="trial", run_name="x", params={}, tags={names.CELL: cell}).run_id
    leave_to(store, run_id, owner)
    return run_id


def train(store: Store, corpus: Corpus, listener: Recorder, **how: Any) -> SweepSummary:
    return run_single(TRIAL, corpus, store, RunOptions(device="cpu", workers=1, **how), listener)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_sweeps_that_overlap_train_each_cell_once(tmp_path: Path, text: str, store_uri: str) -> None:
    (tmp_path / "text.txt").write_text(text)
    with ExitStack() as stack:
        processes = []
        for name in ("one", "two"):
            (tmp_path / f"{name}.yaml").write_text(DEFINITION.format(name=name))
            command = [sys.executable, "-m", "gpt_experiments", "sweep", str(tmp_path / f"{name}.yaml"), "--workers=2"]
            command += ["--data", str(tmp_path / "text.txt"), "--tracking-uri", store_uri, "--device", "cpu"]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            stack.callback(process.kill)
            processes.append(process)
        for process in processes:
            output, _ = process.communicate(timeout=500)
            assert process.returncode == 0, output
    store = Store(store_uri)
    client = MlflowClient(tracking_uri=store_uri)
    trials = client.search_runs([store.experiment.experiment_id], f"tags.`{names.KIND}` = 'trial'")
    assert Counter(run.info.status for run in trials) == {"FINISHED": 4}
    assert len({run.data.tags[names.CELL] for run in trials}) == 4
    sweeps = client.search_runs([store.experiment.experiment_id], f"tags.`{names.KIND}` = 'sweep'")
    assert [run.info.status for run in sweeps] == ["FINISHED"] * 2


@pytest.mark.slow
def test_a_trial_that_another_process_trains_is_waited_for(store_uri: str, corpus: Corpus) -> None:
    """The other process fails it, after a while: then it is trained here."""

    class Watcher(Recorder):
        def notice(self, text: str) -> None:
            super().notice(text)
            client.set_terminated(theirs, "FAILED")

    store, client = Store(store_uri), MlflowClient(tracking_uri=store_uri)
    with another_process() as owner:
        theirs = open_run(store, corpus, owner)
        report = train(store, corpus, listener := Watcher())
    assert [trial.outcome for trial in report.trials] == ["finished"]
    (notice,) = listener.notices
    assert notice.startswith(f"process {owner.split('|')[1]} on ")
    assert "are not trained twice" in notice


def test_a_trial_that_another_process_trains_is_taken_from_it(store_uri: str, corpus: Corpus) -> None:
    class Watcher(Recorder):
        def notice(self, text: str) -> None:
            """The other process finishes while this one waits."""
            super().notice(text)
            client.log_text(theirs, "weights", "checkpoint/model.safetensors")
            for name, value in dict.fromkeys(schema.SUMMARY_METRICS, 2.0).items():
                client.log_metric(theirs, name, value)
            for name, param in {**vars(TRIAL.shape), "seed": TRIAL.seed}.items():
                client.log_param(theirs, name, param)
            client.set_terminated(theirs, "FINISHED")

    store, client = Store(store_uri), MlflowClient(tracking_uri=store_uri)
    with another_process() as owner:
        theirs = open_run(store, corpus, owner)
        report = train(store, corpus, listener := Watcher())
    assert [(trial.outcome, trial.run_id, trial.summary.best_val_loss) for trial in report.trials] == [
        ("reused", theirs, 2.0)
    ]
    assert listener.trials == []


@pytest.mark.slow
@pytest.mark.parametrize("owner", ["another-host|1|0", "no owner at all"])
def test_a_process_of_which_nothing_is_known_is_not_waited_for(store_uri: str, corpus: Corpus, owner: str) -> None:
    store = Store(store_uri)
    open_run(store, corpus, owner)
    report = train(store, corpus, listener := Recorder())
    assert [trial.outcome for trial in report.trials] == ["finished"]
    assert listener.notices == []


@pytest.mark.slow
def test_force_trains_what_another_process_trains(store_uri: str, corpus: Corpus) -> None:
    store = Store(store_uri)
    with another_process() as owner:
        open_run(store, corpus, owner)
        report = train(store, corpus, Recorder(), force=True)
    assert [trial.outcome for trial in report.trials] == ["finished"]


def finish(store: Store, run_id: str) -> None:
    """End the run of the cell as a trained trial leaves it."""
    store.client.log_text(run_id, "weights", "checkpoint/model.safetensors")
    for name, value in {**vars(TRIAL.shape), "seed": TRIAL.seed}.items():
        store.client.log_param(run_id, name, value)
    for name in schema.SUMMARY_METRICS:
        store.client.log_metric(run_id, name, 2.0)
    store.client.set_terminated(run_id, "FINISHED")


@pytest.mark.parametrize("other_cells", [[], list("abcd")], ids=["few cells", "many cells"])
def test_a_run_that_ends_between_two_looks_is_seen(store_uri: str, corpus: Corpus, other_cells: list[str]) -> None:
    store = Store(store_uri)
    claims = Claims(store)
    cell = TRIAL.cell(corpus.digest)
    with another_process() as owner:
        run_id = open_run(store, corpus, owner)
        others = claims.look([cell, *other_cells])
        assert (list(others.training), list(others.finished)) == ([cell], [])
        finish(store, run_id)
        for _ in range(2):
            others = claims.look([cell, *other_cells])
            assert (list(others.training), list(others.finished)) == ([], [cell])


def test_of_two_that_ask_the_first_one_holds_the_cell_and_the_other_withdraws(store_uri: str, corpus: Corpus) -> None:
    store = Store(store_uri)
    claims, cell = Claims(store), TRIAL.cell(corpus.digest)
    asks = {names.CELL: cell, names.CLAIM: names.ASKED}

    def ask() -> str:
        return store.start_run(kind="trial", run_name="x", params={}, tags=asks).run_id

    with another_process() as owner:
        mine, theirs = ask(), ask()
        leave_to(store, theirs, owner)
        assert claims.answers({cell: mine})[0] == {cell: Answer.WAIT}  # until the other one has seen this one
        claims.withdraw(theirs)
        assert claims.answers({cell: mine})[0] == {cell: Answer.HOLD}
        claims.hold(mine)
        late = ask()
        leave_to(store, mine, owner)
        assert claims.answers({cell: late})[0] == {cell: Answer.WITHDRAW}
    assert claims.answers({cell: late})[0] == {cell: Answer.HOLD}, "its process has died"
    assert store.client.get_run(mine).info.status == "KILLED", "and whoever sees that closes its run"


def test_a_trial_whose_cell_another_process_takes_meanwhile_ends_here_without_a_trace(
    store_uri: str, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process opens its run after this one has looked, and before its own run is open."""
    store = Store(store_uri)
    theirs: list[str] = []
    start = Store.start_run

    def start_after_the_other(self: Store, **how: Any) -> RunRecorder:
        if not theirs:
            theirs.append("")
            theirs[0] = open_run(store, corpus, owner)
        return start(self, **how)

    class Watcher(Recorder):
        def notice(self, text: str) -> None:
            super().notice(text)
            finish(store, theirs[0])

    with another_process() as owner:
        monkeypatch.setattr(Store, "start_run", start_after_the_other)
        report = train(store, corpus, listener := Watcher(), executor="inline")
    assert [(trial.outcome, trial.run_id) for trial in report.trials] == [("reused", theirs[0])]
    assert (listener.trials, listener.evaluations) == ([], [])
    runs = store.search(f"tags.`{names.KIND}` = 'trial'")
    assert [run.info.run_id for run in runs] == theirs


def test_a_run_that_was_taken_while_this_process_was_silent_is_given_up(
    store_uri: str, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a machine was suspended for an hour: another process has closed the run, and trains the cell."""
    store = Store(store_uri)

    class Watcher(Recorder):
        def trial_evaluated(self, planned: PlannedTrial, evaluation: Evaluation) -> None:
            super().trial_evaluated(planned, evaluation)
            if len(self.evaluations) == 1:
                (mine,) = store.search("attributes.status = 'RUNNING'")
                store.client.set_terminated(mine.info.run_id, "KILLED")
                self.theirs = open_run(store, corpus, owner)
                store.heartbeats.renew()

        def notice(self, text: str) -> None:
            super().notice(text)
            if "they are not trained twice" in text:
                finish(store, self.theirs)

    with another_process() as owner:
        report = train(store, corpus, listener := Watcher(), executor="inline")
    assert [(trial.outcome, trial.run_id) for trial in report.trials] == [("reused", listener.theirs)]
    assert "was taken by another process" in listener.notices[0]
    assert sorted(run.info.status for run in store.search(f"tags.`{names.KIND}` = 'trial'")) == ["FINISHED", "KILLED"]
