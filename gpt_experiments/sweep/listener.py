"""What a sweep tells whoever watches it, and what it leaves in hand when it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from gpt_experiments.config import Budget, Trial
from gpt_experiments.training.events import Evaluation, Progress

Outcome = Literal["finished", "reused", "failed", "interrupted"]


@dataclass(frozen=True, kw_only=True)
class TrialTicket:
    """One trial of a sweep while it waits, runs and ends; `number` counts from 1 in the order of starting."""

    number: int
    trial: Trial
    label: str
    cell: str
    n_params: int


@dataclass(frozen=True, kw_only=True)
class TrialReport:
    """How one trial ended; losses are nats per character and None where the trial did not finish.

    Attributes:
        run_id: the MLflow run that holds the trial; of a reused trial, the run that was there before.
        reason: why the trial failed, in one line.
    """

    ticket: TrialTicket
    outcome: Outcome
    run_id: str
    final_train_loss: float | None = None
    final_val_loss: float | None = None
    best_val_loss: float | None = None
    train_seconds: float | None = None
    tokens_per_second: float | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class SweepStart:
    """What is known when a sweep begins.

    Attributes:
        total: trials in the whole sweep, reused ones included; an adaptive method may end up with fewer.
        to_train: trials that no finished run answers yet, as far as that is known in advance.
        writers: processes of each worker that write files while it trains.
        replicas: the most trials that train as one batched model.
        steps: of the baseline; under another budget than steps the other variants' differ.
    """

    name: str
    total: int
    to_train: int
    workers: int
    threads: int
    writers: int
    replicas: int
    device: str
    hardware: str
    corpus: str
    steps: int
    tracking_uri: str
    experiment: str
    budget: Budget = "steps"


@dataclass(frozen=True, kw_only=True)
class SweepReport:
    """A sweep that has ended.

    Attributes:
        parent_run_id: the run that holds the trials; None for a single trial.
        trials: how each trial that was started or reused ended.
        total: the trials that the sweep consists of; of a search that learns and was cut short: at most.
    """

    name: str
    parent_run_id: str | None
    trials: tuple[TrialReport, ...]
    total: int
    seconds: float
    interrupted: bool = False
    timed_out: bool = False

    @property
    def failed(self) -> tuple[TrialReport, ...]:
        return tuple(report for report in self.trials if report.outcome == "failed")

    @property
    def done(self) -> int:
        """How many trials have a result, trained now or before."""
        return sum(report.outcome in ("finished", "reused") for report in self.trials)

    @property
    def is_complete(self) -> bool:
        """Whether every trial has a result."""
        return self.done == self.total


class SweepListener(Protocol):
    """Told of everything as it happens, in the parent process, from one thread."""

    def sweep_started(self, start: SweepStart) -> None: ...
    def trial_started(self, ticket: TrialTicket) -> None: ...
    def trial_progress(self, ticket: TrialTicket, progress: Progress) -> None: ...
    def trial_evaluated(self, ticket: TrialTicket, evaluation: Evaluation) -> None: ...
    def trial_ended(self, report: TrialReport) -> None: ...
    def notice(self, text: str) -> None: ...
    def sweep_ended(self, report: SweepReport) -> None: ...
