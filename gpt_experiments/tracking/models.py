"""Trained models read back out of MLflow."""

from __future__ import annotations

from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException

from gpt_experiments.errors import TrackingError, shortened
from gpt_experiments.tracking import names
from gpt_experiments.tracking.connection import as_default_store, database_file, resolve_uri
from gpt_experiments.tracking.failures import first_line


def model_folder(location: str, tracking_uri: str | None, *, into: Path) -> Path:
    """A local folder that holds the checkpoint of a run, or the files of a registered model.

    Args:
        location: a run id, or `models:/NAME/VERSION`, or `models:/NAME@ALIAS`.
        into: an existing folder, below which it is put.

    Raises:
        TrackingError: no such store, run, model, version or alias, or the run has no checkpoint.
    """
    artifact_uri = location if location.startswith("models:/") else f"runs:/{location}/{names.CHECKPOINT_FOLDER}"
    return _download(artifact_uri, tracking_uri, into)


def _download(artifact_uri: str, tracking_uri: str | None, into: Path) -> Path:
    uri = resolve_uri(tracking_uri)
    file = database_file(uri)
    if file is not None and not file.exists():
        raise TrackingError(f"no tracking store at {file}; give --tracking-uri, or run where the store is")
    try:
        with as_default_store(uri):
            return Path(
                mlflow.artifacts.download_artifacts(artifact_uri=artifact_uri, dst_path=str(into), tracking_uri=uri)
            )
    except (MlflowException, OSError) as error:
        raise TrackingError(
            f"{shortened(artifact_uri)} cannot be read from {uri} ({first_line(error)}); give the id of a finished run "
            "or a registered model, as `mlflow ui` shows them"
        ) from error
