"""Remembers of each job on a cluster what another worker needs to go on with it, and how often it was tried."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from gpt_experiments.execution.protocol import (
    Event,
    JobFailed,
    JobStopped,
    Picture,
    Saved,
    StopJob,
    Trained,
    Usage,
)
from gpt_experiments.training import Evaluation, Progress

MOST_TRIES_AGAIN: Final = 3
"""How often a job is given to another worker."""


class JobMemory:
    """What its workers have said of each job that has not ended, so that another worker can go on with it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder  # states take too much memory, where there are many workers
        self._steps: dict[str, dict[type[Event], int]] = {}
        self._tries: dict[str, int] = {}
        self._stops: dict[str, StopJob] = {}

    def is_new(self, key: str, event: Event) -> bool:
        """Whether the event is the first of its kind about that step; a state is kept."""
        steps = self._steps.setdefault(key, {})
        if isinstance(event, Progress):
            steps[Progress] = event.step
        elif isinstance(event, Evaluation | Picture | Usage | Saved | Trained):
            step = 0 if isinstance(event, Trained) else event.step
            if step <= steps.get(type(event), -1):
                return False
            steps[type(event)] = step
        if isinstance(event, Saved):
            (self._folder / key).write_bytes(event.state)
        return True

    def note_stop(self, request: StopJob) -> None:
        self._stops[request.key] = request

    def state(self, key: str) -> bytes | None:
        """The latest state of the job; None where it has sent none."""
        path = self._folder / key
        return path.read_bytes() if path.is_file() else None

    def ending(self, key: str, why: str) -> JobStopped | JobFailed | None:
        """How a job ends whose worker was lost; None if it is tried again."""
        steps, request = self._steps.get(key, {}), self._stops.get(key)
        if request is not None and request.keep and (state := self.state(key)) is not None:
            return JobStopped(step=steps[Saved], state=state)
        if request is not None:
            return JobStopped(step=steps.get(Progress, 0))
        if self._tries[key] <= MOST_TRIES_AGAIN:
            return None
        return JobFailed(reason=f"{self._tries[key]} workers were lost that trained it; the last: {why}", traceback="")

    def count_tries(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._tries[key] = self._tries.get(key, 0) + 1

    def forget(self, key: str) -> None:
        """Drop what is known of a job that has ended."""
        for known in (self._steps, self._tries, self._stops):
            known.pop(key, None)
        (self._folder / key).unlink(missing_ok=True)
