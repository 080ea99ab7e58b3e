"""Sweeps that never ran: the events that a display receives, without any training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpt_experiments.config import Trial
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.records import Outcome, PlannedTrial, SweepStart, SweepSummary, TrialRecord
from gpt_experiments.training import Evaluation, Progress, TrainingSummary

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


def planned(number: int, label: str = "", *, seed: int = 1337, n_params: int = 215_873) -> PlannedTrial:
    trial = Trial(shape=Shape(), seed=seed, training=TrainingSetup(steps=STEPS))
    return PlannedTrial(
        trial=trial, variant=trial.variant, label=label or f"n_layer={number}", cell=f"{number:016x}", n_params=n_params
    )


def progress(step: int, batch_loss: float = 2.5, tokens_per_second: float = 17_345.6) -> Progress:
    return Progress(step=step, batch_loss=batch_loss, tokens_per_second=tokens_per_second)


def evaluation(step: int, train_loss: float = 2.25, val_loss: float = 2.375) -> Evaluation:
    return Evaluation(step=step, train_loss=train_loss, val_loss=val_loss)


def finished(of: PlannedTrial, best_val_loss: float, *, outcome: str = "finished") -> TrialRecord:
    return TrialRecord(
        planned=of,
        outcome=Outcome(outcome),
        run_id=f"run{int(of.cell, 16)}",
        summary=TrainingSummary(
            final_train_loss=best_val_loss - 0.1,
            final_val_loss=best_val_loss + 0.01,
            best_val_loss=best_val_loss,
            n_params=of.n_params,
            train_seconds=231.4,
            eval_seconds=12.5,
            tokens_per_second=17_345.6,
        ),
    )


def failed(of: PlannedTrial, reason: str = REASON) -> TrialRecord:
    return TrialRecord(planned=of, outcome=Outcome.FAILED, run_id=f"run{int(of.cell, 16)}", reason=reason)


def interrupted(of: PlannedTrial) -> TrialRecord:
    return TrialRecord(planned=of, outcome=Outcome.INTERRUPTED, run_id=f"run{int(of.cell, 16)}")


def ended(
    trials: Sequence[TrialRecord], seconds: float = 754, *, total: int | None = None, **how: bool
) -> SweepSummary:
    """A sweep that had `total` trials; None takes those that are given."""
    return SweepSummary(
        name="one-at-a-time",
        parent_run_id="parent",
        trials=tuple(trials),
        total=len(trials) if total is None else total,
        seconds=seconds,
        **how,
    )
