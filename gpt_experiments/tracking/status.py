"""Reads from the store who trains a sweep at this moment, and how far it is."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from mlflow.entities import Run

from gpt_experiments import names
from gpt_experiments.records import Outcome, trial_name
from gpt_experiments.tracking import provenance
from gpt_experiments.tracking.finished import FinishedCells
from gpt_experiments.tracking.leases import Life, life_of, processes_of, silence
from gpt_experiments.tracking.mlflow_internals import MLFLOW_PARENT_RUN_ID
from gpt_experiments.tracking.plan_rows import PlanRow
from gpt_experiments.tracking.run_files import LeftOut
from gpt_experiments.tracking.store import Store
from gpt_experiments.tracking.sweep_record import SweepRecord, find_sweep


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A process that trains a sweep, or says so.

    Attributes:
        process: its id and host, as `process 17 on host`.
        silent: seconds since its last heartbeat; None where it left none, as earlier versions did.
        life: `alive`, `dead`, or `unknown`, as of a process of another host that left no heartbeat.
    """

    process: str
    silent: float | None
    life: str


@dataclass(frozen=True, kw_only=True)
class TrialInTraining:
    """A trial of the sweep that trains now, whichever sweep it trains for.

    Attributes:
        since: when its run began, seconds since 1970.
    """

    name: str
    cell: str
    run_id: str
    since: float
    worker: Worker


@dataclass(frozen=True, kw_only=True)
class SweepStatus:
    """What the store says of a sweep now.

    Attributes:
        state: of its run: `running`, `finished`, `failed` or `killed`; `dead` where it is marked as running and every
            process that trained it has died.
        planned: trials that are planned so far; a method that learns from results, or stages, may plan more.
        done: those that have a result; stopped, failed: those that a pruner has stopped, or whose newest run failed.
        workers: the processes that train it.
        trials: what trains now, the longest first.
    """

    name: str
    run_id: str
    state: str
    planned: int
    done: int
    stopped: int
    failed: int
    workers: tuple[Worker, ...]
    trials: tuple[TrialInTraining, ...]

    @property
    def left(self) -> int:
        """Trials that have no result yet and do not train now."""
        alive = sum(trial.worker.life != Life.DEAD.value for trial in self.trials)
        return max(0, self.planned - self.done - self.stopped - self.failed - alive)


def read_status(store: Store, reference: str) -> SweepStatus:
    """The status of the sweep of that name or run id; nothing is written.

    Raises:
        TrackingError: there is no such sweep, or the store fails.
    """
    parent = find_sweep(store, reference)
    record = SweepRecord(store, parent, LeftOut())
    rows = {row.cell: row for row in record.rows()}
    finished = FinishedCells(store)
    finished.ask(rows)
    children = store.search(f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent.info.run_id}'")
    newest: dict[str, Run] = {}
    for run in children:
        newest.setdefault(run.data.tags.get(names.CELL, ""), run)
    ended = Counter(
        Outcome.FAILED if run.info.status == "FAILED" else Outcome.STOPPED
        for cell, run in newest.items()
        if cell in rows
        and cell not in finished.by_cell
        and (run.info.status == "FAILED" or names.STOPPED in run.data.tags)
    )
    running = [run for run in store.search("attributes.status = 'RUNNING'") if run.data.tags.get(names.CELL) in rows]
    return SweepStatus(
        name=record.name,
        run_id=parent.info.run_id,
        state=_state(parent),
        planned=len(rows),
        done=sum(cell in finished.by_cell for cell in rows),
        stopped=ended[Outcome.STOPPED],
        failed=ended[Outcome.FAILED],
        workers=tuple(_workers(parent)) if parent.info.status == "RUNNING" else (),
        trials=tuple(_in_training(run, rows[run.data.tags[names.CELL]]) for run in reversed(running)),
    )


def _state(parent: Run) -> str:
    if parent.info.status == "RUNNING" and life_of(parent.data.tags) is Life.DEAD:
        return Life.DEAD.value
    return str(parent.info.status).lower()


def _workers(parent: Run) -> list[Worker]:
    tags = parent.data.tags
    joined = processes_of(tags) or {tags.get(names.OWNER, ""): tags.get(names.HEARTBEAT, "")}
    return [_worker(owner, heartbeat) for owner, heartbeat in sorted(joined.items())]


def _worker(owner: str, heartbeat: str) -> Worker:
    life = life_of({names.OWNER: owner, names.HEARTBEAT: heartbeat})
    return Worker(process=provenance.described(owner), silent=silence(heartbeat), life=life.value)


def _in_training(run: Run, row: PlanRow) -> TrialInTraining:
    tags = run.data.tags
    return TrialInTraining(
        name=trial_name(row.label, row.seed),
        cell=row.cell,
        run_id=run.info.run_id,
        since=(run.info.start_time or time.time() * 1000) / 1000,
        worker=_worker(tags.get(names.OWNER, ""), tags.get(names.HEARTBEAT, "")),
    )
