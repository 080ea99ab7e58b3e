"""Keeps what could not be written to a store: a folder for each trial, until the store takes it."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

import platformdirs
from filelock import FileLock, Timeout

from gpt_experiments.errors import first_line, without_secrets
from gpt_experiments.sweep import trial_log
from gpt_experiments.sweep.log_writer import LogWriter
from gpt_experiments.sweep.trial_log import TrialLog
from gpt_experiments.tracking import Store, provenance
from gpt_experiments.tracking.locks import remove_and_release

FOLDER_VARIABLE: Final = "GPT_EXPERIMENTS_UNWRITTEN_DIR"
"""The environment variable that names another place for what could not be written."""
_FILES: Final = "files"
_UNFINISHED: Final = ".new-"


class Unwritten:
    """The trials that wait on this machine for one experiment of one store.

    Attributes:
        folder: where they are; it exists only while some wait.

    Args:
        place: the folder of all stores; None takes GPT_EXPERIMENTS_UNWRITTEN_DIR, else the user's data folder.
    """

    def __init__(self, store: Store, place: Path | None = None) -> None:
        self._store = store
        address, experiment = without_secrets(store.uri), store.experiment.name
        digest = sha256(f"{address}\n{experiment}".encode()).hexdigest()[:16]
        self.folder = (place or unwritten_place()) / digest
        self._about = f"Trials that could not be written to experiment {experiment!r} of {address}.\n"

    def keep(self, log: TrialLog, files: Path | None) -> Path:
        """Keep a trial that has ended, with a copy of its files; returns its folder.

        Raises:
            OSError: nothing can be written there; nothing is left of the try.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "README.txt").write_text(self._about, encoding="utf-8")
        name = f"{log.opening.cell}-{uuid.uuid4().hex[:8]}"
        unfinished = self.folder / (_UNFINISHED + name)
        try:
            unfinished.mkdir()
            if files is not None:
                shutil.copytree(files, unfinished / _FILES)
            log.save(unfinished, provenance.this_process())
            kept = unfinished.rename(self.folder / name)
        except OSError:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        log.use_drawings_in(kept)
        return kept

    def note(self, log: TrialLog, kept: Path) -> None:
        """Note how far a kept trial is written by now; where that fails, a part may be written again."""
        with contextlib.suppress(OSError):
            log.save(kept, provenance.this_process())

    def remove(self, kept: Path) -> None:
        """Remove a trial that is written."""
        shutil.rmtree(kept, ignore_errors=True)
        if not any(path.is_dir() for path in self.folder.iterdir()):
            shutil.rmtree(self.folder, ignore_errors=True)

    def write_all(self, notice: Callable[[str], None]) -> int:
        """Write every kept trial to its run, but those of another process that lives; returns how many it wrote.

        Raises:
            TrackingError: the store fails; what is not written stays.
        """
        if not self.folder.is_dir():
            return 0
        written = 0
        with self._alone() as is_alone:
            for kept in self._kept() if is_alone else ():
                written += self._write(kept, notice)
        if written:
            trials = "1 trial" if written == 1 else f"{written} trials"
            notice(f"wrote {trials} that waited in {self.folder} for the tracking store")
        return written

    def _write(self, kept: Path, notice: Callable[[str], None]) -> bool:
        try:
            log, owner = trial_log.load(kept)
        except (OSError, ValueError) as error:
            notice(
                f"the trial kept in {kept} cannot be read ({first_line(error)}); delete that folder to train it anew"
            )
            return False
        if owner != provenance.this_process() and provenance.is_alive_here(owner):
            return False
        writer = LogWriter(log, self._store, looks_around=True, was_away=True)
        writer.write(kept / _FILES)
        if writer.lost is not None:
            notice(f"the trial kept in {kept} is not written: {writer.lost}")
        self.remove(kept)
        return writer.lost is None

    def _kept(self) -> list[Path]:
        """The folders of trials, the oldest first."""
        found = [path for path in self.folder.iterdir() if path.is_dir() and not path.name.startswith(_UNFINISHED)]
        return sorted(found, key=lambda path: path.stat().st_mtime)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether no other process writes these trials at the moment; none begins to inside the block."""
        lock = FileLock(self.folder.with_name(f"{self.folder.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            remove_and_release(lock)


def files_of(kept: Path) -> Path:
    """The files of a kept trial."""
    return kept / _FILES


def unwritten_place() -> Path:
    """The folder below which trials wait that could not be written, whatever their store."""
    given = os.environ.get(FOLDER_VARIABLE)
    return Path(given) if given else platformdirs.user_data_path("gpt-experiments", appauthor=False) / "unwritten"
