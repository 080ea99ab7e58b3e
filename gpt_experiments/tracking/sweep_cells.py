"""What a sweep consists of, read back from its parent run: every planned cell, and the finished run that answers it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlflow.entities import Run

from gpt_experiments.config import HYPERPARAMETERS, ModelConfig, Variant
from gpt_experiments.errors import ConfigError, TrackingError
from gpt_experiments.tracking import names

if TYPE_CHECKING:
    from gpt_experiments.tracking.store import FinishedTrial


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


def pick_sweep(parents: Sequence[Run], reference: str | None, experiment: str) -> Run:
    """The parent run that `reference` means: the newest of that name or run id, or the newest of all for None.

    Args:
        parents: every sweep's parent run in the experiment, newest first.

    Raises:
        TrackingError: there is none; the message names the sweeps that there are.
    """
    for run in parents:
        if reference is None or reference in (run.data.tags.get(names.SWEEP), run.info.run_id):
            return run
    known = sorted({run.data.tags.get(names.SWEEP, run.info.run_id) for run in parents})
    if reference is None or not known:
        raise TrackingError(
            f"experiment {experiment!r} holds no sweep; run one, `sweep quick` for instance, or give the id of a run"
        )
    raise TrackingError(
        f"{reference!r} is no sweep of experiment {experiment!r}; give one of {', '.join(known)}, a run's id, "
        "or another --experiment"
    )


def read_plan(
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
