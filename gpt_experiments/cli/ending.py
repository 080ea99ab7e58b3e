"""How a command ends: the exit status of one that trained, and what to type next."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gpt_experiments import names
from gpt_experiments.errors import without_secrets

if TYPE_CHECKING:
    from gpt_experiments.app.sweep import LeftReport
    from gpt_experiments.records import SweepSummary
    from gpt_experiments.tracking import Store

INTERRUPTED: Final = 130  # the status that a shell reports after Ctrl-C
_HAS_PAGES: Final = re.compile(r"(?:sqlite|postgresql|mysql|mssql|https?)\b")  # a store that `ui` can show


def exit_status(summary: SweepSummary, report: LeftReport | None = None) -> int:
    """Return 130 if interrupted, 1 if a trial failed or was not started or the report is not whole, 0 if all is done.

    Args:
        report: None where none was tried.
    """
    if summary.interrupted:
        return INTERRUPTED
    return 0 if summary.is_complete and (report is None or report.is_whole) else 1


def next_commands(summary: SweepSummary, *, store: Store, tracking_uri: str | None) -> list[tuple[str, str]]:
    """Commands that fit what has just happened, each with what it does.

    Args:
        tracking_uri: the address that the user gave, which the commands then need too; None where there is none.
    """
    from gpt_experiments.cli.tables import best_first  # not earlier: help needs no tables

    program = f"{_python()} -m gpt_experiments"
    where = _tracking_option(tracking_uri)
    experiment = store.experiment.name
    there = where + (f" --experiment {shlex.quote(experiment)}" if experiment != names.DEFAULT_EXPERIMENT else "")
    commands = []
    if not summary.is_complete:
        # --force would train finished trials again, and the sweep is taken over already.
        commands.append(same_command("--force", "--take-over"))
    if _HAS_PAGES.match(store.uri):
        of_sweep = f" {summary.parent_run_id}" if summary.parent_run_id is not None else ""
        commands.append((f"{program} ui{of_sweep}{there}", "compare the trials in MLflow's pages"))
    scored = best_first(summary.trials)
    if summary.parent_run_id is not None and scored:
        commands.append((f"{program} report {summary.parent_run_id}{there}", "what differed, and how sure we are"))
    if scored:
        best = scored[0][0].run_id
        commands.append((f"{program} generate {best}{where}", "text from the best model"))
        commands.append((f"{program} attention {best}{where}", "where its heads look"))
    if summary.parent_run_id is not None and len(scored) > 1:
        command = f"{program} register {summary.parent_run_id}{there}"
        commands.append((command, "put the best one into the model registry"))
    return commands


def same_command(*without: str) -> tuple[str, str]:
    """The command that was typed, and that it goes on; `without` are flags that must not be repeated."""
    again = [argument for argument in sys.argv[1:] if argument not in without]
    typed = shlex.join(map(without_secrets, again))
    return f"{_python()} -m gpt_experiments {typed}", "go on: train only what is missing"


def command_fields(commands: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    """Commands to type next, as a JSON object has them."""
    return [{"command": command, "purpose": purpose} for command, purpose in commands]


def model_commands(model: str, prompt: str, *, tracking_uri: str | None) -> list[tuple[str, str]]:
    """Commands for a registered model, given as its `models:/` URI, each with what it does."""
    python, quoted = _python(), shlex.quote(model)
    where = _tracking_option(tracking_uri)
    # `mlflow models serve` takes the store from the environment alone, and starts uvicorn by its name.
    store = f"MLFLOW_TRACKING_URI={shlex.quote(without_secrets(tracking_uri))} " if tracking_uri else ""
    folder = Path(sys.executable).parent
    beside = shutil.which("uvicorn") == str(folder / "uvicorn")
    path = "" if beside else f'PATH={shlex.quote(str(folder))}:"$PATH" '
    serve = f"{store}{path}{python} -m mlflow models serve -m {quoted} --env-manager local -p 5001"
    request = json.dumps({"inputs": [prompt], "params": {"max_new_tokens": 200}})
    post = f"curl -s 127.0.0.1:5001/invocations -H 'Content-Type: application/json' -d {shlex.quote(request)}"
    return [
        (f"{python} -m gpt_experiments generate {quoted} --prompt {shlex.quote(prompt)}{where}", "text from it"),
        (serve, "serve it"),
        (post, "ask the server, from another terminal"),
    ]


def _tracking_option(tracking_uri: str | None) -> str:
    """The option with which the program finds the store again; empty if the environment names the store."""
    return f" --tracking-uri {shlex.quote(without_secrets(tracking_uri))}" if tracking_uri else ""


def _python() -> str:
    """The command for this Python: `python` if the shell finds this one, else its path, relative if it is below."""
    found = shutil.which("python")
    if found is not None and Path(found).absolute() == Path(sys.executable):
        return "python"
    here = Path.cwd()
    running = Path(sys.executable)
    return shlex.quote(str(running.relative_to(here) if running.is_relative_to(here) else running))
