"""How the tracking store is reached: its address, a quick check that it answers, a lock while it is made."""

from __future__ import annotations

import logging
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from hashlib import sha256
from pathlib import Path
from tempfile import gettempdir
from typing import Final
from urllib.parse import unquote

import mlflow
from filelock import FileLock
from mlflow.environment_variables import (
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR,
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT,
)

from gpt_experiments.errors import TrackingError

_SECONDS_TO_REACH_A_SERVER: Final = 10
_SQLITE: Final = "sqlite:///"


def resolve_uri(tracking_uri: str | None) -> str:
    """The store's address, a SQLite file's path made absolute; None is MLflow's own choice.

    That choice is MLFLOW_TRACKING_URI, else `mlflow.db` in the working directory.

    Raises:
        TrackingError: a server that does not answer, told within seconds, where MLflow's client tries for minutes.
    """
    _quieten_mlflow()
    uri = tracking_uri or mlflow.get_tracking_uri()
    if uri.startswith(_SQLITE):
        return _SQLITE + str(Path(uri.removeprefix(_SQLITE)).absolute())
    if uri.startswith(("http://", "https://")):
        _require_answer(uri)
    return uri


def _quieten_mlflow() -> None:
    """Leave its warnings, but no link for each run and no progress bar for each file, unless the user asked for it."""
    for logger in ("mlflow", "alembic"):
        logging.getLogger(logger).setLevel(logging.WARNING)
    os.environ.setdefault(MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.name, "false")
    os.environ.setdefault(MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.name, "true")


def database_file(uri: str) -> Path | None:
    """The file of a SQLite store; None for every other kind of store."""
    return Path(unquote(uri.removeprefix(_SQLITE))) if uri.startswith(_SQLITE) else None


@contextmanager
def as_default_store(uri: str) -> Iterator[None]:
    """Within it `uri` is MLflow's default store: a registered model's address is looked up in no other."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)


def opening_lock(uri: str) -> FileLock | nullcontext[None]:
    """A lock between processes: several that make the tables of a fresh SQLite store at once would break it."""
    if database_file(uri) is None:
        return nullcontext()
    return FileLock(Path(gettempdir()) / f"gpt-experiments-{sha256(uri.encode()).hexdigest()[:16]}.lock")


def _require_answer(uri: str) -> None:
    try:
        with urllib.request.urlopen(uri.rstrip("/") + "/health", timeout=_SECONDS_TO_REACH_A_SERVER):
            return
    except urllib.error.HTTPError:
        return  # it answers; whether it lets us in, MLflow's client will tell
    except OSError as error:
        raise TrackingError(
            f"no tracking server answers at {uri} ({error}); start it, or correct --tracking-uri or MLFLOW_TRACKING_URI"
        ) from error
