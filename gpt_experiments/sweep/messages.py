"""What the parent and its workers say to each other: jobs one way, what becomes of them the other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gpt_experiments.config import Trial
from gpt_experiments.training.events import Evaluation, Progress, TrainingSummary


@dataclass(frozen=True, kw_only=True)
class Job:
    """A trial to train; its files are written below `folder`, and every message about it carries `key`."""

    key: int
    trial: Trial
    label: str
    folder: Path


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The trial's training is over; its files are still to be written. The loss is nats per character."""

    best_val_loss: float


@dataclass(frozen=True, kw_only=True)
class JobDone:
    """The trial is trained, its files lie in the job's folder, and its attention heads are scored."""

    summary: TrainingSummary
    scores_by_head: dict[str, list[float]]


@dataclass(frozen=True, kw_only=True)
class JobFailed:
    """The trial failed: the reason in one line, and a traceback where the fault is not the user's to understand."""

    reason: str
    traceback: str


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something that the user should know, and that ends nothing."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Free:
    """The worker is ready for its next group; files of the last one may still be under way."""


Message = Progress | Evaluation | Trained | JobDone | JobFailed | Notice
