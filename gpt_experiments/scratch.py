"""Temporary folders that do not stay: a folder whose process was killed is removed when the next one is made."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

_fcntl: Any
try:
    import fcntl as _fcntl
except ImportError:  # Windows, which cannot lock a folder: what a killed process leaves there stays
    _fcntl = None

_PREFIX: Final = "gpt-experiments-scratch-"
_UNFINISHED: Final = ".new-" + _PREFIX  # not yet locked: no other process may touch it


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder among the system's temporary ones, removed with what is in it when the block ends.

    This process holds a lock on it, which the system drops when the process ends, however that happens. So the
    next process that makes a folder sees which ones are left over, also from another container that shares the place.
    """
    if _fcntl is None:
        with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name:
            yield Path(name)
        return
    _remove_abandoned(Path(tempfile.gettempdir()))
    folder, lock = _make()
    try:
        yield folder
    finally:
        # A process that was ended may have begun a file that appears meanwhile; the next start removes what remains.
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _make() -> tuple[Path, int]:
    """A new folder and the descriptor that holds its lock; its name is final only once it is locked."""
    unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED))
    lock = os.open(unfinished, os.O_RDONLY | os.O_DIRECTORY)
    with contextlib.suppress(OSError):  # a file system without locks, where no folder counts as left over
        _fcntl.flock(lock, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
    folder = unfinished.with_name(_PREFIX + unfinished.name.removeprefix(_UNFINISHED))
    unfinished.rename(folder)
    return folder, lock


def _remove_abandoned(place: Path) -> None:
    """Remove this user's folders whose process has ended; whatever cannot be looked at is left as it is."""
    with contextlib.suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX) and entry.is_dir(follow_symlinks=False):
                _remove_if_abandoned(Path(entry.path))


def _remove_if_abandoned(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return  # another user's, or gone
    try:
        if os.fstat(descriptor).st_uid == os.getuid():
            _fcntl.flock(descriptor, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return  # its process lives
    finally:
        os.close(descriptor)
