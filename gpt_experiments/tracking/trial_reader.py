"""Reads the run of one trial back from MLflow, finished or not, to be compared with another."""

from __future__ import annotations

import pandas as pd
from mlflow.entities import Run

from gpt_experiments import names
from gpt_experiments.analysis.results import TrialResults
from gpt_experiments.tracking.facts import facts_of
from gpt_experiments.tracking.failures import as_tracking_errors
from gpt_experiments.tracking.reader import curves_of, heads_of, samples_of
from gpt_experiments.tracking.run_files import LeftOut
from gpt_experiments.tracking.schema import is_finite
from gpt_experiments.tracking.store import Store
from gpt_experiments.training.events import Evaluation


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
