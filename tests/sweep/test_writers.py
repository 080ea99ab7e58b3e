"""Files written by processes beside the training: whole, each on its own, and with a bound on what waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import torch

from gpt_experiments.config import TrainingSetup, Trial, Variant
from gpt_experiments.corpus import Corpus
from gpt_experiments.model import load_checkpoint
from gpt_experiments.sweep.messages import Job, JobDone, JobFailed, Message
from gpt_experiments.sweep.writers import WriteHere, WriterPool
from gpt_experiments.training import TrainingResult, train_group

SETUP = TrainingSetup(steps=1, batch_size=2)
VARIANT = Variant(n_head=2, n_layer=1, n_embed=8, dropout=0.0, block_size=16)


class Told:
    """What writers told, from whichever thread."""

    def __init__(self) -> None:
        self.messages: dict[int, Message] = {}
        self._changed = threading.Condition()

    def __call__(self, key: int, message: Message) -> None:
        with self._changed:
            assert key not in self.messages
            self.messages[key] = message
            self._changed.notify_all()

    def wait_for(self, key: int) -> Message:
        with self._changed:
            assert self._changed.wait_for(lambda: key in self.messages, timeout=120)
            return self.messages[key]


def trained(corpus: Corpus, folder: Path, seeds: range) -> list[tuple[Job, TrainingResult]]:
    trials = [Trial(variant=VARIANT, seed=seed, training=SETUP) for seed in seeds]
    training = train_group(trials, corpus, torch.device("cpu"))
    while True:
        try:
            next(training)
        except StopIteration as end:
            results = end.value
            break
    return [
        (Job(key=trial.seed, trial=trial, label="x", folder=folder / str(trial.seed)), result)
        for trial, result in zip(trials, results, strict=True)
    ]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def pool(corpus: Corpus, told: Told) -> Iterator[WriterPool]:
    pool = WriterPool(corpus, 1, told)
    yield pool
    pool.close()
    assert all(not process.is_alive() for process in pool.processes)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "waited two minutes in vain"
        time.sleep(0.005)


@pytest.mark.slow
def test_a_writer_leaves_the_files_that_the_worker_would_and_a_bad_folder_fails_its_own_trial(
    corpus: Corpus, tmp_path: Path, told: Told, pool: WriterPool
) -> None:
    (good, result), (bad, other) = trained(corpus, tmp_path / "beside", range(1, 3))
    here = Told()
    at_home = Job(key=1, trial=good.trial, label=good.label, folder=tmp_path / "here")
    WriteHere(corpus, here).write(at_home, result)

    bad.folder.parent.mkdir()
    bad.folder.write_text("a file where the folder should be")
    pool.write(bad, other)
    pool.write(good, result)
    failed, done = told.wait_for(2), told.wait_for(1)
    assert isinstance(failed, JobFailed)
    assert failed.reason.startswith("FileExistsError")
    assert "write_trial_files" in failed.traceback
    assert isinstance(done, JobDone)
    assert done == here.messages[1]

    def files(folder: Path) -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    beside, written_here = files(good.folder), files(at_home.folder)
    assert beside.keys() == written_here.keys()
    for name in ("sample.txt", "loss_by_position.csv", "checkpoint/model.safetensors", "checkpoint/config.json"):
        assert beside[name] == written_here[name], name
    assert load_checkpoint(good.folder / "checkpoint").model.config.variant == VARIANT


@pytest.mark.slow
def test_a_writer_that_dies_fails_its_trial_alone_and_is_replaced(
    corpus: Corpus, tmp_path: Path, told: Told, pool: WriterPool
) -> None:
    (first, result), (second, other) = trained(corpus, tmp_path, range(1, 3))
    pool.write(first, result)
    wait_until(first.folder.exists)  # it writes
    (process,) = pool.processes
    psutil.Process(process.pid).kill()
    pool.write(second, other)
    failed, done = told.wait_for(1), told.wait_for(2)
    assert isinstance(failed, JobFailed)
    assert failed.reason.startswith("the process that writes the trial's files was killed by SIGKILL")
    assert isinstance(done, JobDone)
    assert (second.folder / "checkpoint" / "model.safetensors").is_file()


def test_what_waits_in_memory_is_bounded(
    corpus: Corpus, tmp_path: Path, told: Told, pool: WriterPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpt_experiments.sweep.writers._MOST_WAITING_BYTES", 1)
    (first, result), (second, other) = trained(corpus, tmp_path, range(1, 3))
    pool.write(first, result)
    assert told.messages == {}  # handed over, not waited for
    pool.write(second, other)  # there is room for one: this waits until the first is written
    assert isinstance(told.messages.get(1), JobDone)
    assert isinstance(told.wait_for(2), JobDone)
