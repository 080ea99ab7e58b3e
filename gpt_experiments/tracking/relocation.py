"""A SQLite store that was moved or copied: its artifacts are found again beside its database."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from sqlalchemy import create_engine, text

from gpt_experiments.errors import TrackingError
from gpt_experiments.tracking.connection import database_file

ARTIFACT_ROOT: Final = "mlruns"  # beside the database, as MLflow itself has it by default

# Where MLflow's database keeps the place of files, as absolute addresses.
_COLUMNS: Final = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def artifact_location(uri: str, experiment: str) -> str | None:
    """Where a new experiment's artifacts go: beside a SQLite database; None of another store, which decides itself.

    MLflow would put them under whatever directory each later command runs in; this is one absolute place instead.
    """
    file = database_file(uri)
    if file is None:
        return None
    return (file.parent / ARTIFACT_ROOT / re.sub(r"[^\w.-]+", "-", experiment)).as_uri()


def repair_moved_store(uri: str, location: str, written_run: Callable[[], str | None]) -> str | None:
    """Let a moved or copied store's database say where its artifacts are now: beside it.

    Args:
        location: where the experiment's artifacts are by the database.
        written_run: the id of a run that a living process writes, or one of another computer may write.

    Returns:
        What was done, as a sentence; None where nothing was moved.

    Raises:
        TrackingError: it was moved, but something still writes to the old place.
    """
    file = database_file(uri)
    here = None if file is None else file.parent / ARTIFACT_ROOT
    old = _root_of(location)
    if here is None or old is None or not _is_elsewhere(old, here):
        return None
    if run_id := written_run():
        raise TrackingError(
            f"by its database, the store's artifacts are in {old}; it was moved or copied from there, but run {run_id} "
            f"may still be written; wait until it ends, or, if nothing writes it, "
            f"`mlflow runs delete --run-id {run_id}`: "
            f"then the artifacts are looked for in {here}"
        )
    _rewrite(uri, old, here)
    return f"the store was moved: its database said that artifacts are in {old}, and now says {here}"


def _root_of(location: str) -> Path | None:
    """The folder of all experiments' artifacts, if this program chose the location: `mlruns` beside a database."""
    parts = urlsplit(location)
    if parts.scheme not in ("", "file") or parts.netloc:
        return None
    root = Path(unquote(parts.path)).parent
    return root if root.name == ARTIFACT_ROOT and root.is_absolute() else None


def _is_elsewhere(old: Path, here: Path) -> bool:
    """Whether artifacts are in `here`: not where it is another name for `old`, nor where they stayed behind."""
    if old == here:
        return False
    if not os.path.lexists(old):
        return True
    return here.exists() and not here.samefile(old)


def _rewrite(uri: str, old: Path, here: Path) -> None:
    """Replace the beginning of every address below `old`, all or none of them."""
    engine = create_engine(uri)
    try:
        with engine.begin() as connection:
            for table, column in _COLUMNS:
                for before, after in ((old.as_uri(), here.as_uri()), (str(old), str(here))):
                    connection.execute(
                        text(
                            f"UPDATE {table} SET {column} = :after || substr({column}, :length + 1) "
                            f"WHERE substr({column}, 1, :length) = :before"
                        ),
                        {"after": after + "/", "before": before + "/", "length": len(before) + 1},
                    )
    finally:
        engine.dispose()
