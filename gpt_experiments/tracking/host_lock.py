"""A lock between the processes of one user on one host that use one store."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from tempfile import gettempdir
from typing import Final

from filelock import BaseFileLock, FileLock, Timeout

# Held while some runs are opened. A process that holds it for longer is suspended: to train a trial twice is better
# than to wait for it.
_SECONDS_TO_WAIT: Final = 60


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
