"""The command as a user types it, killed in every way; each time the same command goes on where it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from gpt_experiments.tracking import Store, names

pytestmark = pytest.mark.slow

DEFINITION = """
name: tiny
method: one-at-a-time
baseline: {n_head: 2, n_layer: 1, n_embed: 16, dropout: 0.1, block_size: 32}
levels: {n_head: [1, 4], n_layer: [2, 3]}
training: {steps: 400, batch_size: 4, eval_interval: 100}
"""


@pytest.fixture
def command(tmp_path: Path, text: str, store_uri: str) -> list[str]:
    (tmp_path / "tiny.yaml").write_text(DEFINITION)
    (tmp_path / "text.txt").write_text(text)
    program = [sys.executable, "-m", "gpt_experiments", "sweep", str(tmp_path / "tiny.yaml")]
    return [*program, "--data", str(tmp_path / "text.txt"), "--tracking-uri", store_uri, "--device", "cpu"]


def start(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*command, "--workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=Path(__file__).parents[2],
        start_new_session=True,
    )


def trials(uri: str) -> list[Run]:
    store = Store(uri)
    client = MlflowClient(tracking_uri=uri)
    return client.search_runs([store.experiment.experiment_id], f"tags.`{names.KIND}` = 'trial'")


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "waited two minutes in vain"
        time.sleep(0.2)


def one_done_and_others_running(uri: str) -> Callable[[], bool]:
    return lambda: {"FINISHED", "RUNNING"} <= {run.info.status for run in trials(uri)}


def assert_complete(uri: str) -> None:
    """Every cell has exactly one finished run, and nothing is left RUNNING."""
    found = trials(uri)
    finished = Counter(run.data.tags[names.CELL] for run in found if run.info.status == "FINISHED")
    assert len(finished) == 5
    assert set(finished.values()) == {1}
    assert "RUNNING" not in {run.info.status for run in found}


def test_sigkill_in_the_middle_loses_only_what_was_running(command: list[str], store_uri: str) -> None:
    process = start(command)
    wait_until(one_done_and_others_running(store_uri), process)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert alive == []
    before = {run.info.run_id for run in trials(store_uri) if run.info.status == "FINISHED"}
    assert any(run.info.status == "RUNNING" for run in trials(store_uri))

    process = start(command)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert "KILLED" in output
    assert_complete(store_uri)
    assert before <= {run.info.run_id for run in trials(store_uri) if run.info.status == "FINISHED"}
    assert Counter(run.info.status for run in trials(store_uri))["KILLED"] in (1, 2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_within_seconds_and_the_same_command_continues(
    command: list[str], store_uri: str, number: signal.Signals
) -> None:
    process = start(command)
    wait_until(one_done_and_others_running(store_uri), process)
    started = time.monotonic()
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert time.monotonic() - started < 20
    assert process.returncode == 130, output
    assert "Traceback" not in output
    statuses = {run.info.status for run in trials(store_uri)}
    assert "KILLED" in statuses
    assert "RUNNING" not in statuses

    process = start(command)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert_complete(store_uri)


def test_a_worker_that_dies_fails_its_trial_alone(command: list[str], store_uri: str) -> None:
    process = start(command)
    wait_until(lambda: sum(run.info.status == "RUNNING" for run in trials(store_uri)) == 2, process)
    worker = next(
        child for child in psutil.Process(process.pid).children() if "spawn_main" in " ".join(child.cmdline())
    )
    worker.kill()
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 1, output
    assert "killed by SIGKILL" in output
    statuses = Counter(run.info.status for run in trials(store_uri))
    assert statuses == {"FINISHED": 4, "FAILED": 1}

    process = start(command)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert_complete(store_uri)
