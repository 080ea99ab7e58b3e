"""`sweep --status`: who trains a sweep now, and how far it is."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from gpt_experiments.cli.json_output import Answer, Fields

if TYPE_CHECKING:
    from gpt_experiments.tracking.status import SweepStatus, Worker


def sweep_status(name: str, tracking_uri: str | None, experiment: str) -> Answer:
    """What the store says of the sweep of that name; nothing is trained or written."""
    from gpt_experiments.errors import TrackingError, without_secrets
    from gpt_experiments.tracking import Store
    from gpt_experiments.tracking.status import read_status

    store = Store.if_present(tracking_uri, experiment)
    if store is None:
        raise TrackingError(
            f"there is no experiment {experiment!r} in that store, so nobody has begun sweep {name!r}; correct "
            "--tracking-uri or --experiment, or begin it without --status"
        )
    status, now = read_status(store, name), time.time()
    where = {"experiment": experiment, "tracking_uri": without_secrets(store.uri)}
    return Answer(fields=status_fields(status, now) | where, show=lambda: _show(status, now))


def status_fields(status: SweepStatus, now: float) -> Fields:
    """The status as a JSON object has it.

    Args:
        now: seconds since 1970.
    """
    return {
        "name": status.name,
        "run_id": status.run_id,
        "state": status.state,
        "planned": status.planned,
        "done": status.done,
        "stopped": status.stopped,
        "failed": status.failed,
        "in_training": len(status.trials),
        "left": status.left,
        "workers": [dataclasses.asdict(worker) for worker in status.workers],
        "trials": [
            {
                "name": trial.name,
                "cell": trial.cell,
                "run_id": trial.run_id,
                "seconds": max(0.0, now - trial.since),
                **dataclasses.asdict(trial.worker),
            }
            for trial in status.trials
        ],
    }


def _show(status: SweepStatus, now: float) -> None:
    from gpt_experiments.cli.console import standard_console
    from gpt_experiments.cli.messages import counted
    from gpt_experiments.cli.tables import format_seconds, literal

    console = standard_console()
    console.print(literal(f"{status.name}: {status.state} (run {status.run_id})", "bold"))
    others = (("stopped", status.stopped), ("failed", status.failed), ("in training", len(status.trials)))
    counts = [f"{status.done} done", *(f"{count} {word}" for word, count in others if count), f"{status.left} left"]
    console.print(literal(f"{counted(status.planned, 'trial')} planned: {', '.join(counts)}"))
    for title, rows in (
        ("Processes:", [(worker.process, "", _heard(worker)) for worker in status.workers]),
        (
            "In training:",
            [
                (trial.name, f"for {format_seconds(max(0.0, now - trial.since))}", f"{_by(trial.worker)}")
                for trial in status.trials
            ],
        ),
    ):
        if rows:
            console.print(literal(title))
        widths = [max((len(row[column]) for row in rows), default=0) for column in range(2)]
        for name, since, who in rows:
            cells = [f"{name:{widths[0]}}", f"{since:{widths[1]}}", who]
            console.print(literal("  " + "  ".join(cell for cell in cells if cell.strip())), soft_wrap=True)


def _by(worker: Worker) -> str:
    return f"by {worker.process}, {_heard(worker)}"


def _heard(worker: Worker) -> str:
    from gpt_experiments.cli.tables import format_seconds

    if worker.silent is None:
        return f"{worker.life}, without a heartbeat"
    return f"{worker.life}, heartbeat {format_seconds(worker.silent)} ago"
