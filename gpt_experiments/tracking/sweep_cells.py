"""What a sweep consists of, read back from its parent run: every planned cell, and the finished run that answers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gpt_experiments.config import ModelConfig
from gpt_experiments.errors import MissingError
from gpt_experiments.tracking import names
from gpt_experiments.tracking.model_run import get_run
from gpt_experiments.tracking.run_files import LeftOut
from gpt_experiments.tracking.store import FinishedTrial, Store
from gpt_experiments.tracking.sweep_record import PlannedRow, SweepRecord, find_sweep
from gpt_experiments.tracking.trial_values import problem_of


@dataclass(frozen=True, kw_only=True)
class SweepCell:
    """One planned trial of a sweep.

    Attributes:
        label: its variant's, which is the same for every seed.
        trial: the newest finished run of the cell; None where there is none.
        problem: why there is none, in a few words; None where there is one.
    """

    label: str
    seed: int
    n_params: int
    trial: FinishedTrial | None
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class SweepTrials:
    """A sweep as its store knows it.

    Attributes:
        running: while a process still trains its trials.
        left_out: what of the sweep's record cannot be read, a sentence each.
    """

    name: str
    run_id: str
    running: bool
    cells: tuple[SweepCell, ...]
    left_out: tuple[str, ...] = ()


def read_sweep_trials(store: Store, reference: str | None = None) -> SweepTrials:
    """The cells of the sweep of that name or parent run id; without either, of the one last worked on.

    Raises:
        TrackingError: there is no such sweep, or nothing says which trials it planned.
    """
    parent = find_sweep(store, reference)
    left_out = LeftOut()
    record = SweepRecord(store, parent, left_out)
    rows, vocab_size = record.rows(), record.vocab_size()
    finished = store.finished_trials(with_checkpoint=False).by_cell  # without one a trial still counts for its variant
    failed = store.search(f"tags.`{names.KIND}` = 'trial' and attributes.status = 'FAILED'")
    failures = {run.info.run_id: run.data.tags.get(names.FAILURE, "") for run in failed}
    cells = tuple(
        SweepCell(
            label=row.label,
            seed=row.seed,
            n_params=ModelConfig(variant=row.variant, vocab_size=vocab_size).n_params,
            trial=finished.get(row.cell),
            problem=None if row.cell in finished else _problem(store, row, failures),
        )
        for row in rows
    )
    running = parent.info.status == "RUNNING"
    return SweepTrials(
        name=record.name, run_id=parent.info.run_id, running=running, cells=cells, left_out=left_out.sentences()
    )


def _problem(store: Store, row: PlannedRow, failures: Mapping[str, str]) -> str:
    if row.outcome == "failed":
        reason = failures.get(row.run_id or "", "").splitlines()
        return f"failed ({reason[0]})" if reason else "failed"
    if row.outcome in ("finished", "reused"):
        return _lost(store, row.run_id or "")
    return "was interrupted" if row.outcome == "interrupted" else "is not trained yet"


def _lost(store: Store, run_id: str) -> str:
    """Why a run that had finished is no result any more."""
    try:
        run = get_run(store, run_id)
    except MissingError:
        return "has lost its run"
    if run.info.lifecycle_stage != "active":
        return f"has lost its run {run_id}, which is deleted"
    if run.info.status != "FINISHED":
        return f"has lost its run {run_id}, which is {run.info.status}"
    return f"has a run that {problem_of(run) or 'belongs to another cell'}"
