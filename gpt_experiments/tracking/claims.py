"""Finds what other processes do with the cells that a sweep needs, and which of those that train here are its own."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from mlflow.entities import Run

from gpt_experiments import names
from gpt_experiments.errors import RunDeletedError
from gpt_experiments.records import FinishedTrial
from gpt_experiments.tracking import provenance
from gpt_experiments.tracking.agreement import Answer, answer, asker_of, withdraw
from gpt_experiments.tracking.failures import as_tracking_errors
from gpt_experiments.tracking.leases import Life, life_of
from gpt_experiments.tracking.mlflow_internals import MLFLOW_PARENT_RUN_ID
from gpt_experiments.tracking.schema import shelf_of
from gpt_experiments.tracking.store import Store

_MILLISECONDS_OF_DOUBT: Final = 60_000  # between clocks, and between a run's end as it is dated and as it is written
_LOOKS_FOR_A_TICKET: Final = 5
_SECONDS_BETWEEN_LOOKS: Final = 0.1
_FEW_CELLS: Final = 3  # are asked for one by one; of more, everything that runs in the store is looked at


@dataclass(frozen=True, kw_only=True)
class Others:
    """What other processes do with the trials of a store.

    Attributes:
        finished: by cell the runs that they have finished since the first look.
        training: by cell the process, described, that trains it, or asks for it, and lives.
        failed: by cell the runs of this sweep, of other processes, that have failed since the first look, each with
            the reason.
    """

    finished: Mapping[str, FinishedTrial]
    training: Mapping[str, str]
    failed: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def ended(self) -> frozenset[str]:
        """The cells that are finished or have failed."""
        return frozenset({*self.finished, *self.failed})


class Claims:
    """What other processes do, and which of the cells that this one trains are its own.

    What was finished before the claims were made is not seen: they are made before the store is asked for it.

    Args:
        parent_run_id: the sweep's run, where several processes train it: a trial of it that fails in one of them is
            not trained again in the others.
    """

    def __init__(self, store: Store, parent_run_id: str | None = None) -> None:
        self._store, self._parent = store, parent_run_id
        self._began = int(time.time() * 1000)
        self._looked_at = time.time()
        self._finished: dict[str, FinishedTrial] = {}
        self._failed: dict[str, tuple[str, str]] = {}
        self._me = provenance.this_process()

    def look(self, cells: Iterable[str]) -> Others:
        """What the others do with these cells."""
        return self._others(self._runs_of(cells))

    def answers(self, mine: Mapping[str, str]) -> tuple[dict[str, Answer], Others]:
        """What follows for runs of this process that ask, by cell; a cell that another has finished is withdrawn from.

        Args:
            mine: their ids by cell.
        """
        runs = self._runs_of(mine)
        others, answers = self._others(runs), {}
        for cell, run_id in mine.items():
            mine_is = next((run for run in runs[cell] if run.info.run_id == run_id), None)
            if cell in others.finished or cell in others.failed:
                answers[cell] = Answer.WITHDRAW
            elif mine_is is None or mine_is.info.status != "RUNNING":
                answers[cell] = Answer.WITHDRAW  # its process was thought dead, or a person has deleted it
            else:
                answers[cell] = answer(asker_of(mine_is), [asker_of(run) for run in self._living(runs[cell])])
        return answers, others

    def tickets(self, cells: Collection[str]) -> dict[str, str]:
        """Ask for cells whose run is to be reopened, with a run of their own; returns those that hold, by cell.

        While a run holds a cell, no other process opens one. It is given back when the other run is open.
        """
        asking = {
            cell: self._store.start_run(
                kind="trial", run_name="asks", params={}, tags={names.CELL: cell, names.CLAIM: names.ASKED}
            ).run_id
            for cell in cells
        }
        holding = {}
        for _ in range(_LOOKS_FOR_A_TICKET):
            for cell, answered in self.answers(asking)[0].items() if asking else ():
                if answered is Answer.HOLD:
                    holding[cell] = asking.pop(cell)
                    self.hold(holding[cell])
            if asking:
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        self.give_back(asking)  # others have them, or ask for them and are slow; they are looked at again later
        return holding

    def give_back(self, tickets: Mapping[str, str]) -> None:
        """Delete the runs that have asked for cells."""
        for run_id in tickets.values():
            self.withdraw(run_id)

    @property
    def lost(self) -> frozenset[str]:
        """The runs of this process that others have taken because it was silent for too long."""
        heartbeats = self._store.heartbeats
        if heartbeats.are_overdue:  # as after a machine was suspended: before anything else is written
            heartbeats.renew()
        return heartbeats.lost

    def forget(self, run_id: str) -> None:
        """Renew the heartbeat of a run no more, which is not this process's any longer."""
        self._store.heartbeats.remove(run_id)

    def hold(self, run_id: str) -> None:
        """Say in the run that it holds its cell."""
        with as_tracking_errors(self._store.uri):
            self._store.client.set_tag(run_id, names.CLAIM, names.HOLDS)

    def withdraw(self, run_id: str) -> None:
        """Delete a run that has asked in vain, if nobody else has."""
        self._store.heartbeats.remove(run_id)
        with suppress(RunDeletedError), as_tracking_errors(self._store.uri):
            withdraw(self._store.client, run_id)

    def _runs_of(self, cells: Iterable[str]) -> dict[str, list[Run]]:
        """The runs of these cells, newest first, as far as they matter: those that run, and those that ended lately."""
        found: dict[str, list[Run]] = {cell: [] for cell in cells}
        if len(found) <= _FEW_CELLS:
            for cell in found:
                found[cell] = self._store.search(f"tags.`{shelf_of(cell)}` = '{cell}'")
            return found
        since = int(self._looked_at * 1000) - _MILLISECONDS_OF_DOUBT
        now = time.time()
        running = self._store.search("attributes.status = 'RUNNING'")
        # Read after the running ones, so that a run that ends in between is seen.
        ended = self._store.search(f"attributes.end_time > {since}")
        self._looked_at = now
        known = {run.info.run_id for run in ended}
        for run in [*ended, *(run for run in running if run.info.run_id not in known)]:
            cell = run.data.tags.get(names.CELL, "")
            if cell in found:
                found[cell].append(run)
        return found

    def _others(self, runs: Mapping[str, Sequence[Run]]) -> Others:
        theirs = [run for of_cell in runs.values() for run in of_cell if run.data.tags.get(names.OWNER) != self._me]
        finished = [run for run in theirs if run.info.status == "FINISHED"]
        self._finished.update(self._store.finished_among(finished).by_cell)
        for run in theirs:
            is_ours = self._parent is not None and run.data.tags.get(MLFLOW_PARENT_RUN_ID) == self._parent
            if run.info.status == "FAILED" and is_ours and (run.info.end_time or 0) > self._began:
                self._failed[run.data.tags[names.CELL]] = run.info.run_id, run.data.tags.get(names.FAILURE, "")
        training = {
            cell: provenance.described(living[0].data.tags.get(names.OWNER, ""))
            for cell, of_cell in runs.items()
            if (living := self._living(of_cell))
        }
        return Others(finished=self._finished, training=training, failed=self._failed)

    def _living(self, runs: Iterable[Run]) -> list[Run]:
        """Those that run in other processes that live; those of dead ones are closed."""
        living = []
        for run in runs:
            if run.info.status != "RUNNING" or run.data.tags.get(names.OWNER) == self._me:
                continue
            if life_of(run.data.tags) is Life.ALIVE:
                living.append(run)
            else:
                self._store.close_if_dead(run)
        return living
