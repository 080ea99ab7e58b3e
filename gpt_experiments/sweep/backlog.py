"""What a store that is away has still to take: when it is tried again, and which notices the user gets meanwhile."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from gpt_experiments.errors import StoreAwayError, TrackingError
from gpt_experiments.sweep.trial_run import RunContext, TrialRun

_BETWEEN_TRIES: Final = 3.0  # seconds
_FIRST_NOTICE: Final = 3.0  # seconds
_BETWEEN_NOTICES: Final = 60.0  # seconds
_LONGEST_WAIT: Final = 300.0  # seconds from when the store went away, once nothing is left to train
_WAIT_AFTER_STOP: Final = 10.0  # seconds, once the user has asked to stop


class Backlog:
    """The runs that a store has not taken all of: of trials that have ended, and of those that train.

    Args:
        training: gives the runs of the trials that train at present.
    """

    def __init__(self, context: RunContext, training: Callable[[], Iterable[TrialRun]]) -> None:
        self._context, self._training = context, training
        self.ended: list[TrialRun] = []
        self._away_since: float | None = None
        self._taken_at = self._try_at = self._notice_at = 0.0
        self._was_noticed = False

    @property
    def seconds_away(self) -> float:
        """For how long the store has taken nothing; 0 if it took what came last."""
        return 0.0 if self._away_since is None else time.monotonic() - self._away_since

    @property
    def is_too_long(self) -> bool:
        """Whether the store has taken nothing for longer than a sweep waits that has nothing else to do."""
        return min(self.seconds_away, time.monotonic() - self._taken_at) > _LONGEST_WAIT

    def catch_up(self) -> bool:
        """Write what is left of one trial, if there is one and it is time for a try; returns whether it is written.

        Raises:
            TrackingError: the store fails for another reason than that it is away.
        """
        run = next(self._behind(), None)
        if run is None or time.monotonic() < self._try_at:
            return False
        try:
            run.sync()
        except StoreAwayError as error:
            self.note_away(error)
            return False
        self._taken_at = time.monotonic()
        if run in self.ended:
            self.ended.remove(run)
        self.note_back()
        return True

    def note_away(self, error: StoreAwayError) -> None:
        """Note that the store has just refused something, for a while."""
        now = time.monotonic()
        self._try_at = now + _BETWEEN_TRIES
        if self._away_since is None:
            self._away_since, self._notice_at, self._was_noticed = now, now + _FIRST_NOTICE, False
        if now >= self._notice_at:
            self._was_noticed, self._notice_at = True, now + _BETWEEN_NOTICES
            trains = next(iter(self._training()), None) is not None
            how_long = "while training goes on" if trains else f"for up to {_LONGEST_WAIT / 60:.0f} minutes"
            self._context.listener.notice(f"waiting for the tracking store, {how_long}: {error.reason}")

    def note_back(self) -> None:
        """Note that the store has just taken something; it is back as soon as it has taken everything."""
        if self._away_since is not None and next(self._behind(), None) is None:
            if self._was_noticed:
                self._context.listener.notice(f"the tracking store answers again after {self.seconds_away:.0f} s")
            self._away_since = None

    def write_all(self) -> None:
        """Wait until everything is written, for as long as that may take when nothing else is left to do.

        Raises:
            StoreAwayError: the store is still away.
            TrackingError: it fails for another reason.
        """
        began = time.monotonic()
        while (run := next(self._behind(), None)) is not None:
            if self.catch_up():
                continue
            is_stopped = self._context.must_stop() and time.monotonic() - began > _WAIT_AFTER_STOP
            if is_stopped or self.is_too_long:
                run.sync()
            time.sleep(0.1)

    def with_what_is_kept(self, error: TrackingError) -> TrackingError:
        """The error that ends the sweep, with what becomes of the trials that have ended and are not written."""
        ended = [run for run in (*self.ended, *self._training()) if run.has_ended]
        for run in ended:
            with contextlib.suppress(OSError):
                run.keep()
        kept = sum(run.is_kept for run in ended)
        lost = [run.planned.name for run in ended if not run.is_kept]
        said = str(error)
        if kept:
            trials = "1 trial that has ended waits" if kept == 1 else f"{kept} trials that have ended wait"
            said += f"; {trials} in {self._context.unwritten.folder}, from where the same command writes what is there"
        if lost:
            said += f"; no place was left for {', '.join(lost)}, which must be trained again"
        return TrackingError(said)

    def _behind(self) -> Iterator[TrialRun]:
        yield from self.ended
        for run in self._training():
            if run.is_behind:
                yield run
