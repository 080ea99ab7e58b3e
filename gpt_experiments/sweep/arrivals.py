"""What workers have sent of trials that takes long to log, and waits until nothing more urgent is to be done."""

from __future__ import annotations

from collections import deque

from gpt_experiments.execution.protocol import JobDone, Picture, Saved
from gpt_experiments.sweep.trial_run import TrialRun

Arrival = Picture | Saved | JobDone


class Arrivals:
    """A queue; of the states of a trial it holds the newest alone."""

    def __init__(self) -> None:
        self._queue: deque[tuple[TrialRun, Arrival]] = deque()

    def __bool__(self) -> bool:
        return bool(self._queue)

    def add(self, run: TrialRun, event: Arrival) -> None:
        """Put it last; a state takes the place of an older one."""
        if isinstance(event, Saved):
            self.drop_state_of(run)
        self._queue.append((run, event))

    def next(self) -> tuple[TrialRun, Arrival]:
        """Take the first one out. There must be one."""
        return self._queue.popleft()

    def take_all_of(self, run: TrialRun) -> list[Arrival]:
        """Take out what there is of one trial."""
        taken = [event for whose, event in self._queue if whose is run]
        self._queue = deque((whose, event) for whose, event in self._queue if whose is not run)
        return taken

    def drop_state_of(self, run: TrialRun) -> None:
        """Forget a state that is not needed any more."""
        rest = [(whose, event) for whose, event in self._queue if whose is not run or not isinstance(event, Saved)]
        self._queue = deque(rest)
