"""A lock between the processes of one user on one host that use one store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from tempfile import gettempdir
from typing import Final

from filelock import FileLock, Timeout

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
    with suppress(Timeout):
        lock.acquire(timeout=_SECONDS_TO_WAIT)
    try:
        yield
    finally:
        if lock.is_locked:
            file.unlink(missing_ok=True)  # while the lock is held: whoever waits for it sees that, and makes it anew
            lock.release()
