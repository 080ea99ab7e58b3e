"""Trials that did not come to their end go on where they were, in the same runs and to the same results."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mlflow.entities import Run
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from gpt_experiments import names
from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.execution.states import SavingRules, StateSaver
from gpt_experiments.model import load_checkpoint
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.records import Outcome, PlannedTrial, SweepSummary
from gpt_experiments.sweep import runner
from gpt_experiments.sweep.definition import SweepDefinition
from gpt_experiments.sweep.resources import RunOptions
from gpt_experiments.sweep.runner import run_single, run_sweep, run_trials
from gpt_experiments.sweep.trial_list import TrialList
from gpt_experiments.tracking import Store
from gpt_experiments.training import Evaluation
from tests.support.listeners import Recorder

SHAPE = Shape(n_head=2, n_layer=1, n_embed=8, dropout=0.1, block_size=16)
SETUP = TrainingSetup(steps=8, batch_size=2, eval_interval=2)
TRIAL = Trial(shape=SHAPE, seed=1, training=SETUP)
INLINE = RunOptions(device="cpu", executor="inline", replicas=2)


class At(Recorder):
    """Does something when a trial has been evaluated after so many steps, once."""

    def __init__(self, step: int, act: Callable[[], None]) -> None:
        super().__init__()
        self._step, self._act = step, act

    def trial_evaluated(self, planned: PlannedTrial, evaluation: Evaluation) -> None:
        super().trial_evaluated(planned, evaluation)
        if evaluation.step == self._step:
            self._step = -1
            self._act()


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def train(uri: str, corpus: Corpus, listener: Recorder | None = None, seeds: tuple[int, ...] = (1, 2)) -> SweepSummary:
    trials = [(Trial(shape=SHAPE, seed=seed, training=SETUP), "x") for seed in seeds]
    wanted = TrialList(name="some", trials=trials, steps=SETUP.steps)
    return run_trials(wanted, corpus, Store(uri), INLINE, listener or Recorder())


def runs(uri: str) -> dict[str, Run]:
    """The runs of trials by their seeds, of each of which there is one."""
    found = Store(uri).search(f"tags.`{names.KIND}` = 'trial'")
    assert max(Counter(run.data.params["seed"] for run in found).values()) == 1
    return {run.data.params["seed"]: run for run in found}


def weights(uri: str, run: Run, folder: Path) -> torch.Tensor:
    place = Store(uri).client.download_artifacts(run.info.run_id, names.CHECKPOINT_FOLDER, str(folder))
    return torch.cat([weight.detach().flatten() for weight in load_checkpoint(Path(place)).model.parameters()])


def steps_of(uri: str, run: Run, metric: str) -> list[int]:
    return [point.step for point in Store(uri).client.get_metric_history(run.info.run_id, metric)]


def files(uri: str, run: Run, folder: str | None = None) -> list[str]:
    return [file.path for file in Store(uri).client.list_artifacts(run.info.run_id, folder)]


def assert_same_results(uri: str, expected_uri: str, seeds: tuple[str, ...], folder: Path) -> None:
    """Each trial has one run, finished and with each step once, and the weights that it has without a pause."""
    found, expected = runs(uri), runs(expected_uri)
    for seed in seeds:
        run = found[seed]
        assert run.info.status == "FINISHED"
        assert steps_of(uri, run, names.VAL_LOSS) == steps_of(uri, run, names.TRAIN_LOSS) == [0, 2, 4, 6, 8]
        for metric in (names.BEST_VAL_LOSS, names.FINAL_TRAIN_LOSS):
            assert run.data.metrics[metric] == expected[seed].data.metrics[metric]
        pictures = [path for path in files(uri, run, "images") if path.endswith(".png")]
        assert Counter(path.split("+step+")[1].split("+")[0] for path in pictures) == dict.fromkeys("02468", 1)
        (folder / seed / "expected").mkdir(parents=True)
        same = weights(expected_uri, expected[seed], folder / seed / "expected")
        assert torch.equal(weights(uri, run, folder / seed), same)
        assert names.STATE_FOLDER not in files(uri, run)
        assert not {names.STATE, names.FAILURE} & run.data.tags.keys()


@pytest.fixture
def expected_uri(store_uri: str, tmp_path: Path) -> str:
    """The address of a second store, for what is not interrupted."""
    (tmp_path / "expected").mkdir()
    (tmp_path / "expected" / "mlflow.db").write_bytes((tmp_path / "mlflow.db").read_bytes())
    return f"sqlite:///{tmp_path}/expected/mlflow.db"


@pytest.mark.slow
def test_interrupted_twice_a_group_goes_on_in_the_same_runs_to_the_same_weights(
    corpus: Corpus, store_uri: str, expected_uri: str, tmp_path: Path
) -> None:
    assert train(expected_uri, corpus).is_complete
    first = train(store_uri, corpus, At(2, interrupt))
    assert first.interrupted
    assert {record.outcome for record in first.trials} == {Outcome.INTERRUPTED}
    left = runs(store_uri)
    for run in left.values():
        step = json.loads(run.data.tags[names.STATE])["step"]
        assert run.info.status == "KILLED"
        assert files(store_uri, run, names.STATE_FOLDER) == [f"state/step-{step}.safetensors"]
    assert train(store_uri, corpus, At(4, interrupt)).interrupted
    listener = Recorder()
    assert train(store_uri, corpus, listener).is_complete
    assert {seed: run.info.run_id for seed, run in runs(store_uri).items()} == {
        seed: run.info.run_id for seed, run in left.items()
    }
    assert sorted(notice for notice in listener.notices if "goes on at step" in notice) == [
        f"x (seed {seed}) goes on at step {json.loads(runs(store_uri)[seed].data.tags[names.CONTINUED])[1]['step']}"
        for seed in ("1", "2")
    ]
    assert_same_results(store_uri, expected_uri, ("1", "2"), tmp_path)
    assert [pause["step"] // 2 for pause in json.loads(runs(store_uri)["1"].data.tags[names.CONTINUED])] == [1, 2]
    assert runs(store_uri)["1"].data.tags[names.REPLICAS] == "2"


@pytest.mark.slow
def test_when_the_time_is_over_running_trials_are_put_away_and_a_sweep_takes_them_up(
    corpus: Corpus, store_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    over: list[bool] = []
    monkeypatch.setattr(runner, "deadline", lambda seconds: lambda: not over)
    cut = train(store_uri, corpus, At(4, lambda: over.append(True)), seeds=(1,))
    assert cut.timed_out
    assert not cut.interrupted
    assert [record.outcome for record in cut.trials] == [Outcome.INTERRUPTED]
    over.clear()
    sweep = SweepDefinition(
        name="later", method="one-at-a-time", baseline=SHAPE, levels={"n_head": (2,)}, training=SETUP, seeds=(1,)
    )
    listener = Recorder()
    done = run_sweep(sweep, corpus, Store(store_uri), INLINE, listener)
    assert done.is_complete
    run = runs(store_uri)["1"]
    assert run.info.run_id == cut.trials[0].run_id == done.trials[0].run_id
    assert run.data.tags[names.SWEEPS] == done.parent_run_id
    assert min(step for _, step in listener.evaluations) == 6


def test_a_state_that_is_damaged_or_not_wanted_lets_the_trial_begin_anew_in_another_run(
    corpus: Corpus, store_uri: str, tmp_path: Path
) -> None:
    cut = train(store_uri, corpus, At(4, interrupt), seeds=(1,))
    run = runs(store_uri)["1"]
    (state,) = (Path(run.info.artifact_uri.removeprefix("file://")) / names.STATE_FOLDER).iterdir()
    state.write_bytes(state.read_bytes()[:-5])
    listener = Recorder()
    again = train(store_uri, corpus, listener, seeds=(1,))
    assert again.is_complete
    assert again.trials[0].run_id != cut.trials[0].run_id
    (notice,) = (notice for notice in listener.notices if "anew" in notice)
    assert notice.startswith("x (seed 1): the saved state of a trial cannot be read")


def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """States are saved at all evaluations in between, whatever that costs."""
    rules = SavingRules(most_share=1e9, seconds_to_keep=0.0)
    monkeypatch.setattr(StateSaver.__init__, "__defaults__", (rules, time.monotonic))


def test_a_store_that_cannot_delete_is_a_notice_once(
    corpus: Corpus, store_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: LocalArtifactRepository, path: str | None = None) -> None:
        raise NotImplementedError

    always(monkeypatch)
    monkeypatch.setattr(LocalArtifactRepository, "delete_artifacts", refuse)
    listener = Recorder()
    assert train(store_uri, corpus, listener, seeds=(1,)).is_complete
    assert sum("cannot delete" in notice for notice in listener.notices) == 1
    run = runs(store_uri)["1"]
    assert names.STATE not in run.data.tags
    assert names.STATE_FOLDER in files(store_uri, run)


SELF_KILLED = """
import os, pickle, signal, sys, time
from pathlib import Path
from gpt_experiments.corpus import Corpus
from gpt_experiments.execution.states import SavingRules, StateSaver
from gpt_experiments.sweep.runner import run_single
from gpt_experiments.tracking import Store
from tests.sweep.test_going_on import INLINE, TRIAL, At

StateSaver.__init__.__defaults__ = (SavingRules(most_share=1e9, seconds_to_keep=0.0), time.monotonic)
corpus = Corpus.from_text(Path(sys.argv[2]).read_text(), name="generated")
listener = At(int(sys.argv[3]), lambda: os.kill(os.getpid(), signal.SIGKILL))
run_single(TRIAL, corpus, Store(sys.argv[1]), INLINE, listener)
"""


@pytest.mark.slow
def test_processes_that_are_killed_one_after_the_other_train_one_trial(
    corpus: Corpus, store_uri: str, expected_uri: str, tmp_path: Path
) -> None:
    run_single(TRIAL, corpus, Store(expected_uri), INLINE, Recorder())
    (tmp_path / "text.txt").write_text(corpus.text)
    for step in (4, 6):
        command = [sys.executable, "-c", SELF_KILLED, store_uri, str(tmp_path / "text.txt"), str(step)]
        killed = subprocess.run(command, cwd=Path(__file__).parents[2], check=False)
        assert killed.returncode == -signal.SIGKILL
        assert runs(store_uri)["1"].info.status == "RUNNING"
    listener = Recorder()
    run_single(TRIAL, corpus, Store(store_uri), INLINE, listener)
    assert_same_results(store_uri, expected_uri, ("1",), tmp_path)
    pauses = json.loads(runs(store_uri)["1"].data.tags[names.CONTINUED])
    assert [pause["step"] for pause in pauses] == [2, 4]
    assert [step for _, step in listener.evaluations] == [6, 8]
