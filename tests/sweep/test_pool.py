"""Worker processes in a pool: which device each has, what it says of itself, and when it is replaced."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gpt_experiments.config import TrainingSetup, Trial, Variant
from gpt_experiments.corpus import Corpus
from gpt_experiments.sweep.group_training import Trainer
from gpt_experiments.sweep.messages import Job, JobDone, JobFailed, Message, Notice
from gpt_experiments.sweep.pool import WorkerPool
from gpt_experiments.sweep.worker import WorkerSetup
from tests.sweep import trainers

VARIANT = Variant(n_head=1, n_layer=1, n_embed=8, dropout=0.0, block_size=8)
SETUP = TrainingSetup(steps=1, batch_size=2)

MakePool = Callable[..., WorkerPool]


pytestmark = pytest.mark.slow  # a process takes seconds to load what it trains with


@pytest.fixture
def make_pool(corpus: Corpus) -> Iterator[MakePool]:
    pools = []

    def make(trainer: Trainer = trainers.train_group, *, size: int = 1, device_name: str = "cpu") -> WorkerPool:
        setup = WorkerSetup(device_name=device_name, threads=1, trainer=trainer)
        pools.append(WorkerPool(corpus, setup, size=size))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


def job(seed: int, folder: Path) -> Job:
    return Job(key=seed, trial=Trial(variant=VARIANT, seed=seed, training=SETUP), label="x", folder=folder / str(seed))


def ended(pool: WorkerPool, keys: set[int]) -> list[tuple[int, Message]]:
    """All messages until each of the jobs has ended and there is room again."""
    messages: list[tuple[int, Message]] = []
    deadline = time.monotonic() + 200
    while keys - {key for key, message in messages if isinstance(message, JobDone | JobFailed)} or not pool.has_room:
        assert time.monotonic() < deadline, "waited in vain"
        messages += pool.messages(0.5)
    return messages


def notices(messages: list[tuple[int, Message]]) -> list[str]:
    return [message.text for _, message in messages if isinstance(message, Notice)]


def failures(messages: list[tuple[int, Message]]) -> dict[int, str]:
    return {key: message.reason for key, message in messages if isinstance(message, JobFailed)}


def test_an_error_that_breaks_the_device_is_told_and_the_next_group_has_a_fresh_process(
    make_pool: MakePool, tmp_path: Path
) -> None:
    pool = make_pool(trainers.breaks_the_device)
    pool.submit([job(1, tmp_path), job(trainers.UNLUCKY_SEED, tmp_path)])
    (broken,) = (worker.process for worker in pool._workers)
    reasons = failures(ended(pool, {1, trainers.UNLUCKY_SEED}))
    assert set(reasons.values()) == {"AcceleratorError: CUDA error: an illegal memory access was encountered"}
    assert sorted(reasons) == [1, trainers.UNLUCKY_SEED]
    assert not broken.is_alive()
    pool.submit([job(2, tmp_path)])
    messages = ended(pool, {2})
    assert [type(message) for key, message in messages if key == 2][-1] is JobDone


def test_after_a_capture_that_failed_the_next_group_has_a_fresh_process_and_before_it_does_not(
    make_pool: MakePool, tmp_path: Path
) -> None:
    pool, processes = make_pool(trainers.says_its_process), []
    for seed in (1, 2, trainers.UNLUCKY_SEED, 3):
        pool.submit([job(seed, tmp_path)])
        processes.append({worker.process.pid for worker in pool._workers if worker.training})
        messages = ended(pool, {seed})
        assert failures(messages) == {}
        assert ("the training step could not be captured" in notices(messages)) == (seed == trainers.UNLUCKY_SEED)
    assert processes[0] == processes[1] == processes[2] != processes[3]


def test_a_notice_in_the_same_words_is_given_once(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(trainers.not_captured, size=2)
    pool.submit([job(1, tmp_path)])
    pool.submit([job(2, tmp_path)])
    assert notices(ended(pool, {1, 2})) == ["the training step could not be captured"]


def test_a_device_that_does_not_serve_is_told_of_each_job(make_pool: MakePool, tmp_path: Path) -> None:
    """What the parent process has found may not hold in a worker: others may have taken the card."""
    pool = make_pool()
    pool._setup = dataclasses.replace(pool._setup, device_name="cuda:99")
    pool.submit([job(1, tmp_path), job(2, tmp_path)])
    reasons = failures(ended(pool, {1, 2}))
    assert sorted(reasons) == [1, 2]
    assert all(reason.startswith("device 'cuda:99' is not here") for reason in reasons.values())


def test_workers_take_turns_at_the_devices_and_one_that_is_replaced_leaves_its_own_to_the_next(
    make_pool: MakePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpt_experiments.sweep.worker.WorkerSetup.at_place", _meta_at)
    pool = make_pool(trainers.breaks_the_device, size=2)
    pool.submit([job(1, tmp_path)])
    pool.submit([job(2, tmp_path)])
    assert [worker.place for worker in pool._workers] == [0, 1]
    assert PLACES == [0, 1]
    ended(pool, {1, 2})
    first = pool._workers[0]
    first.process.kill()
    first.process.join()
    ended(pool, set())
    while first in pool._workers:
        pool.messages(0.1)
    pool._workers[0].training = True  # so that the next one needs a process of its own
    pool.submit([job(3, tmp_path)])
    assert PLACES == [0, 1, 0]
    pool._workers[0].training = False
    ended(pool, {3})


PLACES: list[int] = []


def _meta_at(setup: WorkerSetup, place: int) -> WorkerSetup:
    PLACES.append(place)
    return setup


@pytest.mark.parametrize("asked", [False, True])
def test_a_librarys_warning_reaches_the_screen_only_if_somebody_asks(asked: bool, tmp_path: Path) -> None:
    """In a program of its own, because Python decides at its start what it says."""
    program = f"""
import sys
from pathlib import Path
from tests.conftest import generated_text
from tests.sweep import test_pool as t
from gpt_experiments.corpus import Corpus
if __name__ == "__main__":
    setup = t.WorkerSetup(device_name="cpu", threads=1, trainer=t.trainers.warns)
    pool = t.WorkerPool(Corpus.from_text(generated_text(3000), name="x"), setup, size=1)
    pool.submit([t.job(1, Path({str(tmp_path)!r}))])
    print(t.failures(t.ended(pool, {{1}})))
    pool.close()
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
