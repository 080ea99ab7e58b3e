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
    """Within it no other process of this user on this host is within it for the same store; its file is removed."""
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

    It is removed while the lock is held: whoever waits for it sees that, and makes it anew. Windows removes no file
    that is open; in a folder like the system's temporary one nobody may remove a file that another user has left.
    """
    if sys.platform != "win32":
        with suppress(OSError):
            Path(lock.lock_file).unlink()
    lock.release()
