"""Trained models read back out of MLflow."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from gpt_experiments import names
from gpt_experiments.errors import MissingError, TrackingError, shortened
from gpt_experiments.tracking.connection import as_default_store, database_file, resolve_uri
from gpt_experiments.tracking.failures import as_tracking_error, first_line, is_absent
from gpt_experiments.tracking.mlflow_internals import get_artifact_repository
from gpt_experiments.tracking.retry import RetryPolicy
from gpt_experiments.tracking.schema import kind_of

_LOGGED_MODEL: Final = re.compile("models:/m-[0-9a-f]{32}")


def model_folder(location: str, tracking_uri: str | None, *, into: Path, retries: RetryPolicy | None = None) -> Path:
    """A local folder that holds the checkpoint of a run or of a logged model, or the files of a registered model.

    Args:
        location: a run id, or `models:/NAME/VERSION`, `models:/NAME@ALIAS` or `models:/m-ID`.
        into: an existing folder, below which it is put.
        retries: how long, and with what notices, to wait for a store that is busy or away.

    Raises:
        MissingError: no such run, model, version or alias, or the run has no checkpoint.
        TrackingError: no such store, or it cannot be read.
    """
    retries = retries or RetryPolicy()
    uri = resolve_uri(tracking_uri, retries)
    file = database_file(uri)
    if file is not None and not file.exists():
        raise TrackingError(f"no tracking store at {file}; give --tracking-uri, or run where the store is")
    download: Callable[[str, str, Path], str] = _download_checkpoint
    if location.startswith("models:/"):
        download = _download_of_logged_model if _LOGGED_MODEL.fullmatch(location) else _download_model
    try:
        return Path(retries.call(download, location, uri, into))
    except (MlflowException, OSError) as error:
        if not is_absent(error):
            raise as_tracking_error(error, uri) from error
        raise MissingError(
            f"{shortened(location)} cannot be read from {uri} ({first_line(error)}); give the id of a finished run "
            "or a registered model, as `gpt-experiments ui` shows them"
        ) from error


def _download_model(location: str, uri: str, into: Path) -> str:
    with as_default_store(uri):
        return mlflow.artifacts.download_artifacts(artifact_uri=location, dst_path=str(into), tracking_uri=uri)


def _download_of_logged_model(location: str, uri: str, into: Path) -> str:
    """Download the checkpoint of the run that the model was logged from; the model itself has files if registered."""
    run_id = MlflowClient(tracking_uri=uri).get_logged_model(location.removeprefix("models:/")).source_run_id
    return _download_checkpoint(str(run_id), uri, into)


def _download_checkpoint(run_id: str, uri: str, into: Path) -> str:
    """Download without a `runs:/` address, for which MLflow calls every failure a wrong path."""
    run = MlflowClient(tracking_uri=uri).get_run(run_id)
    if kind_of(run) == "sweep":
        raise MissingError(f"run {run_id} is a sweep, which has no model; give the run of one of its trials")
    return download_checkpoint(run.info.artifact_uri, uri, into)


def download_checkpoint(artifacts: str, uri: str, into: Path) -> str:
    """Download the checkpoint of a run whose files are at the address `artifacts`; the path of its folder.

    Raises:
        FileNotFoundError: there is none.
        MlflowException, OSError: it cannot be read.
    """
    repository = get_artifact_repository(artifacts, tracking_uri=uri)
    if not repository.list_artifacts(names.CHECKPOINT_FOLDER):
        raise FileNotFoundError(f"the run has no {names.CHECKPOINT_FOLDER}")
    folder: str = repository.download_artifacts(names.CHECKPOINT_FOLDER, str(into))  # type: ignore[no-untyped-call]
    return folder
