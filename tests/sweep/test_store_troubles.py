"""Sweeps whose store is in trouble, and what they leave on the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from gpt_experiments import names
from gpt_experiments.corpus import Corpus
from gpt_experiments.records import PlannedTrial
from gpt_experiments.sweep.definition_file import load_definition
from gpt_experiments.sweep.resources import RunOptions
from gpt_experiments.sweep.runner import run_sweep
from gpt_experiments.tracking import Store
from tests.support.listeners import Recorder
from tests.support.mlflow_server import Server

DEFINITION = """
name: tiny
method: one-at-a-time
baseline: {n_head: 2, n_layer: 1, n_embed: 8, dropout: 0.1, block_size: 32}
levels: {n_head: [1]}
training: {steps: 40, batch_size: 4, eval_interval: 20}
"""


@pytest.fixture
def definition(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.yaml"
    file.write_text(DEFINITION)
    return file


@pytest.fixture
def server(store_uri: str, tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    server.start()
    yield server
    server.stop()


class Deleter(Recorder):
    """Deletes the run of the baseline as soon as it trains, as a person does in MLflow's page."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    def trial_started(self, planned: PlannedTrial) -> None:
        super().trial_started(planned)
        if planned.label == "baseline":
            (run,) = self._store.search(f"tags.`{names.CELL}` = '{planned.cell}'")
            MlflowClient(self._store.uri).delete_run(run.info.run_id)


@pytest.mark.slow
def test_a_run_that_is_deleted_while_it_trains_fails_alone(definition: Path, store_uri: str, corpus: Corpus) -> None:
    store = Store(store_uri)
    sweep = load_definition(str(definition))
    report = run_sweep(sweep, corpus, store, RunOptions(device="cpu", workers=1), Deleter(store))
    ended = {trial.planned.label: trial for trial in report.trials}
    assert {label: trial.outcome for label, trial in ended.items()} == {"baseline": "failed", "n_head=1": "finished"}
    run_id = ended["baseline"].run_id
    assert (ended["baseline"].reason or "").startswith(f"run {run_id} was deleted in MLflow while it was written")
    assert store.client.get_run(ended["n_head=1"].run_id).info.status == "FINISHED"
    assert store.client.get_run(str(report.parent_run_id)).data.tags[names.FAILURE] == "1 of 2 trials failed"


class Outage(Recorder):
    """Stops the server when the first trial starts, and starts it again at the first notice that it is waited for."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server

    def trial_started(self, planned: PlannedTrial) -> None:
        super().trial_started(planned)
        if len(self.trials) == 1:
            self._server.stop()

    def notice(self, text: str) -> None:
        super().notice(text)
        if text.startswith("waiting for the tracking store"):
            self._server.start()


@pytest.mark.slow
def test_a_server_that_goes_away_in_the_middle_costs_no_work(definition: Path, server: Server, corpus: Corpus) -> None:
    store, listener = Store(server.uri), Outage(server)
    sweep = load_definition(str(definition))
    report = run_sweep(sweep, corpus, store, RunOptions(device="cpu", workers=2), listener)
    assert [trial.outcome for trial in report.trials] == ["finished", "finished"]
    assert any("it does not answer" in notice for notice in listener.notices)
    assert any("answers again" in notice for notice in listener.notices)
    for trial in report.trials:
        assert store.client.get_run(trial.run_id).info.status == "FINISHED"
        assert "checkpoint" in {file.path for file in store.client.list_artifacts(trial.run_id)}


class Program:
    """The program as it is typed, with a folder for temporary files, which each command must leave empty."""

    def __init__(self, folder: Path, text: str, definition: Path) -> None:
        self._temporary, self._text, self._definition = folder / "temporary", folder / "text.txt", definition
        self._temporary.mkdir()
        self._text.write_text(text)

    def sweep(self, uri: str) -> str:
        return self.run(uri, "sweep", str(self._definition), "--data", str(self._text), "--device", "cpu")

    def run(self, uri: str, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "gpt_experiments", *arguments, "--tracking-uri", uri],
            env=os.environ | {"TMPDIR": str(self._temporary), "PYTHONPATH": str(Path(__file__).parents[2])},
            cwd=self._definition.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert list(self._temporary.iterdir()) == [], arguments
        return done.stdout + done.stderr


@pytest.fixture
def program(tmp_path: Path, text: str, definition: Path) -> Program:
    return Program(tmp_path, text, definition)


def newest_trial(uri: str) -> str:
    return Store(uri).search(f"tags.`{names.KIND}` = 'trial'", newest=1)[0].info.run_id


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["database", pytest.param("server", marks=pytest.mark.thorough)])
def test_no_command_leaves_a_temporary_file(
    kind: str, program: Program, store_uri: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    uri = store_uri if kind == "database" else request.getfixturevalue("server").uri
    program.sweep(uri)
    run_id = newest_trial(uri)
    for arguments in (
        ["report", "--output", str(tmp_path / "report")],
        ["register", "--confirm", "0"],
        ["generate", run_id],
        ["generate", "models:/gpt-experiments@champion"],
        ["attention", run_id, "--output", str(tmp_path / "attention")],
    ):
        program.run(uri, *arguments)
    assert not list(tmp_path.glob("*.lock"))


@pytest.mark.slow
def test_a_project_that_was_moved_goes_on_where_it_is(program: Program, store_uri: str, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    shutil.move(tmp_path / "mlflow.db", old)
    program.sweep(f"sqlite:///{old}/mlflow.db")
    shutil.move(old, new)
    uri = f"sqlite:///{new}/mlflow.db"
    assert "the store was moved" in program.run(uri, "register", "--confirm", "0")
    program.run(uri, "generate", "models:/gpt-experiments@champion")
    assert "2 reused" in program.sweep(uri)
    (parent,) = Store(uri).search(f"tags.`{names.KIND}` = 'sweep'")
    assert list((new / "mlruns").glob(f"*/{parent.info.run_id}/artifacts/report/report.html"))
    assert not old.exists()
