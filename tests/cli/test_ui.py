"""`ui`: MLflow's own server for a real store, as a process that is started, asked, signalled and gone."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
from click.testing import CliRunner, Result

from gpt_experiments import names
from gpt_experiments.cli import program
from gpt_experiments.corpus import Corpus
from gpt_experiments.parameters import Shape
from gpt_experiments.tracking import Store
from gpt_experiments.tracking.views import TAG_PREFIX
from tests.support.mlflow_server import Server
from tests.support.page_stores import add_sweep, add_trial

VIEW = re.compile(r"http://\S+/#/experiments/\d+/runs\?workflowType=machine_learning&viewStateShareKey=(\S+)")


def typed(*arguments: object) -> Result:
    return CliRunner().invoke(program, ["ui", "--no-open", *map(str, arguments)])


def refused(result: Result, *parts: str, status: int = 1) -> None:
    assert result.exit_code == status, result.output
    for part in parts:
        assert part in result.stderr
    assert len(result.stderr.splitlines()) <= 4
    assert "Starting" not in result.stdout


@pytest.fixture(autouse=True)
def no_store_in_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_BACKEND_STORE_URI", "BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")


@pytest.fixture
def filled(store_uri: str, corpus: Corpus) -> Store:
    """A store with a sweep of two trials."""
    store = Store(store_uri)
    add_sweep(store, corpus, [Shape(), Shape(n_head=8)], name="mine")
    return store


def views(store: Store) -> set[str]:
    found = store.client.get_experiment(store.experiment.experiment_id).tags
    return {tag.removeprefix(TAG_PREFIX) for tag in found if tag.startswith(TAG_PREFIX)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_what_is_not_there_cannot_be_shown(tmp_path: Path, store_uri: str, corpus: Corpus) -> None:
    absent = tmp_path / "absent.db"
    refused(typed("--tracking-uri", f"sqlite:///{absent}"), "nothing to show", "run a sweep first")
    assert not absent.exists()
    refused(typed("--tracking-uri", store_uri), "no experiment 'gpt-experiments'", "--experiment")
    run_id = add_trial(Store(store_uri), corpus, Shape())
    refused(typed("--tracking-uri", store_uri, "mine"), "no sweep 'mine'", "it holds no sweep yet")
    refused(typed("--tracking-uri", store_uri, run_id), f"run {run_id} is no sweep")
    refused(typed("--tracking-uri", tmp_path), "is no address of a store")


def test_a_port_in_use_is_said_with_one_that_is_free(filled: Store) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        result = typed("--tracking-uri", filled.uri, "--port", taken)
    refused(result, f"port {taken} is in use", "--port ")
    offered = re.search(r"--port (\d+)", result.stderr)
    assert offered is not None
    assert int(offered[1]) > taken
    refused(typed("--tracking-uri", filled.uri, "--port", 0), "1<=x<=65535", status=2)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host", "x" * 300])
def test_a_host_that_is_not_of_this_machine_is_refused(filled: Store, host: str) -> None:
    refused(typed("--tracking-uri", filled.uri, "--host", host), "is no address of this machine", "leave --host out")


@pytest.mark.parametrize(
    ("version", "remedy"), [("17e22815139b", "run `mlflow db upgrade sqlite:///"), ("ffffffffffff", "a newer version")]
)
def test_a_store_of_another_version_is_said_with_its_remedy(
    tmp_path: Path, filled: Store, version: str, remedy: str
) -> None:
    copy = tmp_path / "copy.db"  # MLflow looks at the version of a file when a process opens it first
    shutil.copy(filled.uri.removeprefix("sqlite:///"), copy)
    with closing(sqlite3.connect(copy)) as database:
        database.execute("UPDATE alembic_version SET version_num = ?", (version,))
        database.commit()
    result = typed("--tracking-uri", f"sqlite:///{copy}")
    refused(result, remedy)
    assert ("db upgrade" in result.stderr) == (version != "ffffffffffff")


@dataclass
class Running:
    """`ui` as a process, and what it has said."""

    process: subprocess.Popen[str]
    address: str
    port: int

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=20) as response:
            content: bytes = response.read()
            return content

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """Its status after that signal, and what it said on standard error; all that it started must be gone."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        started = [child for child in children if {"mlflow", "uvicorn"} & {*child.cmdline()}]
        assert len(started) >= 2
        assert not any("mlflow.db" in word for process in started for word in process.cmdline()), "`ps` shows addresses"
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=60)
        assert not any(process.is_running() for process in started)
        return self.process.returncode, said


@contextmanager
def running(*arguments: object, folder: Path, **environment: str) -> Iterator[Running]:
    port = free_port()
    command = [sys.executable, "-m", "gpt_experiments", "ui", "--port", str(port), *map(str, arguments)]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, process.communicate()
        yield Running(process=process, address=address, port=port)
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.mark.slow
def test_the_pages_are_there_until_ctrl_c(tmp_path: Path, filled: Store) -> None:
    with running("mine", "--tracking-uri", filled.uri, folder=tmp_path / "elsewhere") as ui:
        match = VIEW.fullmatch(ui.address)
        assert match is not None, ui.address
        assert f"127.0.0.1:{ui.port}/" in ui.address
        assert match[1] in views(filled)
        assert match[1].endswith("-leaderboard")
        assert b"<title>MLflow</title>" in ui.get("")
        status, said = ui.end(signal.SIGINT)
    assert status == 0
    assert said.splitlines() == [
        "Starting MLflow's server, which takes some seconds ...",
        "Press Ctrl-C to end the server.",
        "The server has ended.",
    ]
    assert not list((tmp_path / "elsewhere").iterdir()), "nothing is left in the working directory"


@pytest.mark.slow
def test_files_and_images_are_served_from_a_store_elsewhere_and_the_browser_is_opened(
    tmp_path: Path, filled: Store, corpus: Corpus
) -> None:
    run_id = add_trial(filled, corpus, Shape(n_layer=1), images=True)
    filled.client.log_text(run_id, "To be", names.SAMPLE_FILE)
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho garbage; echo garbage >&2; echo "$1" > {tmp_path}/opened; sleep 9\n')
    browser.chmod(0o755)
    # The environment names the store, as where its address holds a password.
    environment = {"MLFLOW_TRACKING_URI": filled.uri, "BROWSER": str(browser)}
    with running("--host", "0.0.0.0", folder=tmp_path / "elsewhere", **environment) as ui:
        assert ui.get(f"get-artifact?path={names.SAMPLE_FILE}&run_uuid={run_id}") == b"To be"
        listed: Any = json.loads(ui.get(f"ajax-api/2.0/mlflow/artifacts/list?run_id={run_id}&path=images"))
        image = next(file["path"] for file in listed["files"] if file["path"].endswith(".png"))
        assert ui.get(f"get-artifact?path={quote(image)}&run_uuid={run_id}").startswith(b"\x89PNG")
        deadline = time.monotonic() + 30
        while not (tmp_path / "opened").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        status, said = ui.end(signal.SIGTERM)
    assert status == 0
    assert (tmp_path / "opened").read_text().strip() == ui.address
    assert "garbage" not in said
    assert "MLflow asks for no password" in said
    assert ui.address.startswith(f"http://127.0.0.1:{ui.port}/")


@pytest.mark.slow
def test_a_signal_before_the_pages_are_there_ends_it_as_interrupted(tmp_path: Path, filled: Store) -> None:
    command = [sys.executable, "-m", "gpt_experiments", "ui", "--no-open", "--port", str(free_port())]
    process = subprocess.Popen(
        [*command, "--tracking-uri", filled.uri], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith("Starting")
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_server_that_dies_is_an_error_with_its_last_words(tmp_path: Path, filled: Store) -> None:
    with running("--tracking-uri", filled.uri, "--no-open", folder=tmp_path) as ui:
        for child in psutil.Process(ui.process.pid).children():
            child.kill()
        _, said = ui.process.communicate(timeout=60)
    assert ui.process.returncode == 1
    assert "MLflow's server ended with status" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_tracking_server_is_pointed_to_and_nothing_is_started(tmp_path: Path, filled: Store) -> None:
    server = Server(tmp_path)
    server.start()
    try:
        result = typed("--tracking-uri", server.uri, "mine")
    finally:
        server.stop()
    assert result.exit_code == 0, result.output
    match = VIEW.fullmatch(result.stdout.strip())
    assert match is not None, result.stdout
    assert result.stdout.startswith(f"{server.uri}/#/")
    assert match[1] in views(filled)
    assert result.stderr == ""


def test_a_browser_is_not_looked_for_where_no_window_can_open(
    filled: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[object] = []
    monkeypatch.setattr(subprocess, "Popen", lambda *arguments, **_: started.append(arguments))
    monkeypatch.setattr("gpt_experiments.app.ui.served_address", lambda uri: "http://somewhere:5000")
    monkeypatch.setattr(sys, "platform", "linux")
    result = CliRunner().invoke(program, ["ui", "--tracking-uri", filled.uri])
    assert result.exit_code == 0, result.output
    assert started == []
    monkeypatch.setenv("DISPLAY", ":0")
    result = CliRunner().invoke(program, ["ui", "--tracking-uri", filled.uri])
    assert [arguments[0][1:] for arguments in started] == [["-m", "webbrowser", result.stdout.strip()]]  # type: ignore[index]
