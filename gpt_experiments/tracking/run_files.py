"""Reads files of runs back if this program wrote them, and lists what could not be read."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from gpt_experiments.scratch import scratch_folder
from gpt_experiments.tracking.failures import first_line, is_absent
from gpt_experiments.tracking.mlflow_internals import LocalArtifactRepository, get_artifact_repository

MOST_BYTES: Final = 4_000_000
"""No file of a trial that is read back has more: the explorer, the largest, stays below a megabyte."""

_MISSING: Final = "is missing"
_MOST_NAMED: Final = 3  # runs in one sentence


class UnreadableError(Exception):
    """A file or a value of a run is not what this program wrote; its message says in a few words what it is."""


class LeftOut:
    """What could not be read of a sweep, each as a thing, what is wrong with it, and whose it is."""

    def __init__(self) -> None:
        self._whose: dict[tuple[str, str], list[str]] = {}

    def add(self, thing: str, problem: str, whose: str) -> None:
        """Note that `thing` (`sample.txt`) of `whose` (`n_head=8 (seed 1)`) is left out: it `is missing`, say."""
        known = self._whose.setdefault((thing, problem), [])
        if whose not in known:
            known.append(whose)

    def sentences(self) -> tuple[str, ...]:
        """One for each thing and problem: `sample.txt of baseline (seed 1337) is missing`."""
        return tuple(f"{thing} of {_listed(whose)} {problem}" for (thing, problem), whose in self._whose.items())


def _listed(whose: Sequence[str]) -> str:
    named = ", ".join(whose[:_MOST_NAMED])
    return named if len(whose) <= _MOST_NAMED else f"{named} and {len(whose) - _MOST_NAMED} more"


def read_text(run: Run, artifact: str, uri: str, *, most_bytes: int = MOST_BYTES) -> str:
    """A text artifact of a run. Raises UnreadableError as `read_bytes` does, and for what is no text."""
    try:
        return read_bytes(run, artifact, uri, most_bytes=most_bytes).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableError("is no text in UTF-8") from error


def read_bytes(run: Run, artifact: str, uri: str, *, most_bytes: int = MOST_BYTES) -> bytes:
    """An artifact of a run.

    It is not read through the client, which asks the database for the run twice for every file.

    Args:
        uri: the tracking store's address.
        most_bytes: a larger file is not what this program wrote.

    Raises:
        UnreadableError: it is missing or too large.
    """
    try:
        repository = get_artifact_repository(run.info.artifact_uri, tracking_uri=uri)
        if isinstance(repository, LocalArtifactRepository):  # the file itself, not a copy
            return _read(repository.download_artifacts(artifact), most_bytes)  # type: ignore[no-untyped-call]
        with scratch_folder() as folder:
            return _read(repository.download_artifacts(artifact, str(folder)), most_bytes)  # type: ignore[no-untyped-call]
    except (MlflowException, OSError) as error:
        why = getattr(error, "strerror", None) or first_line(error)
        raise UnreadableError(_MISSING if is_absent(error) else f"cannot be read ({why})") from error


def _read(file: str, most_bytes: int) -> bytes:
    path = Path(file)
    if path.is_dir():
        raise UnreadableError("is a folder")
    if path.stat().st_size > most_bytes:
        raise UnreadableError(f"is too large to be what this program wrote ({path.stat().st_size:,} bytes)")
    return path.read_bytes()


def read_json(run: Run, artifact: str, uri: str, *, most_bytes: int) -> Any:
    """A JSON artifact of a run. Raises UnreadableError as `read_text` does, and for what is no JSON."""
    try:
        return json.loads(read_text(run, artifact, uri, most_bytes=most_bytes))
    except (ValueError, RecursionError) as error:
        raise UnreadableError("is no JSON") from error


def read_losses(run: Run, artifact: str, uri: str) -> NDArray[np.float16] | None:
    """The losses (characters,) of an artifact in NumPy's format; None where the run has none.

    Raises:
        UnreadableError: it holds something else, or a loss that is not finite.
    """
    try:
        content = read_bytes(run, artifact, uri)
    except UnreadableError as error:
        if str(error) == _MISSING:
            return None
        raise
    try:
        losses = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise UnreadableError("is no array of NumPy") from error
    if not isinstance(losses, np.ndarray) or losses.dtype != np.float16 or losses.ndim != 1 or not len(losses):
        raise UnreadableError("does not hold losses")
    if not np.isfinite(losses).all():
        raise UnreadableError("has a loss that is not finite")
    return losses


def read_numbers(
    run: Run, artifact: str, uri: str, columns: Sequence[str], *, whole: Mapping[str, int]
) -> list[dict[str, float | str]]:
    """A CSV artifact of a run, one dictionary a row with `columns`: numbers, but for the column `name`.

    Args:
        whole: columns that hold whole numbers, each with its least value; the others may hold a NaN.

    Raises:
        UnreadableError: it is missing, a column is missing, a number is invalid, or it has no row.
    """
    text = read_text(run, artifact, uri)
    try:
        rows = list(csv.DictReader(text.splitlines(), strict=True))
    except csv.Error as error:
        raise UnreadableError("is no CSV") from error
    if not rows:
        raise UnreadableError("has no rows")
    return [{column: _cell(row, column, whole.get(column)) for column in columns} for row in rows]


def _cell(row: Mapping[str, str | None], column: str, least: int | None) -> float | str:
    text = row.get(column)
    if text is None:
        raise UnreadableError(f"lacks a value in the column {column}")
    if column == "name":
        return text
    try:
        value = float(text)
    except ValueError:
        value = math.inf
    is_right = not math.isinf(value) if least is None else value.is_integer() and value >= least
    if not is_right:
        raise UnreadableError(f"has {text[:20]!r} where the column {column} needs a number")
    return value
