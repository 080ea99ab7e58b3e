"""Marks in the runs of finished trials which sweeps reuse them, so that the views of those sweeps show them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gpt_experiments import names
from gpt_experiments.errors import StoreAwayError, TrackingError
from gpt_experiments.records import FinishedTrial
from gpt_experiments.tracking.failures import as_tracking_errors
from gpt_experiments.tracking.store import Store

_MOST_SWEEPS: Final = 100  # run ids in a tag, which holds 5,000 characters in every store


class Membership:
    """The marks of one sweep; a first failure ends the marking, because a trial is reused without it, too.

    Args:
        parent_run_id: the sweep's run; None marks nothing.
        notice: gets a sentence if a run cannot be marked.
    """

    def __init__(self, store: Store, parent_run_id: str | None, notice: Callable[[str], None]) -> None:
        self._store, self._parent, self._notice = store, parent_run_id, notice
        self._waiting: list[FinishedTrial] = []

    def add(self, trial: FinishedTrial) -> None:
        """Mark the trial's run as a part of the sweep, unless it is marked already; while the store is away, later."""
        self._waiting.append(trial)
        self.catch_up()

    def catch_up(self) -> None:
        """Mark what waits, as far as the store takes it."""
        while self._waiting:
            try:
                self._mark(self._waiting[0])
            except StoreAwayError:
                return
            del self._waiting[0]

    def _mark(self, trial: FinishedTrial) -> None:
        if self._parent is None or self._parent in trial.sweeps:
            return
        before = trial.sweeps or ((trial.parent_run_id,) if trial.parent_run_id else ())
        sweeps = [*dict.fromkeys([*before, self._parent])]
        try:
            with as_tracking_errors(self._store.uri):
                self._store.client.set_tag(trial.run_id, names.SWEEPS, " ".join(sweeps[-_MOST_SWEEPS:]))
        except StoreAwayError:
            raise
        except TrackingError as error:
            self._parent = None
            self._notice(f"MLflow's pages will not show reused trials with this sweep: {error}")
