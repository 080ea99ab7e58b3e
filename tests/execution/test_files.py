"""Files written by processes beside the training: whole, each on its own, and with a bound on what waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import torch

from gpt_experiments import names
from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.execution.files import WriteHere, WriterPool
from gpt_experiments.execution.protocol import Event, Job, JobDone, JobFailed
from gpt_experiments.model import load_checkpoint
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.training import TrainingResult, train_group

SETUP = TrainingSetup(steps=1, batch_size=2)
VARIANT = Shape(n_head=2, n_layer=1, n_embed=8, dropout=0.0, block_size=16)


class Heard:
    """What writers sent, from whichever thread."""

    def __init__(self) -> None:
        self.events: dict[str, Event] = {}
        self._changed = threading.Condition()

    def __call__(self, key: str, event: Event) -> None:
        with self._changed:
            assert key not in self.events
            self.events[key] = event
            self._changed.notify_all()

    def wait_for(self, key: str) -> Event:
        with self._changed:
            assert self._changed.wait_for(lambda: key in self.events, timeout=120)
            return self.events[key]


def trained(corpus: Corpus, seeds: range) -> list[tuple[Job, TrainingResult]]:
    trials = [Trial(shape=VARIANT, seed=seed, training=SETUP) for seed in seeds]
    training = train_group(trials, corpus, torch.device("cpu"))
    while True:
        try:
            next(training)
        except StopIteration as end:
            results = end.value
            break
    return [
        (Job(key=str(trial.seed), trial=trial, label="x"), result)
        for trial, result in zip(trials, results, strict=True)
    ]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def pool(corpus: Corpus, tmp_path: Path, heard: Heard) -> Iterator[WriterPool]:
    pool = WriterPool(corpus, tmp_path, 1, heard)
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
    corpus: Corpus, tmp_path: Path, heard: Heard, pool: WriterPool
) -> None:
    (good, result), (bad, other) = trained(corpus, range(1, 3))
    here = Heard()
    WriteHere(corpus, tmp_path / "here", here).write(good, result)
    (tmp_path / bad.key).write_text("a file where the folder should be")
    pool.write(bad, other)
    pool.write(good, result)
    failed, done = heard.wait_for("2"), heard.wait_for("1")
    assert isinstance(failed, JobFailed)
    assert failed.reason.startswith("FileExistsError")
    assert "write_trial_files" in failed.traceback
    assert isinstance(done, JobDone)
    at_home = here.events["1"]
    assert isinstance(at_home, JobDone)
    assert (done.summary, done.scores_by_head) == (at_home.summary, at_home.scores_by_head)

    def files(folder: Path) -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    with done.files.folder() as folder, at_home.files.folder() as home:
        beside, written_here = files(folder), files(home)
        assert load_checkpoint(folder / "checkpoint").model.config.shape == VARIANT
    assert not folder.exists()
    assert beside.keys() == written_here.keys()
    for name in (
        "sample.txt",
        names.POSITIONS_FILE,
        names.CHARACTERS_FILE,
        "checkpoint/model.safetensors",
        "checkpoint/config.json",
    ):
        assert beside[name] == written_here[name], name


@pytest.mark.slow
def test_a_writer_that_dies_fails_its_trial_alone_and_is_replaced(
    corpus: Corpus, tmp_path: Path, heard: Heard, pool: WriterPool
) -> None:
    (first, result), (second, other) = trained(corpus, range(1, 3))
    pool.write(first, result)
    wait_until((tmp_path / first.key).exists)  # it writes
    (process,) = pool.processes
    psutil.Process(process.pid).kill()
    pool.write(second, other)
    failed, done = heard.wait_for("1"), heard.wait_for("2")
    assert isinstance(failed, JobFailed)
    assert failed.reason.startswith("the process that writes the trial's files was killed by SIGKILL")
    assert isinstance(done, JobDone)
    assert (tmp_path / second.key / "checkpoint" / "model.safetensors").is_file()


@pytest.mark.slow
def test_what_waits_in_memory_is_bounded(
    corpus: Corpus, tmp_path: Path, heard: Heard, pool: WriterPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpt_experiments.execution.files._MOST_WAITING_BYTES", 1)
    (first, result), (second, other) = trained(corpus, range(1, 3))
    pool.write(first, result)
    assert heard.events == {}  # handed over, not waited for
    pool.write(second, other)  # there is room for one: this waits until the first is written
    assert isinstance(heard.events.get("1"), JobDone)
    assert isinstance(heard.wait_for("2"), JobDone)
