"""Finds the artifacts of a SQLite store that was moved or copied, beside its database."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from sqlalchemy import create_engine, text
from sqlalchemy.engine import Connection

from gpt_experiments import names
from gpt_experiments.errors import TrackingError
from gpt_experiments.tracking import provenance
from gpt_experiments.tracking.connection import database_file
from gpt_experiments.tracking.failures import mlflow_command

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
    """Where a new experiment's artifacts go: beside a SQLite database; None for another store, which decides itself.

    MLflow would put them under whatever directory each later command runs in; this is one absolute place instead.
    """
    file = database_file(uri)
    if file is None:
        return None
    return (file.parent / ARTIFACT_ROOT / re.sub(r"[^\w.-]+", "-", experiment)).as_uri()


@dataclass(frozen=True, kw_only=True)
class Move:
    """Artifacts that are in another place than the database says.

    Attributes:
        old: the folder in which the database says they are, `mlruns` of another folder.
        here: the folder `mlruns` beside the database, in which they are.
        folders: the names of the experiments' folders that were moved, or that no run has ever written.
    """

    old: Path
    here: Path
    folders: tuple[str, ...]

    def corrected(self, address: str) -> str:
        """The present address of what the database has at `address`."""
        for before, after in self.prefixes():
            if address == before or address.startswith(before + "/"):
                return after + address[len(before) :]
        return address

    def prefixes(self) -> Iterator[tuple[str, str]]:
        """The beginnings of addresses to replace, each with what replaces it."""
        for folder in self.folders:
            before, after = self.old / folder, self.here / folder
            yield from ((before.as_uri(), after.as_uri()), (str(before), str(after)))


def find_move(uri: str, location: str) -> Move | None:
    """Whether the store was moved or copied from where its database says that artifacts are; this writes nothing.

    It was moved if an experiment's folder beside the database holds runs of that database, and all those that the old
    place still holds. So artifacts that their owner keeps elsewhere stay there, even if that place cannot be reached.

    Args:
        location: where an experiment's artifacts are according to the database.
    """
    file = database_file(uri)
    here = None if file is None else file.parent / ARTIFACT_ROOT
    old = _root_of(location)
    if here is None or old is None or not here.is_dir() or (old.exists() and here.samefile(old)):
        return None
    with _transaction(uri) as connection:
        runs = _runs_by_folder(connection, old)
    moved = [folder for folder, ids in runs.items() if _was_moved(ids, old / folder, here / folder)]
    unused = [folder for folder, ids in runs.items() if not ids]
    return Move(old=old, here=here, folders=(*moved, *unused)) if moved else None


def repair_moved_store(uri: str, move: Move) -> str:
    """Correct the addresses of artifacts in the database of a moved or copied store.

    Returns:
        What was done, as a sentence.

    Raises:
        TrackingError: a living process writes a run of that store, or one of another computer may write one.
    """
    with _transaction(uri) as connection:
        if run_id := _written_run(connection):
            raise TrackingError(
                f"the store's database has its artifacts in {move.old}; it was moved or copied from there, but run "
                f"{run_id} may still be written; wait until it ends, or, if nothing writes it, type "
                f"{mlflow_command(f'runs delete --run-id {run_id}')}: then the artifacts are looked for in {move.here}"
            )
        for before, after in move.prefixes():
            _rewrite(connection, before, after)
    return f"the store was moved: its database said that artifacts are in {move.old}, and now says {move.here}"


def _root_of(location: str) -> Path | None:
    """The folder of all experiments' artifacts, if this program chose the location: `mlruns` beside a database."""
    root = _local_path(location).parent
    return root if root.name == ARTIFACT_ROOT and root.is_absolute() else None


def _local_path(location: str) -> Path:
    """The file or folder of that address; an empty path where it is none of this machine."""
    parts = urlsplit(location)
    return Path(unquote(parts.path)) if parts.scheme in ("", "file") and not parts.netloc else Path()


@contextmanager
def _transaction(uri: str) -> Iterator[Connection]:
    """A transaction: either all that is written in the block is kept, or nothing."""
    engine = create_engine(uri)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def _runs_by_folder(connection: Connection, root: Path) -> dict[str, list[str]]:
    """The ids of every run, deleted ones too, for each experiment's folder in `root`."""
    rows = connection.execute(
        text("SELECT e.artifact_location, r.run_uuid FROM experiments e LEFT JOIN runs r USING (experiment_id)")
    )
    runs: dict[str, list[str]] = {}
    for location, run_id in rows:
        path = _local_path(location or "")
        if path.parent == root:
            runs.setdefault(path.name, []).extend([run_id] if run_id else [])
    return runs


def _was_moved(run_ids: list[str], old: Path, here: Path) -> bool:
    found = {run_id for run_id in run_ids if (here / run_id).is_dir()}
    return bool(found) and not any((old / run_id).is_dir() for run_id in run_ids if run_id not in found)


def _written_run(connection: Connection) -> str | None:
    """A run of any experiment that is RUNNING and not certainly abandoned."""
    rows = connection.execute(
        text(
            "SELECT r.run_uuid, t.value FROM runs r LEFT JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = :owner "
            "WHERE r.status = 'RUNNING' AND r.lifecycle_stage = 'active'"
        ),
        {"owner": names.OWNER},
    )
    return next((run_id for run_id, owner in rows if not provenance.is_dead(owner or "")), None)


def _rewrite(connection: Connection, before: str, after: str) -> None:
    """Replace the beginning of every address that is `before` or lies below it."""
    for table, column in _COLUMNS:
        connection.execute(
            text(
                f"UPDATE {table} SET {column} = :after || substr({column}, :length + 1) "
                f"WHERE {column} = :before OR substr({column}, 1, :length + 1) = :before || '/'"
            ),
            {"after": after, "before": before, "length": len(before)},
        )
