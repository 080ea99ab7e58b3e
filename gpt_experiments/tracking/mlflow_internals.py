"""What this program uses of MLflow beyond its documented interface, in one place.

MLflow may change any of it between two versions of the range that setup.cfg allows. The tests of tracking use each.
"""

from __future__ import annotations

from pathlib import Path

from mlflow.environment_variables import (
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR,
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    MLFLOW_HTTP_REQUEST_TIMEOUT,
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT,
)
from mlflow.store import db_migrations
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.store.db.db_types import DATABASE_ENGINES
from mlflow.utils import mlflow_tags
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS, MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE
from mlflow.utils.rest_utils import http_request

__all__ = [
    "DATABASE_ENGINES",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES",
    "MLFLOW_HTTP_REQUEST_TIMEOUT",
    "MLFLOW_LOGGED_ARTIFACTS",
    "MLFLOW_PARENT_RUN_ID",
    "MLFLOW_RUN_NOTE",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT",
    "LocalArtifactRepository",
    "get_artifact_repository",
    "get_default_host_creds",
    "http_request",
    "knows_schema",
    "mlflow_tags",
]


def knows_schema(revision: str) -> bool:
    """Whether the installed MLflow knows a database's schema of that revision: its own, or one that it upgrades."""
    folder = Path(db_migrations.__path__[0]) / "versions"
    return revision == "None" or any(folder.glob(f"{revision}*.py"))
