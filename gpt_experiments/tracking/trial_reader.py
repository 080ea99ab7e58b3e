"""Reads what trials have left in MLflow, finished or not: losses, scores of heads, samples; or one trial whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import pandas as pd
from mlflow.entities import Run

from gpt_experiments import names
from gpt_experiments.analysis.results import TrialResults
from gpt_experiments.tracking.facts import facts_of
from gpt_experiments.tracking.failures import as_tracking_errors
from gpt_experiments.tracking.run_files import LeftOut, UnreadableError, read_numbers, read_text
from gpt_experiments.tracking.schema import is_finite
from gpt_experiments.tracking.store import Store
from gpt_experiments.training.events import Evaluation

_POSITION_COLUMNS: Final = ("run_id", "characters_seen", "val_loss")
_CURVE_COLUMNS: Final = ("run_id", "step", names.TRAIN_LOSS, names.VAL_LOSS)
_HEAD_COLUMNS: Final = ("run_id", "layer", "head", *names.HEAD_SCORES, "name", "repeat_length")
_WHOLE: Final = {"characters_seen": 1, "layer": 1, "head": 1, "repeat_length": 0}  # from which number on


def read_trial(store: Store, run: Run) -> TrialResults:
    """Everything that can be compared of a trial's run.

    Raises:
        TrackingError: the store fails.
    """
    tags, run_id, left_out = run.data.tags, run.info.run_id, LeftOut()
    name = run.info.run_name or run_id
    with as_tracking_errors(store.uri):
        runs = [(run, name)]
        return TrialResults(
            run_id=run_id,
            label=tags.get(names.VARIANT, name),
            name=name,
            status=run.info.status,
            reason=next(iter(tags.get(names.FAILURE, "").splitlines()), ""),
            sweep=tags.get(names.SWEEP),
            facts=facts_of(run.data.params, tags),
            evaluations=evaluations_of(curves_of(store, runs, left_out)),
            metrics={name: value for name, value in run.data.metrics.items() if is_finite(value)},
            heads=heads_of(store, runs, left_out),
            sample=samples_of(store, runs, left_out).get(run_id),
            left_out=left_out.sentences(),
        )


def evaluations_of(curve: pd.DataFrame) -> tuple[Evaluation, ...]:
    """The losses of one run, from the rows of `curves_of`."""
    return tuple(
        Evaluation(step=int(row["step"]), train_loss=float(row["train_loss"]), val_loss=float(row["val_loss"]))
        for row in curve.to_dict("records")
    )


def curves_of(store: Store, runs: Sequence[tuple[Run, str]], left_out: LeftOut) -> pd.DataFrame:
    """Losses over steps of every run: `run_id`, `step`, `train_loss`, `val_loss`.

    A step that was logged twice counts once, and a value that is not finite is NaN.

    Args:
        runs: each with the name under which `left_out` gets what cannot be read of it.
    """
    rows: list[tuple[str, int, float, float]] = []
    for run, whose in runs:
        train, val = (
            {
                metric.step: metric.value if is_finite(metric.value) else math.nan
                for metric in store.client.get_metric_history(run.info.run_id, name)
            }
            for name in (names.TRAIN_LOSS, names.VAL_LOSS)
        )
        for name, values in ((names.TRAIN_LOSS, train), (names.VAL_LOSS, val)):
            if not values:
                left_out.add(f"the metric {name}", "is missing", whose)
            elif any(map(math.isnan, values.values())):
                left_out.add(f"a value of {name}", "is not finite", whose)
        rows += [
            (run.info.run_id, step, train.get(step, math.nan), val.get(step, math.nan))
            for step in sorted(train.keys() | val.keys())
        ]
    frame = pd.DataFrame(rows, columns=list(_CURVE_COLUMNS))
    return frame.astype({"train_loss": float, "val_loss": float})


def positions_of(store: Store, runs: Sequence[tuple[Run, str]], left_out: LeftOut) -> pd.DataFrame:
    """The validation loss by characters seen of every run that has it; see `curves_of`."""
    return _tables(store, runs, names.POSITIONS_FILE, _POSITION_COLUMNS, left_out)


def heads_of(store: Store, runs: Sequence[tuple[Run, str]], left_out: LeftOut) -> pd.DataFrame:
    """The scores of the attention heads of every run that has them; see `curves_of`."""
    return _tables(store, runs, names.HEADS_FILE, _HEAD_COLUMNS, left_out)


def samples_of(store: Store, runs: Sequence[tuple[Run, str]], left_out: LeftOut) -> dict[str, str]:
    """The sample of every run that has one; see `curves_of`."""
    samples = {}
    for run, whose in runs:
        try:
            samples[run.info.run_id] = read_text(run, names.SAMPLE_FILE, store.uri)
        except UnreadableError as error:
            left_out.add(names.SAMPLE_FILE, str(error), whose)
    return samples


def _tables(
    store: Store, runs: Sequence[tuple[Run, str]], artifact: str, columns: Sequence[str], left_out: LeftOut
) -> pd.DataFrame:
    """The CSV of every run that has it, one below the other."""
    rows: list[dict[str, Any]] = []
    for run, whose in runs:
        try:
            table = read_numbers(run, artifact, store.uri, columns[1:], whole=_WHOLE)
        except UnreadableError as error:
            left_out.add(artifact, str(error), whose)
        else:
            rows += [{"run_id": run.info.run_id, **row} for row in table]
    frame = pd.DataFrame(rows, columns=list(columns))
    return frame.astype({column: float for column in columns if column not in ("run_id", "name")})
