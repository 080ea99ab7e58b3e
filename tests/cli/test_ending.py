"""How a command ends: its exit status, and what is printed to be typed next, with its store, experiment and sweep."""

from __future__ import annotations

import dataclasses
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from gpt_experiments.cli import program
from gpt_experiments.cli.ending import exit_status, model_commands, next_commands
from gpt_experiments.records import SweepSummary
from gpt_experiments.tracking import Store
from tests.support.made_up import ended, failed, finished, interrupted, planned

REPORT = ended([finished(planned(1), 2.0), finished(planned(2), 1.5), failed(planned(3))])


def store(uri: str = "sqlite:////somewhere/mlflow.db", experiment: str = "gpt-experiments") -> Any:
    return SimpleNamespace(uri=uri, experiment=SimpleNamespace(name=experiment))


def commands(store: Any, tracking_uri: str | None = None) -> dict[str, str]:
    """By the word after `gpt_experiments`."""
    return {
        shlex.split(command)[3]: command for command, _ in next_commands(REPORT, store=store, tracking_uri=tracking_uri)
    }


@pytest.fixture(autouse=True)
def no_store_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(sys, "argv", ["gpt-experiments", "sweep", "my sweep.yaml"])


def test_the_experiment_and_the_sweep_are_named_where_they_matter() -> None:
    found = commands(store(experiment="my own"))
    assert found["report"].endswith("report parent --experiment 'my own'")
    assert found["register"].endswith("register parent --experiment 'my own'")
    assert found["generate"].endswith("generate run2")
    assert found["attention"].endswith("attention run2")
    assert found["sweep"].endswith("sweep 'my sweep.yaml'")
    assert commands(store())["register"].endswith("register parent")


def test_a_store_that_was_named_is_named_again() -> None:
    uri = "sqlite:////a folder/mlflow.db"
    found = commands(store(uri), uri)
    for name in ("ui", "report", "register", "generate", "attention"):
        assert found[name].endswith(" --tracking-uri 'sqlite:////a folder/mlflow.db'")


def test_the_pages_are_offered_where_a_server_can_show_the_store() -> None:
    assert "ui" not in commands(store("databricks"))
    assert commands(store())["ui"].endswith("-m gpt_experiments ui parent")
    assert commands(store(experiment="my own"))["ui"].endswith("ui parent --experiment 'my own'")
    assert commands(store("https://somewhere"), "https://somewhere")["ui"].endswith(
        "ui parent --tracking-uri https://somewhere"
    )
    alone = dataclasses.replace(REPORT, parent_run_id=None)
    offered = [command for command, _ in next_commands(alone, store=store(), tracking_uri=None)]
    assert [command for command in offered if command.endswith("-m gpt_experiments ui")]


def test_no_command_shows_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "postgresql://me:s3cr/et@host/db"
    monkeypatch.setattr(
        sys, "argv", ["gpt-experiments", "sweep", "quick", "--tracking-uri", uri, f"--tracking-uri={uri}"]
    )
    given = commands(store(uri), uri)
    assert "postgresql://***@host/db" in given["report"]
    registered = model_commands("models:/m@champion", "ROMEO:", tracking_uri=uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    inherited = commands(store(uri))
    assert inherited["ui"].endswith("ui parent")
    printed = [*given.values(), *inherited.values(), *(command for command, _ in registered)]
    assert not [command for command in printed if "s3cr" in command or "/et@" in command]


DEFINITION = """
name: {name}
method: one-at-a-time
baseline: {{n_head: 2, n_layer: 1, n_embed: 16, dropout: 0.0, block_size: 32}}
levels: {{n_head: [1]}}
training: {{steps: {steps}, batch_size: 4, eval_interval: {steps}}}
"""


def typed(*arguments: str) -> str:
    result = CliRunner().invoke(program, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def sweep(folder: Path, uri: str, name: str, steps: int) -> list[str]:
    """Run a sweep in an experiment of its own name; the commands that it prints at its end."""
    (folder / f"{name}.yaml").write_text(DEFINITION.format(name=name, steps=steps))
    where = ["--experiment", name, "--tracking-uri", uri, "--data", str(folder / "text.txt")]
    output = typed("sweep", str(folder / f"{name}.yaml"), *where, "--device", "cpu", "--workers", "1")
    return [line.strip().split("   ")[0] for line in output[output.index("Next:") :].splitlines() if " -m " in line]


def shown_by(command: str, folder: Path) -> str:
    """The address that a shell's `ui` prints once its pages can be opened."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        f"exec {command} --no-open --port {port}",
        shell=True,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 0
    return address


@pytest.mark.slow
def test_each_printed_command_is_about_the_sweep_that_printed_it(
    tmp_path: Path, text: str, store_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(text)
    mine = sweep(tmp_path, store_uri, "mine", steps=2)
    sweep(tmp_path, store_uri, "gpt-experiments", steps=40)  # better, later, and in the default experiment
    done, more = {}, {"register": ("--confirm", "0")}
    for command in mine:
        words = shlex.split(command)
        assert words[1:3] == ["-m", "gpt_experiments"]
        done[words[3]] = shown_by(command, tmp_path) if words[3] == "ui" else typed(*words[3:], *more.get(words[3], ()))
    assert set(done) == {"ui", "report", "generate", "attention", "register"}
    experiment = Store(store_uri, "mine").experiment
    assert f"/#/experiments/{experiment.experiment_id}/runs?" in done["ui"]
    view = done["ui"].partition("viewStateShareKey=")[2]
    assert '"name":"mine: Leaderboard"' in experiment.tags[f"mlflow.sharedViewState.{view}"]
    assert (tmp_path / "report-mine").is_dir()
    assert "sweep mine: the best of 2 variants" in done["register"]
    run_id = re.search("run ([0-9a-f]{32})", done["register"])
    assert run_id is not None
    runs = Store(store_uri, "mine").search("attributes.status = 'FINISHED'")
    assert run_id[1] in {run.info.run_id for run in runs}
    assert run_id[1] in shlex.split(next(command for command in mine if " generate " in command))


@pytest.mark.parametrize(
    ("report", "status"),
    [
        (ended([finished(planned(1), 1.9), finished(planned(2), 1.9, outcome="reused")]), 0),
        (ended([finished(planned(1), 1.9), failed(planned(2))]), 1),
        (ended([finished(planned(1), 1.9)], total=2, timed_out=True), 1),
        (ended([finished(planned(1), 1.9)], total=2), 1),
        (ended([]), 0),
        (ended([finished(planned(1), 1.9), interrupted(planned(2))], interrupted=True), 130),
    ],
)
def test_only_a_sweep_with_every_result_ends_with_status_0(report: SweepSummary, status: int) -> None:
    assert exit_status(report) == status


def test_what_goes_on_does_not_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gpt-experiments", "sweep", "quick", "--force", "--timeout", "60", "--take-over"])
    again, _ = next_commands(REPORT, store=store(), tracking_uri=None)[0]
    assert again.endswith("sweep quick --timeout 60")
