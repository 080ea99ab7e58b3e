"""Sweeps that never ran: the events that a display is told, without any training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpt_experiments.config import TrainingSetup, Trial, Variant
from gpt_experiments.sweep.listener import SweepReport, SweepStart, TrialReport, TrialTicket
from gpt_experiments.training import Evaluation, Progress

STEPS = 1000
REASON = "diverged: the loss is nan at step 12; a loss must stay finite; lower learning_rate (now 0.3)"


def start(total: int, to_train: int | None = None, **changes: Any) -> SweepStart:
    values: dict[str, Any] = {
        "name": "one-at-a-time",
        "total": total,
        "to_train": total if to_train is None else to_train,
        "workers": 2,
        "threads": 1,
        "writers": 0,
        "replicas": 1,
        "device": "cpu",
        "hardware": "Some Processor (2 cores)",
        "corpus": "tiny-shakespeare",
        "steps": STEPS,
        "tracking_uri": "sqlite:////home/somebody/mlflow.db",
        "experiment": "gpt-experiments",
    }
    return SweepStart(**values | changes)


def ticket(number: int, label: str = "", *, seed: int = 1337, n_params: int = 215_873) -> TrialTicket:
    trial = Trial(variant=Variant(), seed=seed, training=TrainingSetup(steps=STEPS))
    return TrialTicket(
        number=number, trial=trial, label=label or f"n_layer={number}", cell=f"{number:016x}", n_params=n_params
    )


def progress(step: int, batch_loss: float = 2.5, tokens_per_second: float = 17_345.6) -> Progress:
    return Progress(step=step, batch_loss=batch_loss, tokens_per_second=tokens_per_second)


def evaluation(step: int, train_loss: float = 2.25, val_loss: float = 2.375) -> Evaluation:
    return Evaluation(step=step, train_loss=train_loss, val_loss=val_loss)


def finished(of: TrialTicket, best_val_loss: float, *, outcome: Any = "finished") -> TrialReport:
    return TrialReport(
        ticket=of,
        outcome=outcome,
        run_id=f"run{of.number}",
        final_train_loss=best_val_loss - 0.1,
        final_val_loss=best_val_loss + 0.01,
        best_val_loss=best_val_loss,
        train_seconds=231.4,
        tokens_per_second=17_345.6,
    )


def failed(of: TrialTicket, reason: str = REASON) -> TrialReport:
    return TrialReport(ticket=of, outcome="failed", run_id=f"run{of.number}", reason=reason)


def interrupted(of: TrialTicket) -> TrialReport:
    return TrialReport(ticket=of, outcome="interrupted", run_id=f"run{of.number}")


def ended(trials: Sequence[TrialReport], seconds: float = 754, *, total: int | None = None, **how: bool) -> SweepReport:
    """A sweep that had `total` trials; None takes those that are given."""
    return SweepReport(
        name="one-at-a-time",
        parent_run_id="parent",
        trials=tuple(trials),
        total=len(trials) if total is None else total,
        seconds=seconds,
        **how,
    )
