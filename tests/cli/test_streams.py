"""Commands whose output cannot go where it should: a poor encoding, a full disk, a reader that left, nothing at all."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "gpt_experiments"]
PREPARED = "import sys; from gpt_experiments.cli.streams import prepare_streams; prepare_streams(); "
ASCII = {"PYTHONIOENCODING": "ascii"}
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture
def odd_file(tmp_path: Path, text: str) -> Path:
    """A text whose name no 8-bit encoding has."""
    path = tmp_path / "naïve ━ 語.txt"
    path.write_text(text, encoding="utf-8")
    return path


def run(*command: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [str(part) for part in command], capture_output=True, check=False, cwd=ROOT, env=os.environ | environment
    )


def prepared(script: str, **environment: str) -> bytes:
    """What the script prints in a process with the program's streams."""
    done = run(sys.executable, "-c", PREPARED + script, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("environment", [ASCII, {"PYTHONIOENCODING": "cp1252"}, {"PYTHONIOENCODING": "latin-1"}, {}])
def test_no_encoding_ends_a_command(odd_file: Path, environment: dict[str, str]) -> None:
    done = run(*PROGRAM, "data", "--data", odd_file, **environment)
    assert done.returncode == 0, done.stderr
    assert b"SHA-256" in done.stdout
    assert b"Traceback" not in done.stderr


def test_a_file_name_that_is_no_text_can_be_printed(tmp_path: Path, text: str) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.txt"
    Path(os.fsdecode(path)).write_text(text)
    for environment in ({}, C_LOCALE):
        done = subprocess.run(
            [*PROGRAM, "data", "--data", path], capture_output=True, check=False, cwd=ROOT, env=os.environ | environment
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith((b"caf\\udce9.txt: ", b"caf?.txt: "))  # Click writes UTF-8 in the C locale


def test_a_character_becomes_one_that_looks_like_it_or_its_escape_sequence() -> None:
    shown = "print('\\u2501\\u2500\\u2502 2\\u00d7 1\\u20132 long\\u2026 \\u8a9e'); print('\\u00e9', file=sys.stderr)"
    assert prepared(shown, **ASCII) == b"=-| 2x 1-2 long~ \\u8a9e\n"
    assert prepared(shown, PYTHONIOENCODING="cp1252") == b"=-| 2\xd7 1\x962 long\x85 \\u8a9e\n"
    assert prepared(shown, PYTHONIOENCODING="utf-8") == "━─│ 2× 1–2 long… 語\n".encode()


@pytest.mark.slow
def test_tables_are_drawn_with_what_the_encoding_has() -> None:
    script = (
        "from gpt_experiments.cli.console import standard_console; from gpt_experiments.cli.tables import *; "
        "from gpt_experiments.sweep.dry_run import PlannedRow; from tests.support.made_up import planned; "
        "row = PlannedRow(planned=planned(1, 'n_head=8'), seconds=None, group=None); "
        "standard_console().print(plan_table([row]))"
    )
    drawn = prepared(script, **ASCII)
    assert b"n_head=8" in drawn
    assert b"\\u" not in drawn
    assert "──" in prepared(script, PYTHONIOENCODING="utf-8").decode()


@pytest.mark.parametrize("arguments", [["--help"], ["data", "--data", "TEXT"]])
def test_a_full_disk_is_one_line_and_status_1(odd_file: Path, arguments: list[str]) -> None:
    command = [str(odd_file) if part == "TEXT" else part for part in arguments]
    with open("/dev/full", "w") as full:
        done = subprocess.run([*PROGRAM, *command], stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: standard output cannot be written (No space left")
    assert "Traceback" not in done.stderr


def test_a_reader_that_left_is_status_1_without_a_word() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*PROGRAM, "--help"], stdout=writer, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    os.close(writer)
    assert done.returncode == 1
    assert done.stderr == ""


def test_a_pipe_that_does_not_block_gets_everything() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    script = PREPARED + "print('x' * 1_000_000)"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=writer, cwd=ROOT)
    os.close(writer)
    with open(reader, "rb") as file:
        assert len(file.read()) == 1_000_001
    assert process.wait() == 0


def test_closed_streams_end_nothing_and_no_file_takes_their_place(odd_file: Path, tmp_path: Path) -> None:
    command = f'"{sys.executable}" -m gpt_experiments data --data "$0" <&- >&- 2>&-'
    assert subprocess.run(["sh", "-c", command, str(odd_file)], cwd=ROOT, check=False).returncode == 0
    script = PREPARED + f"file = open({str(tmp_path / 'new')!r}, 'w'); assert file.fileno() > 2; print('lost')"
    closed = ["sh", "-c", f'"{sys.executable}" -c "$0" <&- >&- 2>&-', script]
    assert subprocess.run(closed, cwd=ROOT, check=False).returncode == 0
    assert (tmp_path / "new").read_text() == ""


def test_a_console_of_windows_keeps_its_own_writer_and_a_file_there_does_not() -> None:
    script = (
        "import sys; from gpt_experiments.cli import streams; before = sys.stdout, sys.stderr; sys.platform = 'win32'; "
        "streams.prepare_streams(); sys.platform = 'linux'; print('━ 語', flush=True); "
        "sys.exit(10 * (sys.stdout is before[0]) + (sys.stderr is before[1]))"
    )
    master, slave = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", script], stdout=slave, stderr=subprocess.PIPE, cwd=ROOT, env=os.environ | ASCII
    )
    os.close(slave)
    shown = os.read(master, 100)
    os.close(master)
    assert (done.returncode, done.stderr) == (10, b"")
    assert shown.split() == [b"=", b"\\u8a9e"]


@pytest.mark.parametrize(
    ("environment", "redraws"),
    [
        ({}, True),
        ({"CI": "false"}, True),
        ({"NO_COLOR": "1"}, True),
        ({"CI": "true"}, False),
        ({"TERM": "dumb"}, False),
        ({"JPY_PARENT_PID": "1"}, False),
        ({"COLAB_RELEASE_TAG": "release"}, False),
    ],
)
def test_only_a_terminal_that_keeps_nothing_is_drawn_over(environment: dict[str, str], redraws: bool) -> None:
    script = PREPARED + "from gpt_experiments.cli.streams import can_redraw; sys.exit(can_redraw(sys.stdout))"
    assert run(sys.executable, "-c", script, FORCE_COLOR="1").returncode == 0, "a pipe is no terminal"
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "JPY_PARENT_PID")}
    master, slave = pty.openpty()
    environment = kept | {"TERM": "xterm"} | environment
    done = subprocess.run([sys.executable, "-c", script], stdout=slave, cwd=ROOT, env=environment, check=False)
    os.close(slave)
    os.close(master)
    assert done.returncode == int(redraws)
