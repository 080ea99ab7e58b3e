"""A run that left a model, a trial or a baseline, with all that can be said of that model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.utils import mlflow_tags

from gpt_experiments.errors import MissingError
from gpt_experiments.tracking import names
from gpt_experiments.tracking.failures import is_absent, mlflow_command, told_as_tracking_errors
from gpt_experiments.tracking.store import Store
from gpt_experiments.tracking.trial_values import is_finite


@dataclass(frozen=True, kw_only=True)
class ModelRun:
    """A finished trial or baseline; losses in nats per character.

    Attributes:
        label: the variant's, or a pre-trained file's name.
        cell, sweep: None for a baseline; sweep also for a trial on its own.
        params: what the run was told, as text.
        train_loss, val_loss: of the model that the run's checkpoint holds.
        best_val_loss: the lowest on the way there.
    """

    run_id: str
    kind: str
    label: str
    cell: str | None
    sweep: str | None
    corpus: str
    corpus_digest: str
    params: Mapping[str, str]
    n_params: int
    train_loss: float
    val_loss: float
    best_val_loss: float
    hardware: str | None
    versions: str | None
    commit: str | None


def kind_of_run(store: Store, run_id: str) -> str | None:
    """What kind of run that is, `sweep`, `trial` or `baseline`; None of a run that another program made.

    Raises:
        MissingError: there is no such run.
    """
    return get_run(store, run_id).data.tags.get(names.KIND)


def find_model_run(store: Store, run_id: str) -> ModelRun:
    """The run of that id, of whichever experiment, as one that has left a model.

    Raises:
        MissingError: there is no such run, it is deleted, of another kind, did not finish, or lacks what makes it one.
    """
    run = get_run(store, run_id)
    tags = run.data.tags
    kind = tags.get(names.KIND)
    if run.info.lifecycle_stage != "active":
        raise MissingError(
            f"run {run_id} is deleted; restore it with {mlflow_command(f'runs restore --run-id {run_id}')}"
        )
    if kind not in ("trial", "baseline"):
        raise MissingError(f"run {run_id} has no model: its {names.KIND} is {kind!r}; give a trial's or a baseline's")
    if run.info.status != "FINISHED":
        reason = f" ({tags[names.FAILURE].splitlines()[0]})" if tags.get(names.FAILURE) else ""
        raise MissingError(f"run {run_id} is {run.info.status}{reason}; only a FINISHED run has a model; train again")
    return _describe(run, kind)


def get_run(store: Store, run_id: str) -> Run:
    """The run of that id, of whichever experiment, deleted or not.

    Raises:
        MissingError: there is no such run.
        TrackingError: the store fails.
    """
    with told_as_tracking_errors(store.uri):
        try:
            return store.client.get_run(run_id)
        except MlflowException as error:
            if not is_absent(error):
                raise
            raise MissingError(
                f"{store.uri} holds no run {run_id}; give an id that `mlflow ui` shows, or correct --tracking-uri"
            ) from error


def _describe(run: Run, kind: str) -> ModelRun:
    tags, metrics, run_id = run.data.tags, run.data.metrics, run.info.run_id
    for name in (names.N_PARAMS, names.FINAL_TRAIN_LOSS, names.FINAL_VAL_LOSS, names.BEST_VAL_LOSS):
        if not is_finite(metrics.get(name, 0.0)):
            raise MissingError(f"run {run_id} has no finite {name}; register another, or train again")
    try:
        return ModelRun(
            run_id=run_id,
            kind=kind,
            label=tags[names.VARIANT],
            cell=tags.get(names.CELL),
            sweep=tags.get(names.SWEEP),
            corpus=tags[names.CORPUS],
            corpus_digest=tags[names.CORPUS_DIGEST],
            params=dict(run.data.params),
            n_params=int(metrics[names.N_PARAMS]),
            train_loss=metrics[names.FINAL_TRAIN_LOSS],
            val_loss=metrics[names.FINAL_VAL_LOSS],
            best_val_loss=metrics[names.BEST_VAL_LOSS],
            hardware=tags.get(names.HARDWARE),
            versions=tags.get(names.VERSIONS),
            commit=tags.get(mlflow_tags.MLFLOW_GIT_COMMIT),
        )
    except KeyError as error:
        raise MissingError(
            f"run {run_id} lacks {error}, without which its model cannot be described; register another, or train again"
        ) from error
