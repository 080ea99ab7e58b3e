"""A given list of trials to train, as opposed to what a sweep's method chooses."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gpt_experiments.config import Budget, Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.records import FinishedTrial, PlannedTrial
from gpt_experiments.sweep.cost import rough_cost
from gpt_experiments.sweep.grouping import form_groups
from gpt_experiments.sweep.plan import plan_trial
from gpt_experiments.training import Evaluation, TrainingSummary


@dataclass(frozen=True, kw_only=True)
class TrialList:
    """Trials that are trained as runs of their own, without a sweep.

    Attributes:
        name: what a display calls them.
        trials: each with its variant's label; no two of the same cell.
        tags: what each of their runs is marked with beside the usual.
        steps, budget: how long they train, as a display says it: steps of the baseline.
    """

    name: str
    trials: Sequence[tuple[Trial, str]]
    steps: int
    budget: Budget = "steps"
    tags: Mapping[str, str] = field(default_factory=dict)

    def planned(self, corpus: Corpus, finished: Mapping[str, FinishedTrial]) -> list[PlannedTrial]:
        """The trials, each with the finished run of its cell if there is one.

        Args:
            finished: finished runs by cell.
        """
        return [plan_trial(trial, trial.variant, label, corpus, finished) for trial, label in self.trials]


class ListSource:
    """Hands out planned trials: those that are done, then groups that train as one, the longest first."""

    def __init__(self, planned: Sequence[PlannedTrial]) -> None:
        self.total = len(planned)
        self._planned = planned
        self._groups: deque[tuple[PlannedTrial, ...]] = deque((one,) for one in planned)

    @property
    def largest_group(self) -> int:
        """The most trials that will train as one."""
        return max((len(group) for group in self._groups), default=1)

    def form_groups(
        self,
        limit: Callable[[Trial], int],
        workers: int,
        vocab_size: int,
        going_on: Mapping[str, str] | None = None,
    ) -> None:
        """Let trials train together, as `sweep.grouping.form_groups` has it; call it before the first is taken.

        Args:
            going_on: by cell the trials that go on.
        """
        waiting = {planned.trial: planned for planned in self._planned if planned.done is None}
        left = {trial: going_on[p.cell] for trial, p in waiting.items() if going_on and p.cell in going_on}
        groups = form_groups(list(waiting), limit, workers=workers, going_on=left)
        groups.sort(key=lambda group: -sum(rough_cost(trial, vocab_size) for trial in group))
        done = ((planned,) for planned in self._planned if planned.done is not None)
        self._groups = deque([*done, *(tuple(waiting[trial] for trial in group) for group in groups)])

    def next_group(self) -> tuple[PlannedTrial, ...] | None:
        return self._groups.popleft() if self._groups else None

    def evaluated(self, planned: PlannedTrial, evaluation: Evaluation) -> None:
        """Nothing ends it early."""

    def ended(self, planned: PlannedTrial, summary: TrainingSummary | None) -> None:
        """The losses are not needed."""
