"""Many small sweeps on one core and on two: none may say that it is done while a trial of it is missing.

With one worker there is a moment in every sweep at which nothing trains although trials are left, and how often the
parent sees it depends on the machine; so the sweeps are repeated. GPT_EXPERIMENTS_STRESS says how often.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator

import psutil
import pytest
from mlflow import MlflowClient

from gpt_experiments.corpus import Corpus
from gpt_experiments.sweep.definition import SweepDefinition
from gpt_experiments.sweep.resources import RunOptions
from gpt_experiments.sweep.runner import run_sweep
from gpt_experiments.tracking import Store
from tests.support import trainers
from tests.support.listeners import Recorder
from tests.sweep.test_group_sweeps import SETUP, SWEEP, VARIANT, Groups, on_cpu, run_groups

ROUNDS = int(os.environ.get("GPT_EXPERIMENTS_STRESS", "1"))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300 * ROUNDS)]
thorough = pytest.mark.skipif(ROUNDS == 1, reason="set GPT_EXPERIMENTS_STRESS to a number above 1 for this one")


on_cores_with_workers = pytest.mark.parametrize(
    ("cores", "workers"),
    [
        (1, 1),
        pytest.param(1, 2, marks=thorough),
        pytest.param(1, 3, marks=thorough),
        pytest.param(2, 1, marks=thorough),
        pytest.param(2, 2, marks=thorough),
        pytest.param(2, 3, marks=thorough),
    ],
    indirect=["cores"],
)
TWICE_TWO = dataclasses.replace(SWEEP, seeds=(1, 2))


@pytest.fixture
def cores(request: pytest.FixtureRequest) -> Iterator[int]:
    """Pins this process, and what it starts, to that many cores."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system does not pin processes to cores")
    before, count = os.sched_getaffinity(0), request.param
    if len(before) < count:
        pytest.skip(f"this machine has only {len(before)} cores")
    os.sched_setaffinity(0, sorted(before)[:count])
    for server in psutil.Process().children():  # that forks workers: they have its cores
        server.cpu_affinity(sorted(before)[:count])
    yield count
    os.sched_setaffinity(0, before)


def assert_finished(store: Store, run_id: str | None) -> None:
    assert run_id is not None
    assert MlflowClient(tracking_uri=store.uri).get_run(run_id).info.status == "FINISHED"


@pytest.mark.parametrize(
    ("cores", "workers", "replicas"),
    [
        (1, 1, 1),
        pytest.param(1, 1, 2, marks=thorough),
        pytest.param(1, 2, 1, marks=thorough),
        pytest.param(1, 3, 1, marks=thorough),
        pytest.param(2, 1, 1, marks=thorough),
        pytest.param(2, 1, 2, marks=thorough),
        pytest.param(2, 2, 1, marks=thorough),
        (2, 3, 2),
    ],
    indirect=["cores"],
)
def test_a_sweep_ends_only_when_every_trial_has_a_result(
    cores: int, store_uri: str, corpus: Corpus, workers: int, replicas: int
) -> None:
    store = Store(store_uri)
    options = RunOptions(device="cpu", workers=workers, replicas=replicas, force=True)
    for _ in range(ROUNDS):
        report = run_sweep(TWICE_TWO, corpus, store, options, Recorder())
        assert [trial.outcome for trial in report.trials] == ["finished"] * 4
        assert_finished(store, report.parent_run_id)


@pytest.mark.parametrize("cores", [1, pytest.param(2, marks=thorough)], indirect=True)
def test_a_search_that_learns_ends_only_when_it_has_no_more(cores: int, store_uri: str, corpus: Corpus) -> None:
    search = SweepDefinition(
        name="searched",
        method="tpe",
        baseline=VARIANT,
        levels={"n_layer": (1, 2), "dropout": (0.0, 0.3)},
        training=SETUP,
        trials=9,  # more than the four that there are
    )
    store = Store(store_uri)
    for _ in range(ROUNDS):
        report = run_sweep(search, corpus, store, RunOptions(device="cpu", workers=1, force=True), Recorder())
        assert (report.done, report.total) == (4, 4)
        assert_finished(store, report.parent_run_id)


@on_cores_with_workers
def test_failures_end_no_more_than_their_own_trial(cores: int, store_uri: str, corpus: Corpus, workers: int) -> None:
    for _ in range(ROUNDS):
        source = Groups(corpus, [[1], [trainers.UNLUCKY_SEED], [2, 3], [4]], wild=[4])
        reports = run_groups(
            source, corpus, Store(store_uri), on_cpu(corpus, trainers.unlucky_seed_kills, workers=workers), Recorder()
        )
        failed = {seed for seed, report in reports.items() if report.outcome == "failed"}
        assert failed == {trainers.UNLUCKY_SEED, 4}
        assert {seed for seed, report in reports.items() if report.outcome == "finished"} == {1, 2, 3}


@on_cores_with_workers
def test_many_sweeps_of_trials_that_end_at_once_forget_none(
    cores: int, store_uri: str, corpus: Corpus, workers: int
) -> None:
    """The shorter the trials, the more often nothing runs for a moment: ten such sweeps for each of the others."""
    store = Store(store_uri)
    for _ in range(10 * ROUNDS if ROUNDS > 1 else 2):
        source = Groups(corpus, [[1], [2, 3], [4], [5], [6]])
        executor = on_cpu(corpus, trainers.all_diverge_at_once, workers=workers)
        reports = run_groups(source, corpus, store, executor, Recorder())
        assert {seed: report.outcome for seed, report in reports.items()} == dict.fromkeys(range(1, 7), "failed")
