"""Single runs by their ids, in any experiment."""

from __future__ import annotations

from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from gpt_experiments import names
from gpt_experiments.errors import MissingError
from gpt_experiments.tracking.failures import as_tracking_errors, is_absent, mlflow_command
from gpt_experiments.tracking.schema import ModelRun, kind_of, model_run
from gpt_experiments.tracking.store import Store


def get_run(store: Store, run_id: str) -> Run:
    """The run of that id, deleted or not.

    Raises:
        MissingError: there is no such run.
        TrackingError: the store fails.
    """
    with as_tracking_errors(store.uri):
        try:
            return store.client.get_run(run_id)
        except MlflowException as error:
            if not is_absent(error):
                raise
            raise MissingError(
                f"{store.uri} holds no run {run_id}; give an id that `mlflow ui` shows, or correct --tracking-uri"
            ) from error


def kind_of_run(store: Store, run_id: str) -> str | None:
    """What kind of run that is, `sweep`, `trial` or `pretrained`; None for a run that another program made.

    Raises:
        MissingError: there is no such run.
    """
    return kind_of(get_run(store, run_id))


def find_model_run(store: Store, run_id: str) -> ModelRun:
    """The run of that id as one that has left a model.

    Raises:
        MissingError: there is no such run, it is deleted, of another kind, did not finish, or lacks what a model needs.
    """
    run = get_run(store, run_id)
    kind, tags = kind_of(run), run.data.tags
    if run.info.lifecycle_stage != "active":
        raise MissingError(
            f"run {run_id} is deleted; restore it with {mlflow_command(f'runs restore --run-id {run_id}')}"
        )
    if kind != "trial" and kind != "pretrained":
        raise MissingError(
            f"run {run_id} has no model: its {names.KIND} is {kind!r}; "
            "give the run of a trial or of a pre-trained model"
        )
    if run.info.status != "FINISHED":
        reason = f" ({tags[names.FAILURE].splitlines()[0]})" if tags.get(names.FAILURE) else ""
        raise MissingError(f"run {run_id} is {run.info.status}{reason}; only a FINISHED run has a model; train again")
    return model_run(run, kind)
