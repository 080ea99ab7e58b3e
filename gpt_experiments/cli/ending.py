"""How a command that trained ends: its exit status, and what to type next."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpt_experiments.sweep.listener import SweepReport

INTERRUPTED = 130  # what a shell reports of a program that Ctrl-C ended


def exit_status(report: SweepReport) -> int:
    """0 all done, 1 a trial failed, 130 interrupted."""
    if report.interrupted:
        return INTERRUPTED
    return 1 if report.failed else 0


def next_commands(report: SweepReport, *, tracking_uri: str | None) -> list[tuple[str, str]]:
    """Commands that fit what has just happened, each with what it does."""
    python = _python()
    program = f"{python} -m gpt_experiments"
    where = f" --tracking-uri {shlex.quote(tracking_uri)}" if tracking_uri else ""
    store = f" --backend-store-uri {shlex.quote(tracking_uri)}" if tracking_uri else ""
    commands = []
    if report.interrupted or report.timed_out or report.failed:
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
    return commands


def _python() -> str:
    """What to type for this Python: `python` where that is the one, else its path, seen from here if it lies below."""
    found = shutil.which("python")
    if found is not None and Path(found).absolute() == Path(sys.executable):
        return "python"
    here = Path.cwd()
    running = Path(sys.executable)
    return shlex.quote(str(running.relative_to(here) if running.is_relative_to(here) else running))
