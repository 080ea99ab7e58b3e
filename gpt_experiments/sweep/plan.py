"""Which trials a sweep consists of, in which order, and which of them have a finished run already."""

from __future__ import annotations

import dataclasses
import random
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from gpt_experiments.config import Trial, Variant, identity, identity_fields
from gpt_experiments.corpus import Corpus
from gpt_experiments.records import EarlyStop, FinishedTrial, PlannedTrial, StoppedTrial
from gpt_experiments.sweep.cost import rough_cost
from gpt_experiments.sweep.definition import SweepDefinition
from gpt_experiments.sweep.grouping import form_groups
from gpt_experiments.sweep.history import read_history, trials_of
from gpt_experiments.sweep.judge import Judge, ValLosses
from gpt_experiments.sweep.methods import History, Method, make_method, make_pruning
from gpt_experiments.sweep.stages import Wanted, make_stages
from gpt_experiments.tracking import FinishedTrials
from gpt_experiments.training.events import Evaluation, TrainingSummary

_SHUFFLED_BY: Final = 1.5  # a group may come before one that takes so many times as long

LookUp = Callable[[Collection[str]], None]
"""Makes the finished runs of cells known."""


def sweep_key(definition: SweepDefinition, corpus: Corpus) -> str:
    """The sweep's identity: 16 hexadecimal digits.

    Levels, seeds and the number of trials are not part of it, so that a sweep that is extended goes on in its run. Of
    nuisance parameters their names are, but not the values to try.
    """
    return identity(
        {
            "name": definition.name,
            "method": definition.method,
            "baseline": identity_fields(definition.baseline),
            "training": identity_fields(definition.training),
            "budget": definition.budget,
            **({"own_seeds": True} if definition.own_seeds else {}),
            "corpus": corpus.digest,
            **({"nuisance": sorted(definition.nuisance)} if definition.nuisance else {}),
        }
    )


def make_schedule(
    definition: SweepDefinition,
    corpus: Corpus,
    finished: Mapping[str, FinishedTrial],
    earlier_plan: Any,
    *,
    stopped: Mapping[str, StoppedTrial] | None = None,
    val_losses: ValLosses = lambda run_id: {},
    look_up: LookUp = lambda cells: None,
) -> Schedule:
    """The sweep's trials, as far as they are known before the first one is trained.

    Args:
        finished: finished runs by cell, newest first.
        earlier_plan: the rows of the plan that the sweep has left, as JSON; None where there is none.
        stopped: runs that the sweep's pruner has stopped, by cell.
        val_losses: reads the validation losses of a run, by step.
        look_up: is called with cells before they are looked for in `finished`.
    """
    history = read_history(definition, corpus, finished, earlier_plan)
    pruning = make_pruning(definition)
    judge = Judge(pruning, val_losses) if pruning is not None else None
    method = make_method(definition, history)
    return Schedule(definition, corpus, finished, method, history, stopped or {}, judge, look_up)


class Schedule:
    """Hands out a sweep's trials in groups that train as one, and lets the method know how each variant did.

    A method that is not adaptive is asked for everything at once: finished trials come first, then the groups that
    take longest, so that no long one runs alone at the end. An adaptive method is asked for one variant at a time, and
    a group holds seeds of one variant. Where the definition asks for several stages, the next one begins when every
    trial of the last one has ended.

    Args:
        finished: finished runs by cell.
        history: what the method knows already, and does not suggest again.
        stopped: runs that need not be trained again because the sweep's pruner has stopped them, by cell.
        judge: stops trials early; None lets all go on.
        look_up: is called with cells before they are looked for in `finished`.
    """

    def __init__(
        self,
        definition: SweepDefinition,
        corpus: Corpus,
        finished: Mapping[str, FinishedTrial],
        method: Method,
        history: History | None = None,
        stopped: Mapping[str, StoppedTrial] | None = None,
        judge: Judge | None = None,
        look_up: LookUp = lambda cells: None,
    ) -> None:
        self._definition, self._corpus, self._finished, self._method = definition, corpus, finished, method
        self._stopped, self._judge, self._look_up = stopped or {}, judge, look_up
        self._stages = make_stages(definition)
        self._tuned_with = frozenset(definition.tuned_with)
        self._losses: dict[tuple[Variant, int], float | None] = {}  # of the trials that ended, after their last step
        self._values: dict[Variant, list[float | None]] = {}  # of variants under way, one for each seed that ended
        self._queue: list[PlannedTrial] = []  # trials that are in no group yet
        self._groups: deque[tuple[PlannedTrial, ...]] = deque()
        self._limit: Callable[[Trial], int] = lambda trial: 1
        self._workers = 1
        self._going_on: Mapping[str, str] = {}
        self._weight: Callable[[], float] = lambda: 1.0
        self.planned: list[PlannedTrial] = []
        self._is_exhausted = False  # whether neither the method nor the stages have anything further
        if history is not None:
            for variant in history.variants:
                if variant not in history.values:
                    self._values[variant] = []
                self._plan(self._stages.begin(variant))
        self._at_most = len(self.planned) + method.planned * self._stages.most
        if not method.is_adaptive:
            self._plan(list(self._all_that_is_suggested()))  # at once, so that the store is asked once
            self._is_exhausted = not self._stages.are_several
            self._pass_stages_that_are_done()

    def form_groups(
        self,
        limit: Callable[[Trial], int],
        workers: int,
        going_on: Mapping[str, str] | None = None,
        *,
        shuffled: bool = False,
    ) -> None:
        """Let trials train together: at most `limit` of one shape, and so that each of the workers has something to do.

        Call it before the first group is taken; otherwise each trial trains alone.

        Args:
            going_on: by cell the trials that go on, as `sweep.grouping.form_groups` has them.
            shuffled: let groups that take about the same time come in an order of chance, so that processes that work
                at one sweep together seldom begin with the same.
        """
        self._limit, self._workers, self._going_on = limit, workers, going_on or {}
        self._weight = (lambda: random.uniform(1, _SHUFFLED_BY)) if shuffled else (lambda: 1.0)
        self._groups = deque(self._grouped())

    @property
    def total(self) -> int:
        """Trials in all; where they depend on results, the most that there may be."""
        return len(self.planned) if self._is_exhausted else self._at_most

    @property
    def groups(self) -> Sequence[tuple[PlannedTrial, ...]]:
        """The waiting groups that are known so far; a finished trial is a group of its own."""
        return tuple(self._groups)

    @property
    def largest_group(self) -> int:
        """The most trials that will train as one."""
        if self._method.is_adaptive:
            baseline = Trial(shape=self._definition.baseline, training=self._definition.training)
            return min(len(self._definition.seeds), self._limit(baseline))
        return max((len(group) for group in self._groups), default=1)

    def next_group(self) -> tuple[PlannedTrial, ...] | None:
        """Trials that train as one, or one that needs no training; none while a stage must end; None after the last."""
        if not self._groups and self._method.is_adaptive:
            self._ask()
        self._groups.extend(self._grouped())
        if self._groups:
            return self._groups.popleft()
        if self._is_exhausted or not self._stages.are_several:
            self._is_exhausted = True
            return None
        if len(self._losses) < len(self.planned):
            return ()
        self._begin_stage()
        return self.next_group()

    def _grouped(self) -> list[tuple[PlannedTrial, ...]]:
        """Groups of the queued trials: finished ones first, then those that take longest."""
        queued, self._queue = self._queue, []
        waiting = {planned.trial: planned for planned in queued if planned.needs_training}
        workers = 1 if self._method.is_adaptive else self._workers  # the other workers try other variants meanwhile
        going_on = {trial: self._going_on[p.cell] for trial, p in waiting.items() if p.cell in self._going_on}
        groups = form_groups(list(waiting), self._limit, workers=workers, going_on=going_on)
        size = self._corpus.vocab_size
        groups.sort(key=lambda group: -self._weight() * sum(rough_cost(trial, size) for trial in group))
        return [
            *((planned,) for planned in queued if not planned.needs_training),
            *(tuple(waiting[trial] for trial in group) for group in groups),
        ]

    def evaluated(self, planned: PlannedTrial, evaluation: Evaluation) -> EarlyStop | None:
        """Why the trial should end after these losses; None lets it go on."""
        return None if self._judge is None else self._judge.evaluated(planned, evaluation)

    def ended(self, planned: PlannedTrial, summary: TrainingSummary | None) -> None:
        """Note a trial's losses, None if it has none; for the method, a variant's value is its mean best loss."""
        variant = planned.variant
        if self._judge is not None:
            self._judge.ended(planned, summary)
        self._losses[variant, planned.trial.seed] = None if summary is None else summary.final_val_loss
        values = self._values.get(variant)
        if values is None:  # the method knew it before
            return
        values.append(None if summary is None else summary.best_val_loss)
        if len(values) == len(self._definition.seeds):
            known = [value for value in values if value is not None]
            course = None if self._judge is None else self._judge.course_of_stopped(variant)
            if course is None:
                self._method.update(variant, sum(known) / len(known) if len(known) == len(values) else None)
            else:
                self._method.learn_stopped(variant, course)
            del self._values[variant]

    def _ask(self) -> None:
        """Plan one more variant, if the method has one."""
        variant = self._method.suggest()
        if variant is not None:
            self._plan(self._begun(variant))

    def _all_that_is_suggested(self) -> Iterator[Wanted]:
        while (variant := self._method.suggest()) is not None:
            yield from self._begun(variant)

    def _begun(self, variant: Variant) -> list[Wanted]:
        self._values[variant] = []
        return self._stages.begin(variant)

    def _pass_stages_that_are_done(self) -> None:
        """Plan also what follows from trials that are finished already, so that the plan is as exact as can be."""
        while not self._is_exhausted and all(planned.done is not None for planned in self.planned):
            for planned in self.planned:
                assert planned.done is not None
                self._losses[planned.variant, planned.trial.seed] = planned.done.summary.final_val_loss
            self._begin_stage()

    def _begin_stage(self) -> None:
        """Queue what follows from the losses of all trials so far."""
        wanted = self._stages.go_on(self._losses)
        self._is_exhausted = not wanted or not self._stages.are_several
        self._plan(wanted)

    def _plan(self, wanted: Iterable[Wanted]) -> None:
        """Queue one trial for each seed of each variant."""
        trials = [
            (trial, variant)
            for variant, seeds in wanted
            for trial in trials_of(self._definition, self._corpus, variant, seeds)
        ]
        self._look_up([trial.cell(self._corpus.digest) for trial, _ in trials])
        for trial, variant in trials:
            label = variant.label(self._definition.baseline_variant)
            planned = plan_trial(trial, variant, label, self._corpus, self._finished, self._stopped)
            planned = dataclasses.replace(planned, is_tuning=trial.seed in self._tuned_with)
            self.planned.append(planned)
            self._queue.append(planned)


def plan_trial(
    trial: Trial,
    variant: Variant,
    label: str,
    corpus: Corpus,
    finished: Mapping[str, FinishedTrial],
    stopped: Mapping[str, StoppedTrial] | None = None,
) -> PlannedTrial:
    """The trial with its cell, its size, and the finished run of that cell, else the stopped one, if there is one."""
    cell = trial.cell(corpus.digest)
    n_params = trial.model_config(corpus.vocab_size).n_params
    done = finished.get(cell)
    before = (stopped or {}).get(cell) if done is None else None
    return PlannedTrial(
        trial=trial, variant=variant, label=label, cell=cell, n_params=n_params, done=done, stopped=before
    )


def lost_notice(planned: Iterable[PlannedTrial], finished: FinishedTrials) -> list[str]:
    """A notice on planned trials whose finished runs have lost their checkpoints; at most one line."""
    lost = sum(p.cell in finished.lost for p in planned)
    if not lost:
        return []
    what = "checkpoint of 1 finished trial is" if lost == 1 else f"checkpoints of {lost} finished trials are"
    return [
        f"the {what} gone from {finished.location}, so training is needed again; if the files were only "
        "moved, put them back there first"
    ]
