"""Finds the trials that other processes have finished or are training, since this one last looked."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from gpt_experiments import names
from gpt_experiments.records import FinishedTrial
from gpt_experiments.tracking import provenance
from gpt_experiments.tracking.host_lock import host_lock
from gpt_experiments.tracking.store import Store

_MILLISECONDS_OF_DOUBT: Final = 60_000  # between clocks, and between a run's end as it is dated and as it is written


@dataclass(frozen=True, kw_only=True)
class Others:
    """What other processes do with the trials of a store.

    Attributes:
        finished: by cell the runs that they have finished since the first look.
        training: by cell the process, described, that trains it; only of processes of this host that live.
    """

    finished: Mapping[str, FinishedTrial]
    training: Mapping[str, str]


class Claims:
    """Keeps two processes of one host from training the same cell.

    A process claims a cell by opening a run for it. Between its look at what the others do and its own opening of runs
    no other process may look, so both happen within `looking`. What was finished before the claims were made is not
    seen: they are made before the store is asked for it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._looked_at = time.time()
        self._finished: dict[str, FinishedTrial] = {}

    @contextmanager
    def looking(self) -> Iterator[Others]:
        """What the others do; leave the block when the runs of the trials that train here are open."""
        with host_lock(self._store.uri):
            yield self._look()

    def _look(self) -> Others:
        trials = f"tags.`{names.KIND}` = 'trial' and tags.`{names.OWNER}` != '{provenance.this_process()}'"
        running = self._store.search(f"{trials} and attributes.status = 'RUNNING'")
        since = int(self._looked_at * 1000) - _MILLISECONDS_OF_DOUBT
        # Read after the running ones, so that a run that ends in between is seen.
        self._looked_at = time.time()
        ended = self._store.search(f"{trials} and attributes.status = 'FINISHED' and attributes.end_time > {since}")
        training = {
            run.data.tags.get(names.CELL, ""): provenance.described(run.data.tags[names.OWNER])
            for run in running
            if provenance.is_alive_here(run.data.tags[names.OWNER])
        }
        self._finished.update(self._store.finished_among(ended).by_cell)
        return Others(finished=self._finished, training=training)
