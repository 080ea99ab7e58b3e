"""What MLflow and its database raise, told as errors that a user can act on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from gpt_experiments.errors import TrackingError


@contextmanager
def told_as_tracking_errors(uri: str) -> Iterator[None]:
    """Turn what is raised by MLflow, its database or the disk inside the block into a TrackingError."""
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise TrackingError(
            f"the tracking store {uri} failed ({first_line(error)}); check --tracking-uri or MLFLOW_TRACKING_URI, "
            "and that the store was made by this version of MLflow or upgraded to it with `mlflow db upgrade`"
        ) from error


def first_line(error: Exception) -> str:
    """The first line of an error's message, cut to a readable length."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
