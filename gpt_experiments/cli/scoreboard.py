"""What is known of a sweep while it runs: what has ended, how far each trial is, and how long it may still take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len

if TYPE_CHECKING:
    from gpt_experiments.records import PlannedTrial, SweepStart, TrialRecord
    from gpt_experiments.training.events import Evaluation, Progress


@dataclass(kw_only=True)
class RunningTrial:
    """A trial under way; times are on the scoreboard's clock.

    Attributes:
        heard_at: when its latest event came; None before the first.
        paced_from: when its first progress came, and at which step. The steps before are slow, so its pace leaves
            them out.
        batch_loss, train_loss, val_loss: the latest, nats per character; None until known.
    """

    planned: PlannedTrial
    started_at: float
    step: int = 0
    heard_at: float | None = None
    paced_from: tuple[float, int] | None = None
    batch_loss: float | None = None
    tokens_per_second: float | None = None
    train_loss: float | None = None
    val_loss: float | None = None
    evaluated_step: int | None = None

    @property
    def steps(self) -> int:
        return self.planned.trial.training.steps

    @property
    def phase(self) -> str:
        """`starting` before its first event, `saving` after its last evaluation, `training` in between."""
        if self.heard_at is None:
            return "starting"
        return "saving" if self.evaluated_step == self.steps else "training"

    def seconds_left(self, now: float) -> float | None:
        """An estimate from the trial's own pace, evaluations included; None while it has none."""
        if self.heard_at is None or self.paced_from is None or self.step == self.paced_from[1]:
            return None
        since, from_step = self.paced_from
        seconds_per_step = (self.heard_at - since) / (self.step - from_step)
        return max(0.0, seconds_per_step * (self.steps - self.step) - (now - self.heard_at))


class Scoreboard:
    """Keeps the score of one sweep.

    Args:
        clock: returns seconds; only differences count.

    Attributes:
        running: trials under way, by cell, in the order of starting.
        seeds: of the trials seen so far.
        label_width: cells of the longest label that has started, or of the longest that names one hyperparameter.
    """

    def __init__(self, start: SweepStart, clock: Callable[[], float]) -> None:
        self.start, self._clock = start, clock
        self.running: dict[str, RunningTrial] = {}
        self.outcomes: Counter[str] = Counter()
        self.seeds: set[int] = set()
        self.label_width = len("block_size=256")
        self._started_at = clock()
        self._durations: list[float] = []  # seconds that the trials trained here took
        self._at_once = start.workers  # trials that train at the same time; those of a group share a worker

    @property
    def now(self) -> float:
        return self._clock()

    @property
    def ended(self) -> int:
        """Trials that have ended in any way, reused ones included."""
        return self.outcomes.total()

    @property
    def total(self) -> int:
        return self.start.total

    @property
    def part_done(self) -> float:
        """From 0 to 1: the trials that have ended, and the parts of the running ones that are done."""
        under_way = sum(trial.step / trial.steps for trial in self.running.values())
        return (self.ended + under_way) / max(1, self.total)

    @property
    def seconds(self) -> float:
        """Since the sweep began."""
        return self.now - self._started_at

    def trial_started(self, planned: PlannedTrial) -> None:
        self.seeds.add(planned.trial.seed)
        self.label_width = max(self.label_width, cell_len(planned.label))
        self.running[planned.cell] = RunningTrial(planned=planned, started_at=self.now)
        training = sum(trial.phase != "saving" for trial in self.running.values())
        self._at_once = max(self.start.workers, training)

    def trial_progress(self, planned: PlannedTrial, progress: Progress) -> None:
        trial = self._hear(planned, progress.step)
        trial.batch_loss, trial.tokens_per_second = progress.batch_loss, progress.tokens_per_second
        if trial.paced_from is None:
            trial.paced_from = self.now, progress.step

    def trial_evaluated(self, planned: PlannedTrial, evaluation: Evaluation) -> None:
        trial = self._hear(planned, evaluation.step)
        trial.train_loss, trial.val_loss = evaluation.train_loss, evaluation.val_loss
        trial.evaluated_step = evaluation.step

    def trial_ended(self, record: TrialRecord) -> RunningTrial | None:
        """Note the end; returns how far the trial was, None for one that never ran."""
        self.outcomes[record.outcome] += 1
        self.seeds.add(record.planned.trial.seed)
        trial = self.running.pop(record.planned.cell, None)
        if trial is not None and record.outcome in ("finished", "stopped"):
            # Where writers save the files, the worker was free after the last event.
            free_at = trial.heard_at if self.start.writers and trial.heard_at is not None else self.now
            self._durations.append(free_at - trial.started_at)
        return trial

    def seconds_left(self) -> float | None:
        """A rough estimate: a waiting trial takes the mean time of the known ones; None when unknown."""
        now = self.now
        waiting = max(0, self.total - self.ended - len(self.running))
        known = [(trial, left) for trial in self.running.values() if (left := trial.seconds_left(now)) is not None]
        durations = [*self._durations, *(now - trial.started_at + left for trial, left in known)]
        if not durations or not waiting + len(self.running):
            return None
        longest = max((left for _, left in known), default=0.0)
        mean = sum(durations) / len(durations)
        unknown = waiting + len(self.running) - len(known)
        work = unknown * mean + sum(left for _, left in known)
        return max(longest, work / min(self._at_once, waiting + len(self.running)))

    def _hear(self, planned: PlannedTrial, step: int) -> RunningTrial:
        trial = self.running[planned.cell]
        trial.step, trial.heard_at = step, self.now
        return trial
