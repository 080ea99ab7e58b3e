"""Trials in this process: the same events as from processes of their own, and an early end on request."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.execution.group_training import Trainer
from gpt_experiments.execution.inline import InlineExecutor
from gpt_experiments.execution.local import LocalExecutor
from gpt_experiments.execution.protocol import (
    Cluster,
    Event,
    Executor,
    Job,
    JobDone,
    JobFailed,
    JobStopped,
    Notice,
    Placed,
    Trained,
)
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.training import Evaluation, describe_device, train_group
from tests.support import trainers
from tests.support.executors import hardware

VARIANT = Shape(n_head=1, n_layer=1, n_embed=8, dropout=0.0, block_size=8)
SETUP = TrainingSetup(steps=6, batch_size=2, eval_interval=2)

Make = Callable[..., Executor]


def job(seed: int, setup: TrainingSetup = SETUP) -> Job:
    return Job(key=str(seed), trial=Trial(shape=VARIANT, seed=seed, training=setup), label="x")


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("local", "ray")]


@pytest.fixture(params=["inline", *SLOW])
def make(request: pytest.FixtureRequest, corpus: Corpus) -> Iterator[Make]:
    made: list[Executor] = []

    def make(trainer: Trainer = train_group) -> Executor:
        kind, cluster = InlineExecutor if request.param == "inline" else LocalExecutor, None
        if request.param == "ray":
            from gpt_experiments.execution.ray_cluster import RayExecutor  # takes seconds

            kind, nodes = RayExecutor, request.getfixturevalue("ray_nodes")
            cluster = Cluster(address=nodes.address, trials=10)
        made.append(kind(corpus, hardware(cluster=cluster), trainer))
        return made[-1]

    yield make
    for executor in made:
        executor.close()


def run(executor: Executor, jobs: list[Job], on_event: Callable[[str, Event], None] = lambda key, event: None) -> dict:  # type: ignore[type-arg]
    """The events of each job; ends when all have ended and there is room again."""
    while not executor.has_room:  # a worker of Ray has to start first
        assert executor.events(10) == []
    executor.submit(jobs)
    events: dict[str, list[Event]] = {job.key: [] for job in jobs}
    while not executor.has_room or not all(map(has_ended, events.values())):
        for key, event in executor.events(10):
            events[key].append(event)
            on_event(key, event)
    return events


def has_ended(events: list[Event]) -> bool:
    return bool(events) and isinstance(events[-1], JobDone | JobFailed | JobStopped)


def test_a_group_trains_and_leaves_its_files(make: Make) -> None:
    executor = make()
    events = run(executor, [job(1), job(2)])
    for of_job in events.values():
        first = of_job[0]
        assert isinstance(first, Placed)
        assert (first.hardware, first.threads) == (describe_device(torch.device("cpu")), 1)
        assert [event.step for event in of_job if isinstance(event, Evaluation)] == [0, 2, 4, 6]
        done = of_job[-1]
        assert isinstance(done, JobDone)
        (trained,) = [event for event in of_job if isinstance(event, Trained)]
        assert (trained.summary.best_val_loss, trained.replicas) == (done.summary.best_val_loss, 2)
        with done.files.folder() as folder:
            assert (folder / "checkpoint" / "model.safetensors").is_file()
        assert not folder.exists()


def test_a_job_that_is_asked_to_stop_ends_early_and_the_others_of_its_group_do_not(make: Make) -> None:
    executor = make()
    long = TrainingSetup(steps=2000, batch_size=2, eval_interval=100)

    def stop_the_first(key: str, event: Event) -> None:
        if key == "1" and isinstance(event, Evaluation):
            executor.stop(key)

    events = run(executor, [job(1, long), job(2, long)], stop_the_first)
    first, second = events["1"][-1], events["2"][-1]
    assert isinstance(first, JobStopped)
    assert first.step < 2000
    assert isinstance(second, JobDone)
    assert run(executor, [job(3)])["3"][-1].summary.n_params  # and the executor goes on


def test_a_request_that_comes_too_late_does_nothing(make: Make) -> None:
    executor = make()
    events = run(executor, [job(1)], lambda key, event: executor.stop(key) if isinstance(event, Trained) else None)
    assert isinstance(events["1"][-1], JobDone)


@pytest.mark.slow
def test_a_notice_is_given_once(make: Make) -> None:
    executor = make(trainers.not_captured)
    events = [*run(executor, [job(1)])["1"], *run(executor, [job(2)])["2"]]
    assert len([event for event in events if isinstance(event, Notice)]) == 1


def test_after_an_error_that_breaks_the_device_every_later_job_of_the_process_fails(corpus: Corpus) -> None:
    executor = InlineExecutor(corpus, hardware(), trainers.breaks_the_device)
    for seed in (trainers.UNLUCKY_SEED, 1):
        failed = run(executor, [job(seed)])[str(seed)][-1]
        assert isinstance(failed, JobFailed)
        assert "illegal memory access" in failed.reason
    executor.close()
