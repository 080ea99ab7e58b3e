"""What a sweep consists of, read back from its parent run: every planned cell, and the finished run that answers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlflow.entities import Run

from gpt_experiments.config import HYPERPARAMETERS, ModelConfig, Variant
from gpt_experiments.errors import ConfigError, TrackingError
from gpt_experiments.tracking import names
from gpt_experiments.tracking.recorder import RunRecorder
from gpt_experiments.tracking.store import FinishedTrial, Store
from gpt_experiments.tracking.sweep_reader import find_sweep


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
    """A sweep as its store knows it; `running` while a process still trains its trials."""

    name: str
    run_id: str
    running: bool
    cells: tuple[SweepCell, ...]


def read_sweep_trials(store: Store, reference: str | None = None) -> SweepTrials:
    """The cells of the sweep of that name or parent run id; without either, of the one last worked on.

    Raises:
        TrackingError: there is no such sweep, or its plan cannot be read.
    """
    parent = find_sweep(store, reference)
    failed = store.search(f"tags.`{names.KIND}` = 'trial' and attributes.status = 'FAILED'")
    failures = {run.info.run_id: run.data.tags.get(names.FAILURE, "") for run in failed}
    rows = RunRecorder(store.client, parent.info.run_id, store.uri).download_json(names.PLAN_FILE)
    return _read_plan(parent, rows, store.finished_trials().by_cell, failures)


def _read_plan(
    parent: Run, rows: Any, finished: Mapping[str, FinishedTrial], failures: Mapping[str, str]
) -> SweepTrials:
    """The sweep's cells in the plan's order.

    Args:
        rows: the plan as JSON, None where the parent run has none.
        finished: finished runs by cell, whichever sweep trained them.
        failures: why a failed run failed, by run id.

    Raises:
        TrackingError: the parent run has no plan, or one that this program did not write.
    """
    name = parent.data.tags.get(names.SWEEP, parent.info.run_id)
    try:
        vocab_size = int(parent.data.params["vocab_size"])
        cells = tuple(_read_cell(row, vocab_size, finished, failures) for row in rows)
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise TrackingError(
            f"{names.PLAN_FILE} of sweep {name!r} (run {parent.info.run_id}) is missing or damaged "
            f"({type(error).__name__}: {error}); run the sweep again, which writes it and trains only what is missing"
        ) from error
    return SweepTrials(name=name, run_id=parent.info.run_id, running=parent.info.status == "RUNNING", cells=cells)


def _read_cell(
    row: Mapping[str, Any], vocab_size: int, finished: Mapping[str, FinishedTrial], failures: Mapping[str, str]
) -> SweepCell:
    variant = Variant(**{name: row[name] for name in HYPERPARAMETERS})
    trial = finished.get(row["cell"])
    return SweepCell(
        label=row["label"],
        seed=row["seed"],
        n_params=ModelConfig(variant=variant, vocab_size=vocab_size).n_params,
        trial=trial,
        problem=None if trial else _problem(row, failures),
    )


def _problem(row: Mapping[str, Any], failures: Mapping[str, str]) -> str:
    if row["outcome"] == "failed":
        reason = failures.get(row["run_id"], "").splitlines()
        return f"failed ({reason[0]})" if reason else "failed"
    if row["outcome"] in ("finished", "reused"):
        return "has lost its run"
    return "was interrupted" if row["outcome"] == "interrupted" else "is not trained yet"
