"""Temporary folders: gone after use, and gone after their process was killed, but never a living one's."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from gpt_experiments.scratch import scratch_folder

HOLD = """
import sys
from gpt_experiments.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "weights").write_text("much")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folders' place, for this process and for those that it starts."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def holder() -> tuple[subprocess.Popen[str], Path]:
    """A process that holds a folder until its standard input ends, and that folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_folder_is_private_and_gone_after_use(place: Path) -> None:
    with scratch_folder() as folder:
        assert folder.parent == place
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "below").mkdir()
        (folder / "below" / "file").touch()
    assert list(place.iterdir()) == []


def test_the_next_start_removes_what_a_killed_process_left_and_nothing_of_a_living_one(place: Path) -> None:
    dead, left = holder()
    living, held = holder()
    dead.kill()
    dead.communicate()
    assert left.exists()
    with scratch_folder() as folder:
        assert set(place.iterdir()) == {folder, held}
        assert (held / "weights").exists()
    living.communicate("")
    assert list(place.iterdir()) == []


def test_what_is_not_ours_stays(place: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "precious").touch()
    os.symlink(elsewhere, place / "gpt-experiments-scratch-link")
    (place / "gpt-experiments-scratch-file").touch()
    (place / "other").mkdir()
    with scratch_folder():
        pass
    assert {p.name for p in place.iterdir()} == {
        "gpt-experiments-scratch-link",
        "gpt-experiments-scratch-file",
        "other",
    }
    assert (elsewhere / "precious").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's folder")
def test_another_users_folder_stays(place: Path) -> None:
    other = place / "gpt-experiments-scratch-other"
    other.mkdir()
    os.chown(other, 12345, 12345)
    with scratch_folder():
        pass
    assert other.exists()


def test_a_system_without_locks_and_hang_ups_is_served(place: Path) -> None:
    code = """
import signal, sys
sys.modules["fcntl"] = None
del signal.SIGHUP, signal.pthread_sigmask
from gpt_experiments.scratch import scratch_folder
from gpt_experiments.signals import StopRequest, deferred_signals
with StopRequest() as stop, deferred_signals(), scratch_folder() as folder:
    signal.raise_signal(signal.SIGINT)
    print(folder.is_dir(), stop.requested)
print(folder.exists())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert done.stdout.split() == ["True", "True", "False"]
    assert list(place.iterdir()) == []
