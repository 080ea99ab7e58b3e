"""What a user sees of errors: one short paragraph, never a traceback, nothing that a library has to say."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from gpt_experiments.cli.faults import system_fault
from gpt_experiments.errors import one_line, without_secrets

ROOT = Path(__file__).parents[2]
RAISING = """
import sys
import gpt_experiments.cli as cli
sys.argv = ["gpt-experiments", "data"]
def fail(**options):
    {body}
cli.program.commands["data"].callback = fail
cli.main()
"""


def run(body: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The program, whose command `data` runs `body`."""
    environment = os.environ | {"TMPDIR": str(folder)} | environment
    command = [sys.executable, "-c", RAISING.format(body=body)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)


def test_a_bug_is_one_line_and_its_traceback_a_file(tmp_path: Path) -> None:
    done = run("raise KeyError('no such thing at http://me:s3cret@host' + 'x' * 5000)", tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: KeyError: 'no such thing at http://***@host")
    assert len(line) < 1300
    (file,) = tmp_path.iterdir()
    assert line.endswith(f"please report it with its traceback, {file}")
    traceback = file.read_text()
    assert "in fail" in traceback
    assert "s3cret" not in traceback
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_developer_sees_the_traceback(tmp_path: Path) -> None:
    done = run("raise KeyError('x')", tmp_path, GPT_EXPERIMENTS_DEBUG="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("body", ["raise TrackingError('x')", "raise OSError(28, 'x')", "raise MemoryError"])
def test_a_developer_sees_the_traceback_of_an_error_of_one_line_too(tmp_path: Path, body: str) -> None:
    done = run(f"from gpt_experiments.errors import TrackingError\n    {body}", tmp_path, GPT_EXPERIMENTS_DEBUG="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "in fail" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: ")


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("raise MemoryError", 1, "Error: there is not enough memory"),
        ("raise OSError(28, 'No space left on device')", 1, "Error: the system refused something (No space left on"),
        ("raise PermissionError(13, 'Permission denied', '/a/b')", 1, "Error: /a/b cannot be read or written"),
        ("raise KeyboardInterrupt", 130, "Interrupted."),
        ("def deeper(n): return deeper(n + 1)\n    deeper(0)", 1, "Error: RecursionError: maximum recursion depth"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", 130, "Interrupted."),
        ("import os, signal; os.kill(os.getpid(), signal.SIGHUP)", 130, "Interrupted."),
    ],
)
def test_each_end_is_one_line_and_its_status(tmp_path: Path, body: str, status: int, said: str) -> None:
    done = run(body, tmp_path)
    assert done.returncode == status
    (line,) = done.stderr.splitlines()
    assert line.startswith(said)


def test_an_interrupt_that_a_library_makes_another_error_of_is_an_interrupt(tmp_path: Path) -> None:
    body = (
        "import os, signal\n"
        "    try: os.kill(os.getpid(), signal.SIGINT)\n"
        "    except KeyboardInterrupt: raise ImportError('half loaded')"
    )
    done = run(body, tmp_path)
    assert (done.returncode, done.stderr) == (130, "")


def test_ctrl_c_while_the_program_is_loaded_is_no_traceback(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, *more):\n"
        "        if name == 'gpt_experiments.cli.sweep': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "from gpt_experiments.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (130, "")


def test_what_libraries_say_stays_off_the_screen_unless_a_developer_asks(tmp_path: Path) -> None:
    body = (
        "import warnings, logging, multiprocessing, subprocess, sys\n"
        "    warnings.warn('a warning', RuntimeWarning)\n"
        "    logging.getLogger('sqlalchemy.pool').error('a record')\n"
        "    subprocess.run([sys.executable, '-c', \"import warnings; warnings.warn('a child')\"])"
    )
    assert run(body, tmp_path).stderr == ""
    said = run(body, tmp_path, GPT_EXPERIMENTS_DEBUG="1").stderr
    assert "a warning" in said
    assert "a record" in said
    assert "a warning" in run(body, tmp_path, PYTHONWARNINGS="default").stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "seen"),
    [("", ""), ("GPT_EXPERIMENTS_DEBUG", "a warning a record"), ("MLFLOW_LOGGING_LEVEL", "a record")],
)
def test_workers_and_stores_show_what_a_developer_asks_for(tmp_path: Path, variable: str, seen: str) -> None:
    body = (
        "import logging, warnings\n"
        "    from gpt_experiments.quiet import quieten_worker\n"
        "    from gpt_experiments.tracking.connection import resolve_uri\n"
        f"    resolve_uri('sqlite:///{tmp_path}/mlflow.db')\n"
        "    quieten_worker()\n"
        "    logging.getLogger('mlflow').info('a record')\n"
        "    warnings.warn('a warning', RuntimeWarning)"
    )
    said = run(body, tmp_path, **({variable: "INFO"} if variable else {})).stderr
    assert ["a warning" in said, "a record" in said] == ["a warning" in seen, "a record" in seen]


def test_figures_need_no_backend_of_the_environment(tmp_path: Path) -> None:
    done = run("import gpt_experiments.figures", tmp_path, MPLBACKEND="module://not_here.backend_inline")
    assert done.returncode == 0, done.stderr


def test_a_paragraph_is_one_line_of_bounded_length_with_its_end() -> None:
    assert one_line("one\n  two\r\nthree\n") == "one two three"
    assert one_line("red\x1b[31m") == "red\\x1b[31m"
    long = one_line("x" * 5000 + "; choose y")
    assert len(long) <= 600
    assert long.endswith("; choose y")


def test_passwords_are_not_shown() -> None:
    assert without_secrets("at http://me:s3cret@host:5000/x") == "at http://***@host:5000/x"
    assert without_secrets("postgresql+psycopg://me:p@ss/wo:rd@host/db") == "postgresql+psycopg://***@host/db"
    assert without_secrets("http://host:5000/x") == "http://host:5000/x"
    assert without_secrets("sqlite:////tmp/a.db") == "sqlite:////tmp/a.db"


def test_a_fault_of_the_system_names_the_file_where_there_is_one() -> None:
    with pytest.raises(OSError, match="No such file") as caught, open(tempfile.gettempdir() + "/absent/file"):
        pass
    assert system_fault(caught.value).startswith(f"{tempfile.gettempdir()}/absent/file cannot be read or written (No")
    assert "timed out" in system_fault(TimeoutError("timed out"))
