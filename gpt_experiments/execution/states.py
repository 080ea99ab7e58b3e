"""Saves the states of trials while they train, and sorts jobs by the states from which they go on."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import torch

from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import CheckpointError
from gpt_experiments.execution.protocol import Job, Notice
from gpt_experiments.kernels import are_switched_on, switch_kernels
from gpt_experiments.training import Evaluation, Progress, Save, TrialState, require_usable


@dataclass(frozen=True, kw_only=True)
class SavingRules:
    """When states are saved: at evaluations, and where those are rare every few minutes, unless that costs too much.

    Attributes:
        most_share: of the time since the last states were saved, the most that saving may take.
        seconds_to_keep: what it costs to keep one in the store, which is not measured here.
        seconds_between: after so many, states are saved without an evaluation.
    """

    most_share: float = 0.01
    seconds_to_keep: float = 0.05
    seconds_between: float = 300.0


RULES: Final = SavingRules()


class StateSaver:
    """Asks training for the states of trials that train together, all of them after the same steps.

    Args:
        trials: how many they are.
        clock: seconds.
    """

    def __init__(self, trials: int, rules: SavingRules = RULES, clock: Callable[[], float] = time.monotonic) -> None:
        self._rules, self._clock = rules, clock
        self._to_keep = trials * rules.seconds_to_keep
        self._took = 0.0  # to save them all the last time
        self._since = self._asked_at = clock()
        self._round: tuple[type, int] | None = None  # the kind and the step of the event that was decided on
        self._is_due = False

    def request(self, index: int, job: Job, event: Progress | Evaluation) -> Save | None:
        """The answer to an event of the trial of that index: whether its state is wanted now."""
        if not 0 < event.step < job.trial.training.steps:
            return None
        if self._round != (type(event), event.step):
            self._round, self._is_due = (type(event), event.step), self._decide(event)
        if not self._is_due:
            return None
        self._asked_at = self._clock()
        return Save(index=index)

    def sent(self) -> None:
        """Note that the state that was asked for last is on its way."""
        now = self._clock()
        self._took += now - self._asked_at
        self._since = now

    def _decide(self, event: Progress | Evaluation) -> bool:
        elapsed = self._clock() - self._since
        affordable = self._took + self._to_keep <= self._rules.most_share * elapsed
        is_due = affordable and (isinstance(event, Evaluation) or elapsed >= self._rules.seconds_between)
        if is_due:
            self._took = 0.0
        return is_due


@dataclass(frozen=True)
class Part:
    """Jobs that train as one model, and the state from which each goes on; no states if all begin at step 0."""

    jobs: tuple[Job, ...]
    states: tuple[TrialState, ...] = ()

    def halves(self) -> tuple[Part, Part]:
        """Two parts of a part without states."""
        middle = (len(self.jobs) + 1) // 2
        return Part(self.jobs[:middle]), Part(self.jobs[middle:])


def parts_of(jobs: Sequence[Job], corpus: Corpus, device: torch.device) -> tuple[list[Part], list[tuple[Job, Notice]]]:
    """The jobs that begin, then those that go on, in parts that train together; a notice for each state of no use."""
    by_group: dict[str, list[tuple[Job, TrialState]]] = {}
    new: list[Job] = []
    notices: list[tuple[Job, Notice]] = []
    for job in jobs:
        if job.state is None:
            new.append(job)
            continue
        without_bytes = dataclasses.replace(job, state=None)
        try:
            state = TrialState.from_bytes(job.state)
            require_usable(state, job.trial, corpus.vocab_size, device)
        except CheckpointError as error:
            notices.append((job, Notice(text=f"{job.label} (seed {job.trial.seed}): {error}")))
            new.append(without_bytes)
        else:
            by_group.setdefault(state.together, []).append((without_bytes, state))
    parts = [Part(*zip(*together, strict=True)) for together in by_group.values()]
    return ([Part(tuple(new))] if new else []) + parts, notices


@contextmanager
def as_before(states: Sequence[TrialState]) -> Iterator[None]:
    """Inside, this process has the threads and the kernels with which the states were made: others round otherwise."""
    if not states:
        yield
        return
    threads, kernels = torch.get_num_threads(), are_switched_on()
    torch.set_num_threads(states[0].threads)
    switch_kernels(on=states[0].kernels)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        switch_kernels(on=kernels)
