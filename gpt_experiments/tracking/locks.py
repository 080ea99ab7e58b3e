"""Locks between processes: those that open one store, and those of one user on one host that write its views."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from tempfile import gettempdir
from typing import Final

from filelock import BaseFileLock, FileLock, Timeout
from sqlalchemy import NullPool, create_engine, text

from gpt_experiments.errors import TrackingError
from gpt_experiments.tracking.connection import database_file
from gpt_experiments.tracking.retry import RetryPolicy

# Held while some runs are opened. A process that holds it for longer is suspended: to train a trial twice is better
# than to wait for it.
_SECONDS_TO_WAIT: Final = 60
_SECONDS_TO_OPEN: Final = (5, 295)  # until a notice, and then until an error
_SECONDS_BETWEEN_TRIES: Final = 0.1
_KEY: Final = 7_310_592_806_411  # of our lock in PostgreSQL, where each database has its own


@contextmanager
def opening_lock(uri: str, retries: RetryPolicy) -> Iterator[None]:
    """A lock between processes: several that make the tables of a fresh store at once would break it.

    For SQLite it is a file beside the database while it is held; where none can be written there, no table can be made
    either. For PostgreSQL it is a lock of the database, which ends with the process that holds it, whatever its host.

    Raises:
        TrackingError: another process holds it for minutes.
    """
    if uri.startswith("postgresql"):
        with _database_lock(uri, retries):
            yield
        return
    file = database_file(uri)
    if file is None or not os.access(file.parent, os.W_OK):
        yield
        return
    path = file.with_name(file.name + ".lock")
    lock = FileLock(path, mode=0o666)
    for number, seconds in enumerate(_SECONDS_TO_OPEN):
        try:
            lock.acquire(timeout=seconds)
            break
        except Timeout as error:
            if number:
                raise TrackingError(
                    f"another process holds {path} for minutes; end what holds that store open, then delete that file"
                ) from error
            retries.notice(f"waiting for another process that opens the same store (it holds {path})")
        except PermissionError:  # another user left the file, and only that user may open it
            yield
            return
    try:
        yield
    finally:
        remove_and_release(lock)


@contextmanager
def _database_lock(uri: str, retries: RetryPolicy) -> Iterator[None]:
    engine = create_engine(uri, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with closing(retries.call(engine.connect)) as connection:
        began, was_said = time.monotonic(), False
        while not connection.scalar(text(f"select pg_try_advisory_lock({_KEY})")):
            waited = time.monotonic() - began
            if waited > sum(_SECONDS_TO_OPEN):
                raise TrackingError(
                    "another process has been opening the same PostgreSQL store for minutes; end it, then run the same "
                    "again"
                )
            if waited > _SECONDS_TO_OPEN[0] and not was_said:
                retries.notice("waiting for another process that opens the same store")
                was_said = True
            time.sleep(_SECONDS_BETWEEN_TRIES)
        yield


@contextmanager
def host_lock(uri: str) -> Iterator[None]:
    """Let one process at a time of this user on this host enter the block for a store; removes its file."""
    user = os.getuid() if hasattr(os, "getuid") else ""
    digest = sha256(f"{user} {uri}".encode()).hexdigest()[:16]
    file = Path(gettempdir()) / f"gpt-experiments-{digest}.claim"
    lock = FileLock(file)
    with suppress(Timeout, OSError):  # also where no file can be made there
        lock.acquire(timeout=_SECONDS_TO_WAIT)
    try:
        yield
    finally:
        if lock.is_locked:
            remove_and_release(lock)


def remove_and_release(lock: BaseFileLock) -> None:
    """End the lock, and remove its file where that is possible.

    It is removed while the lock is held: a process that waits for it sees that, and creates it again. Windows removes
    no open file, and in the system's temporary folder a user cannot remove another user's file.
    """
    if sys.platform != "win32":
        with suppress(OSError):
            Path(lock.lock_file).unlink()
    lock.release()
