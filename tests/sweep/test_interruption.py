"""The command as a user types it, killed in every way; each time the same command goes on where it was."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from gpt_experiments import names
from gpt_experiments.tracking import Store

pytestmark = pytest.mark.slow

DEFINITION = """
name: tiny
method: one-at-a-time
baseline: {n_head: 2, n_layer: 1, n_embed: 16, dropout: 0.1, block_size: 32}
levels: {n_head: [1, 4], n_layer: [2, 3]}
training: {steps: 600, batch_size: 4, eval_interval: 100}
"""


@pytest.fixture
def command(tmp_path: Path, text: str, store_uri: str) -> list[str]:
    (tmp_path / "tiny.yaml").write_text(DEFINITION)
    (tmp_path / "text.txt").write_text(text[:10_000])
    program = [sys.executable, "-m", "gpt_experiments", "sweep", str(tmp_path / "tiny.yaml")]
    program.append("--no-attention-over-training")
    return [*program, "--data", str(tmp_path / "text.txt"), "--tracking-uri", store_uri, "--device", "cpu"]


def start(command: list[str], **where: Any) -> subprocess.Popen[str]:
    outputs = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(
        [*command, "--workers", "2"],
        text=True,
        cwd=Path(__file__).parents[2],
        start_new_session=True,
        **outputs | where,
    )


class Terminal:
    """A terminal with one program on it, which what the program writes is read from."""

    def __init__(self, command: list[str], *, controlling: bool = True) -> None:
        self._master, slave = pty.openpty()
        os.set_blocking(self._master, False)
        take = (lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) if controlling else None
        self.process = start(command, stdin=slave, stdout=slave, stderr=slave, preexec_fn=take)
        os.close(slave)

    def read(self) -> bool:
        """Take what is there, as a terminal does; always False."""
        with contextlib.suppress(OSError):
            while os.read(self._master, 65_536):
                pass
        return False

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.killpg(self.process.pid, signal.SIGWINCH)

    def close(self) -> None:
        """As when its window is closed: who runs on it is sent SIGHUP, and nothing can be written any more."""
        os.close(self._master)


def trials(uri: str) -> list[Run]:
    store = Store(uri)
    client = MlflowClient(tracking_uri=uri)
    return client.search_runs([store.experiment.experiment_id], f"tags.`{names.KIND}` = 'trial'")


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "waited four minutes in vain"
        time.sleep(0.2)


def one_done_and_others_running(uri: str) -> Callable[[], bool]:
    return lambda: {"FINISHED", "RUNNING"} <= {run.info.status for run in trials(uri)}


def in_training(uri: str) -> set[str]:
    """The running trials that have trained for a while."""
    client = MlflowClient(tracking_uri=uri)
    running = [run.info.run_id for run in trials(uri) if run.info.status == "RUNNING"]
    return {run_id for run_id in running if len(client.get_metric_history(run_id, names.VAL_LOSS)) > 1}


def one_done_and_others_training(uri: str) -> Callable[[], bool]:
    return lambda: "FINISHED" in {run.info.status for run in trials(uri)} and bool(in_training(uri))


def assert_complete(uri: str) -> None:
    """Every cell has exactly one finished run, and nothing is left RUNNING."""
    found = trials(uri)
    finished = Counter(run.data.tags[names.CELL] for run in found if run.info.status == "FINISHED")
    assert len(finished) == 5
    assert set(finished.values()) == {1}
    assert "RUNNING" not in {run.info.status for run in found}


def scratch_folders(place: Path) -> list[Path]:
    return list(place.glob("gpt-experiments-scratch-*"))


def test_sigkill_in_the_middle_loses_only_what_was_running(
    command: list[str], store_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    process = start(command)
    wait_until(one_done_and_others_training(store_uri), process)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert alive == []
    before = {run.info.run_id for run in trials(store_uri) if run.info.status == "FINISHED"}
    left = {run.info.run_id for run in trials(store_uri) if run.info.status == "RUNNING"}
    assert left
    assert len(scratch_folders(place)) == 1

    process = start(command)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert "KILLED" in output
    assert_complete(store_uri)
    assert before <= {run.info.run_id for run in trials(store_uri) if run.info.status == "FINISHED"}
    for run in trials(store_uri):
        if run.info.run_id in left:  # closed, or, where a state was kept, gone on with
            assert run.info.status == "KILLED" or names.CONTINUED in run.data.tags
    assert scratch_folders(place) == []


def assert_interrupted(process: subprocess.Popen[str], uri: str, children: list[psutil.Process]) -> str:
    """It ends as documented: soon, with its runs KILLED, none FAILED, and no process left. Returns what it said."""
    started = time.monotonic()
    output, _ = process.communicate(timeout=120)
    assert time.monotonic() - started < 60
    assert process.returncode == 130, output
    statuses = {run.info.status for run in trials(uri)}
    assert statuses == {"FINISHED", "KILLED"}
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    return output or ""


@pytest.mark.parametrize(
    ("number", "to_all"),
    [
        (signal.SIGINT, True),
        (signal.SIGTERM, True),
        pytest.param(signal.SIGTERM, False, marks=pytest.mark.thorough),
        pytest.param(signal.SIGHUP, True, marks=pytest.mark.thorough),
    ],
)
def test_an_interrupt_ends_within_seconds_and_the_same_command_continues(
    command: list[str], store_uri: str, number: signal.Signals, to_all: bool
) -> None:
    process = start(command)
    wait_until(one_done_and_others_training(store_uri), process)
    children, training = psutil.Process(process.pid).children(recursive=True), in_training(store_uri)
    os.killpg(process.pid, number) if to_all else process.send_signal(number)
    assert "Traceback" not in assert_interrupted(process, store_uri, children)
    for run in trials(store_uri):
        if run.info.run_id in training:  # its worker lived on, and was asked for its state, or ended it by then
            assert run.info.status == "FINISHED" or names.STATE in run.data.tags
    if number != signal.SIGINT:
        return  # once is enough

    process = start(command)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert_complete(store_uri)
    killed = [run for run in trials(store_uri) if run.info.status == "KILLED"]
    assert not any(names.STATE in run.data.tags for run in killed)  # those went on, and are finished


def test_a_closed_terminal_ends_the_sweep_with_its_runs_closed(command: list[str], store_uri: str) -> None:
    terminal = Terminal(command)
    arrived = one_done_and_others_running(store_uri)
    wait_until(lambda: terminal.read() or arrived(), terminal.process)
    for rows, columns in [(50, 200), (3, 20), (1, 1), (24, 80)]:
        terminal.resize(rows, columns)
        time.sleep(0.3)
        terminal.read()
    children = psutil.Process(terminal.process.pid).children(recursive=True)
    terminal.close()
    assert_interrupted(terminal.process, store_uri, children)


@pytest.mark.thorough
def test_under_nohup_a_sweep_goes_on_without_its_terminal(command: list[str], store_uri: str, tmp_path: Path) -> None:
    terminal = Terminal(["sh", "-c", f'exec nohup "$@" > "{tmp_path}/out" 2>&1', "sh", *command])
    wait_until(lambda: terminal.read() or bool(trials(store_uri)), terminal.process)
    terminal.close()
    terminal.process.wait(timeout=280)
    assert terminal.process.returncode == 0, (tmp_path / "out").read_text()
    assert_complete(store_uri)


@pytest.mark.thorough
def test_a_sweep_that_nobody_can_hear_any_more_loses_no_work(command: list[str], store_uri: str) -> None:
    terminal = Terminal(command, controlling=False)  # as under setsid: no SIGHUP, but writing fails
    wait_until(lambda: terminal.read() or bool(trials(store_uri)), terminal.process)
    terminal.close()
    terminal.process.wait(timeout=280)
    assert terminal.process.returncode == 1  # its result could not be shown
    assert_complete(store_uri)


def is_worker(process: psutil.Process) -> bool:
    """Spawned by the sweep's process, or forked by its fork server, whose command line it then shares."""
    mine, parents = (" ".join(each.cmdline()) for each in (process, process.parent() or process))
    return "spawn_main" in mine or ("forkserver" in mine and "forkserver" in parents)


def test_a_worker_that_dies_fails_its_trial_alone(command: list[str], store_uri: str) -> None:
    process = start(command)
    wait_until(lambda: sum(run.info.status == "RUNNING" for run in trials(store_uri)) == 2, process)
    workers = [child for child in psutil.Process(process.pid).children(recursive=True) if is_worker(child)]
    workers[0].kill()
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 1, output
    assert "killed by SIGKILL" in output
    statuses = Counter(run.info.status for run in trials(store_uri))
    assert statuses == {"FINISHED": 4, "FAILED": 1}

    process = start(command)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert_complete(store_uri)
