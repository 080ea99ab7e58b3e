"""What a coordinator takes its trials from, and until when it may take them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from gpt_experiments.records import EarlyStop, PlannedTrial
from gpt_experiments.training import Evaluation, TrainingSummary


class TrialSource(Protocol):
    """Gives out trials, in groups that train as one model, and takes their values."""

    @property
    def total(self) -> int:
        """Trials in all; for an adaptive method, the most that it may suggest."""
        ...

    def next_group(self) -> Sequence[PlannedTrial] | None:
        """The next group; an empty one if what follows depends on trials under way; None if there is none, ever."""
        ...

    def evaluated(self, planned: PlannedTrial, evaluation: Evaluation) -> EarlyStop | None:
        """Note losses during training; returns why the trial should end now, None if it should not."""
        ...

    def ended(self, planned: PlannedTrial, summary: TrainingSummary | None) -> None:
        """Take a trial's losses; None where it has none, because it failed or was stopped."""
        ...


def deadline(seconds: float | None) -> Callable[[], bool]:
    """Whether the time that starts now is not yet over; without a limit it never is."""
    if seconds is None:
        return lambda: True
    end = time.monotonic() + seconds
    return lambda: time.monotonic() < end
