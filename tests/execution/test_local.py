"""Worker processes: which device each has, what it says of itself, and when it is replaced."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.execution.group_training import Trainer
from gpt_experiments.execution.local import LocalExecutor
from gpt_experiments.execution.protocol import Event, Job, JobDone, JobFailed, JobStopped, Notice
from gpt_experiments.execution.worker import WorkerSetup
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.training import Progress
from tests.support import trainers
from tests.support.executors import hardware

VARIANT = Shape(n_head=1, n_layer=1, n_embed=8, dropout=0.0, block_size=8)
SETUP = TrainingSetup(steps=1, batch_size=2)

MakeExecutor = Callable[..., LocalExecutor]


pytestmark = pytest.mark.slow  # a process takes seconds to load what it trains with


@pytest.fixture
def make_executor(corpus: Corpus) -> Iterator[MakeExecutor]:
    executors = []

    def make(trainer: Trainer = trainers.train_group, *, size: int = 1, device_name: str = "cpu") -> LocalExecutor:
        executors.append(LocalExecutor(corpus, hardware(device=device_name, workers=size), trainer))
        return executors[-1]

    yield make
    for executor in executors:
        executor.close()


def job(seed: int) -> Job:
    return Job(key=str(seed), trial=Trial(shape=VARIANT, seed=seed, training=SETUP), label="x")


def ended(executor: LocalExecutor, seeds: set[int]) -> list[tuple[str, Event]]:
    """All events until each of the jobs has ended and there is room again."""
    events: list[tuple[str, Event]] = []
    keys = set(map(str, seeds))
    deadline = time.monotonic() + 200
    while keys - {key for key, event in events if isinstance(event, JobDone | JobFailed)} or not executor.has_room:
        assert time.monotonic() < deadline, "waited in vain"
        events += executor.events(0.5)
    return events


def test_a_signal_to_all_processes_leaves_the_workers_at_work_until_their_parent_decides(
    make_executor: MakeExecutor,
) -> None:
    executor, before = make_executor(), set(psutil.Process().children(recursive=True))
    long = Trial(shape=VARIANT, seed=1, training=TrainingSetup(steps=1_000_000, batch_size=2, eval_interval=1_000_000))
    executor.submit((Job(key="1", trial=long, label="x"),))
    events: list[Event] = []

    def wait_for(arrived: Callable[[Event], bool]) -> None:
        deadline = time.monotonic() + 200
        while not any(map(arrived, events)):
            assert time.monotonic() < deadline, "waited in vain"
            events.extend(event for _, event in executor.events(0.5))

    wait_for(lambda event: isinstance(event, Progress) and event.step > 0)
    mine = set(psutil.Process().children(recursive=True)) - before
    for number in (signal.SIGTERM, signal.SIGINT):
        for process in mine:
            process.send_signal(number)
    time.sleep(0.5)
    executor.stop("1", keep=True)
    wait_for(lambda event: isinstance(event, JobStopped | JobFailed))
    assert isinstance(events[-1], JobStopped), events[-1]
    assert events[-1].state is not None


def notices(events: list[tuple[str, Event]]) -> list[str]:
    return [event.text for _, event in events if isinstance(event, Notice)]


def failures(events: list[tuple[str, Event]]) -> dict[int, str]:
    return {int(key): event.reason for key, event in events if isinstance(event, JobFailed)}


def test_an_error_that_breaks_the_device_is_reported_and_the_next_group_has_a_fresh_process(
    make_executor: MakeExecutor,
) -> None:
    executor = make_executor(trainers.breaks_the_device)
    executor.submit([job(1), job(trainers.UNLUCKY_SEED)])
    (broken,) = (worker.process for worker in executor._workers)
    reasons = failures(ended(executor, {1, trainers.UNLUCKY_SEED}))
    assert set(reasons.values()) == {"AcceleratorError: CUDA error: an illegal memory access was encountered"}
    assert sorted(reasons) == [1, trainers.UNLUCKY_SEED]
    assert not broken.is_alive()
    executor.submit([job(2)])
    events = ended(executor, {2})
    assert [type(event) for key, event in events if key == "2"][-1] is JobDone


def test_after_a_capture_that_failed_the_next_group_has_a_fresh_process_and_before_it_does_not(
    make_executor: MakeExecutor,
) -> None:
    executor, processes = make_executor(trainers.says_its_process), []
    for seed in (1, 2, trainers.UNLUCKY_SEED, 3):
        executor.submit([job(seed)])
        processes.append({worker.process.pid for worker in executor._workers if worker.training})
        events = ended(executor, {seed})
        assert failures(events) == {}
        assert ("the training step could not be captured" in notices(events)) == (seed == trainers.UNLUCKY_SEED)
    assert processes[0] == processes[1] == processes[2] != processes[3]


def test_a_notice_in_the_same_words_is_given_once(make_executor: MakeExecutor) -> None:
    executor = make_executor(trainers.not_captured, size=2)
    executor.submit([job(1)])
    executor.submit([job(2)])
    assert notices(ended(executor, {1, 2})) == ["the training step could not be captured"]


def test_a_device_that_does_not_serve_is_reported_of_each_job(make_executor: MakeExecutor) -> None:
    """What the parent process has found may not hold in a worker: others may have taken the card."""
    executor = make_executor()
    executor._setup = dataclasses.replace(executor._setup, device_name="cuda:99")
    executor.submit([job(1), job(2)])
    reasons = failures(ended(executor, {1, 2}))
    assert sorted(reasons) == [1, 2]
    assert all(reason.startswith("device 'cuda:99' is not available") for reason in reasons.values())


def test_workers_take_turns_at_the_devices_and_one_that_is_replaced_leaves_its_own_to_the_next(
    make_executor: MakeExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpt_experiments.execution.worker.WorkerSetup.at_place", _meta_at)
    executor = make_executor(trainers.breaks_the_device, size=2)
    executor.submit([job(1)])
    executor.submit([job(2)])
    assert [worker.place for worker in executor._workers] == [0, 1]
    assert PLACES == [0, 1]
    ended(executor, {1, 2})
    first = executor._workers[0]
    first.process.kill()
    first.process.join()
    ended(executor, set())
    while first in executor._workers:
        executor.events(0.1)
    executor._workers[0].training = True  # so that the next one needs a process of its own
    executor.submit([job(3)])
    assert PLACES == [0, 1, 0]
    executor._workers[0].training = False
    ended(executor, {3})


PLACES: list[int] = []


def _meta_at(setup: WorkerSetup, place: int) -> WorkerSetup:
    PLACES.append(place)
    return setup


@pytest.mark.parametrize("asked", [False, True])
def test_a_librarys_warning_reaches_the_screen_only_if_somebody_asks(asked: bool, tmp_path: Path) -> None:
    """In a program of its own, because Python decides at its start what it says."""
    program = """
from tests.conftest import generated_text
from tests.execution import test_local as t
from gpt_experiments.corpus import Corpus
if __name__ == "__main__":
    corpus = Corpus.from_text(generated_text(3000), name="x")
    executor = t.LocalExecutor(corpus, t.hardware(), t.trainers.warns)
    executor.submit([t.job(1)])
    print(t.failures(t.ended(executor, {1})))
    executor.close()
"""
    (tmp_path / "program.py").write_text(program)
    options = ["-W", "default"] if asked else []
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, *options, str(tmp_path / "program.py")],
        env=environment | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "{}\n"
    assert ("invalid value encountered in divide" in done.stderr) == asked
    if not asked:
        assert done.stderr == ""


def test_without_workers_yet_it_waits_as_long_as_with_some(
    make_executor: MakeExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on Windows, where a wait for nothing returns at once, so that asking again and again would take a core."""

    def wait_on_windows(objects: Sequence[object], timeout: float | None = None) -> list[object]:
        assert not objects
        return []

    monkeypatch.setattr("gpt_experiments.execution.local.wait", wait_on_windows)
    started = time.monotonic()
    assert make_executor().events(0.2) == []
    assert time.monotonic() - started >= 0.19
