"""Records of trials and sweeps: one for a planned trial, one for a trial that has ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Protocol

from gpt_experiments.config import Budget, Trial, Variant
from gpt_experiments.training.events import Evaluation, Progress, TrainingSummary


class Outcome(StrEnum):
    """How a trial ended; the values are written into the store."""

    FINISHED = "finished"
    REUSED = "reused"  # a run that was finished before has its result
    STOPPED = "stopped"  # by the sweep's pruner, because of its losses; now or before
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, kw_only=True)
class EarlyStop:
    """Why a pruner has stopped a trial before its last step; losses in nats per character.

    Attributes:
        step, steps: of the evaluation after which it was stopped, and of its whole training.
        val_loss: what was compared.
        limit: the highest loss that would have let it go on.
        against: where the limit came from, as `the median of 4 trials`.
        trials: how many trials those were.
    """

    pruner: str
    step: int
    steps: int
    val_loss: float
    limit: float
    against: str
    trials: int

    @property
    def excess(self) -> float:
        """By how much the loss was too high."""
        return self.val_loss - self.limit

    def __str__(self) -> str:
        return (
            f"stopped at step {self.step:,} of {self.steps:,} by the {self.pruner} pruner: its validation loss "
            f"{self.val_loss:.4f} was {self.excess:.4f} above {self.against}"
        )


@dataclass(frozen=True, kw_only=True)
class StoppedTrial:
    """A run that a pruner has stopped."""

    run_id: str
    cell: str
    stop: EarlyStop


@dataclass(frozen=True, kw_only=True)
class FinishedTrial:
    """A finished run, which has the result of one cell.

    Attributes:
        parent_run_id: the run of the sweep that trained it; None of a trial on its own.
        sweeps: the runs of all sweeps that it is marked as a part of; an earlier version marked none.
    """

    run_id: str
    parent_run_id: str | None
    cell: str
    variant: Variant
    seed: int
    summary: TrainingSummary
    sweeps: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PlannedTrial:
    """A trial of a sweep.

    Attributes:
        variant: its variant; under another budget than steps the trial trains for more or fewer steps than that says.
        label: the variant's, as `n_head=8`; the same for every seed.
        cell: its identity; no other trial of the sweep has the same.
        done: the finished run that has its result already, if there is one.
        is_tuning: whether it only shows which nuisance parameters suit its variant, and is part of no comparison.
        stopped: if there is none, the run of it that the sweep's pruner has stopped before.
    """

    trial: Trial
    variant: Variant
    label: str
    cell: str
    n_params: int
    done: FinishedTrial | None = field(default=None, compare=False)
    is_tuning: bool = False
    stopped: StoppedTrial | None = field(default=None, compare=False)

    @property
    def needs_training(self) -> bool:
        return self.done is None and self.stopped is None

    @property
    def name(self) -> str:
        """`n_head=8 (seed 1337)`, which is also its run's name."""
        return trial_name(self.label, self.trial.seed)


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """How a planned trial ended.

    Attributes:
        run_id: the MLflow run that holds it; of a reused trial, the run that was there before.
        summary: its losses and times; None where it has no result.
        reason: why it failed or was stopped, in one line.
        stop: how it was stopped.
    """

    planned: PlannedTrial
    outcome: Outcome
    run_id: str
    summary: TrainingSummary | None = None
    reason: str | None = None
    stop: EarlyStop | None = None


@dataclass(frozen=True, kw_only=True)
class StoredTrial:
    """A planned trial of a sweep, read back from the store.

    Attributes:
        run_id: its newest run that is finished, else its newest run; empty where there is none.
        finished: that run, if it is finished and complete.
        has_failed: whether the newest run has failed.
        stop: how the sweep's pruner has stopped the newest run, if it has.
        reason: why there is no result, as far as that is known.
        is_tuning: see `PlannedTrial`.
    """

    label: str
    cell: str
    variant: Variant
    seed: int
    n_params: int
    run_id: str
    finished: FinishedTrial | None
    has_failed: bool = False
    stop: EarlyStop | None = None
    reason: str = ""
    is_tuning: bool = False

    @property
    def name(self) -> str:
        return trial_name(self.label, self.seed)


@dataclass(frozen=True, kw_only=True)
class SweepStart:
    """What is known when a sweep begins.

    Attributes:
        total: trials in the whole sweep, reused ones included; an adaptive method may end up with fewer.
        to_train: trials that have no result yet, as far as that is known in advance.
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
class SweepSummary:
    """A sweep that has ended.

    Attributes:
        parent_run_id: the run that holds the trials; None for a single trial.
        trials: how each trial that was started or reused ended.
        total: the trials that the sweep consists of; for an adaptive method that was cut short, the most.
        others: other processes that still work at the sweep.
    """

    name: str
    parent_run_id: str | None
    trials: tuple[TrialRecord, ...]
    total: int
    seconds: float
    interrupted: bool = False
    timed_out: bool = False
    others: int = 0

    @property
    def failed(self) -> tuple[TrialRecord, ...]:
        return tuple(record for record in self.trials if record.outcome == Outcome.FAILED)

    @property
    def done(self) -> int:
        """How many trials have a result, from now or from before, or were stopped on purpose."""
        return sum(record.outcome in (Outcome.FINISHED, Outcome.REUSED, Outcome.STOPPED) for record in self.trials)

    @property
    def counts(self) -> dict[Outcome, int]:
        """How many trials ended in each way."""
        return {outcome: sum(record.outcome == outcome for record in self.trials) for outcome in Outcome}

    @property
    def not_started(self) -> int:
        """How many trials have not ended in any way, because the sweep was cut short."""
        return self.total - len(self.trials)

    @property
    def is_complete(self) -> bool:
        """Whether no trial is missing."""
        return self.done == self.total


Facts = Mapping[str, str | None]
"""What a run says, as names and texts; None for what it does not say."""


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """All that a trial's result depends on, as its run says it.

    Attributes:
        parameters: those that a user sets, and the seed.
        code: commit, and digest of what the code differed in from it.
        versions: of Python and of packages.
        hardware: device, hardware, CPU threads, kernels, and how many replicas trained as one model.
        corpus: name, digest, and number of distinct characters.
    """

    parameters: Facts
    code: Facts
    versions: Facts
    hardware: Facts
    corpus: Facts

    def groups(self) -> dict[str, Facts]:
        """The facts by what they are about."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


class SweepListener(Protocol):
    """Is called with everything as it happens, in the parent process, from one thread."""

    def sweep_started(self, start: SweepStart) -> None: ...
    def trial_started(self, planned: PlannedTrial) -> None: ...
    def trial_progress(self, planned: PlannedTrial, progress: Progress) -> None: ...
    def trial_evaluated(self, planned: PlannedTrial, evaluation: Evaluation) -> None: ...
    def trial_ended(self, record: TrialRecord) -> None: ...
    def notice(self, text: str) -> None: ...
    def sweep_ended(self, summary: SweepSummary) -> None: ...


def trial_name(label: str, seed: int) -> str:
    """`n_head=8 (seed 1337)`."""
    return f"{label} (seed {seed})"
