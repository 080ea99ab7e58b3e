"""Single runs by their ids, in any experiment."""

from __future__ import annotations

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from gpt_experiments import names
from gpt_experiments.errors import MissingError, TrackingError, shortened
from gpt_experiments.tracking.connection import database_file, resolve_uri
from gpt_experiments.tracking.failures import as_tracking_errors, is_absent, mlflow_command
from gpt_experiments.tracking.retry import RetryPolicy, retrying_client
from gpt_experiments.tracking.schema import ModelRun, kind_of, model_run
from gpt_experiments.tracking.store import Store


def get_run(store: Store, run_id: str) -> Run:
    """The run of that id, deleted or not.

    Raises:
        MissingError: there is no such run.
        TrackingError: the store fails.
    """
    return _get_run(store.client, store.uri, run_id)


def _get_run(client: MlflowClient, uri: str, run_id: str) -> Run:
    with as_tracking_errors(uri):
        try:
            return client.get_run(run_id)
        except MlflowException as error:
            if not is_absent(error):
                raise
            raise MissingError(
                f"{uri} holds no run {shortened(run_id, 60)}; give an id that `gpt-experiments ui` shows, or correct "
                "--tracking-uri"
            ) from error


def open_store_of(run_id: str, tracking_uri: str | None) -> tuple[Store, Run]:
    """The experiment that holds the run of that id, and the run; nothing is written, also where the store was moved.

    Raises:
        MissingError: there is no such run.
        TrackingError: there is no such store, it fails, or the experiment is deleted.
    """
    retries = RetryPolicy()
    uri = resolve_uri(tracking_uri, retries)
    file = database_file(uri)
    if file is not None and not file.exists():
        raise TrackingError(f"no tracking store at {file}; give --tracking-uri, or run where the store is")
    client = retrying_client(uri, retries)
    run = _get_run(client, uri, run_id)
    with as_tracking_errors(uri):
        experiment = client.get_experiment(run.info.experiment_id).name
    return Store(uri, experiment, retries, repair=False), run


def require_active(run: Run) -> None:
    """Raise a MissingError for a deleted run."""
    if run.info.lifecycle_stage != "active":
        run_id = run.info.run_id
        raise MissingError(
            f"run {run_id} is deleted; restore it with {mlflow_command(f'runs restore --run-id {run_id}')}"
        )


def failure_of(run: Run) -> str:
    """Why the run ended early, in parentheses; empty where it does not say."""
    reason: str = run.data.tags.get(names.FAILURE, "")
    return f" ({reason.splitlines()[0]})" if reason else ""


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
    kind = kind_of(run)
    require_active(run)
    if kind != "trial" and kind != "pretrained":
        raise MissingError(
            f"run {run_id} has no model: its {names.KIND} is {kind!r}; "
            "give the run of a trial or of a pre-trained model"
        )
    if run.info.status != "FINISHED":
        raise MissingError(
            f"run {run_id} is {run.info.status}{failure_of(run)}; only a FINISHED run has a model; train again"
        )
    return model_run(run, kind)
