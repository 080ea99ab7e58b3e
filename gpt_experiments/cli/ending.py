"""How a command ends: the exit status of one that trained, and what to type next."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpt_experiments.sweep.listener import SweepReport

INTERRUPTED = 130  # what a shell reports of a program that Ctrl-C ended


def exit_status(report: SweepReport) -> int:
    """0 where every trial has a result, 130 interrupted, 1 where a trial failed or was not started."""
    if report.interrupted:
        return INTERRUPTED
    return 0 if report.is_complete else 1


def next_commands(report: SweepReport, *, tracking_uri: str | None) -> list[tuple[str, str]]:
    """Commands that fit what has just happened, each with what it does."""
    python = _python()
    program = f"{python} -m gpt_experiments"
    where = f" --tracking-uri {shlex.quote(tracking_uri)}" if tracking_uri else ""
    store = f" --backend-store-uri {shlex.quote(tracking_uri)}" if tracking_uri else ""
    commands = []
    if not report.is_complete:
        commands.append((f"{program} {shlex.join(sys.argv[1:])}", "go on: train only what is missing"))
    if not (tracking_uri or "").startswith("http"):
        commands.append((f"{python} -m mlflow ui{store}", "see every run in the browser"))
    if report.parent_run_id is not None and any(trial.best_val_loss is not None for trial in report.trials):
        commands.append((f"{program} report {report.parent_run_id}{where}", "what differed, and how sure we are"))
    scored = [trial for trial in report.trials if trial.best_val_loss is not None]
    if scored:
        best = min(scored, key=lambda trial: trial.best_val_loss or 0.0).run_id
        commands.append((f"{program} generate {best}{where}", "text from the best model"))
        commands.append((f"{program} attention {best}{where}", "where its heads look"))
    if len(scored) > 1:
        commands.append((f"{program} register{where}", "put the best one into the model registry"))
    return commands


def model_commands(model: str, prompt: str, *, tracking_uri: str | None) -> list[tuple[str, str]]:
    """Commands for a registered model, given as its `models:/` URI, each with what it does."""
    python, quoted = _python(), shlex.quote(model)
    where = f" --tracking-uri {shlex.quote(tracking_uri)}" if tracking_uri else ""
    # `mlflow models serve` takes the store from the environment alone, and starts uvicorn by its name.
    store = f"MLFLOW_TRACKING_URI={shlex.quote(tracking_uri)} " if tracking_uri else ""
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


def _python() -> str:
    """What to type for this Python: `python` where that is the one, else its path, seen from here if it lies below."""
    found = shutil.which("python")
    if found is not None and Path(found).absolute() == Path(sys.executable):
        return "python"
    here = Path.cwd()
    running = Path(sys.executable)
    return shlex.quote(str(running.relative_to(here) if running.is_relative_to(here) else running))
