"""`--json` itself: errors, encodings, streams, and what else is printed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from gpt_experiments.cli.json_output import Answer, json_option, print_object
from gpt_experiments.corpus import Corpus
from gpt_experiments.tracking import Store
from tests.support.json_page import answer, run
from tests.support.stores import add_run


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["sweep", "gird"], 2, "grid"),
        (["sweep"], 2, "Missing argument"),
        (["sweep", "quick", "--workers", "0"], 2, "workers must be at least 1"),
        (["train", "--steps", "many"], 2, "Invalid value for '--steps'"),
        (["train", "--stepps", "3"], 2, "No such option"),
        (["train", "more"], 2, "unexpected extra argument"),
        (["data", "--data", "absent.txt"], 1, "absent.txt"),
        (["report", "--tracking-uri", "sqlite:///absent.db"], 1, "there is nothing to report"),
        (["generate", "nothing"], 1, "is no model"),
    ],
)
def test_an_error_is_an_object_and_a_line(
    arguments: list[str], status: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with_json, without = run(*arguments, "--json"), run(*arguments)
    error = answer(with_json)
    assert error["command"] == arguments[0]
    assert said in error["error"]["message"]
    assert (with_json.exit_code, without.exit_code, without.stdout) == (status, status, "")
    assert with_json.stderr == without.stderr
    assert f"Error: {error['error']['message']}" in without.stderr


def test_a_bug_and_an_interrupt_are_objects_too(tmp_path: Path) -> None:
    for body, status, said in (
        ("raise ZeroDivisionError('never')", 1, "ZeroDivisionError: never. This is a bug"),
        ("raise KeyboardInterrupt", 130, "Interrupted."),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", 130, "Interrupted."),
    ):
        script = (
            "import sys; sys.argv[1:] = ['data', '--json']\n"
            "import gpt_experiments.cli as cli\n"
            f"def fail(*_):\n    {body}\n"
            "sys.modules['gpt_experiments.cli.data'].open_corpus = fail\n"
            "cli.main()\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"TMPDIR": str(tmp_path)},
        )
        assert done.returncode == status
        error = json.loads(done.stdout)["error"]
        assert error["message"].startswith(said)
        assert error["exit_status"] == status


def test_an_object_is_utf_8_whatever_the_encoding_and_the_name_of_the_file(tmp_path: Path, text: str) -> None:
    path = os.fsencode(tmp_path) + "/naïve 語 caf".encode() + b"\xe9.txt"
    Path(os.fsdecode(path)).write_text(text, encoding="utf-8")
    for encoding in ("ascii", "latin-1", "utf-8"):
        done = subprocess.run(
            [sys.executable, "-m", "gpt_experiments", "data", "--json", "--data", path],
            capture_output=True,
            check=True,
            env=os.environ | {"PYTHONIOENCODING": encoding},
        )
        assert os.fsencode(json.loads(done.stdout.decode("utf-8"))["path"]) == path
        assert "naïve 語".encode() in done.stdout


def test_a_full_disk_is_said_and_a_gone_reader_is_not(tmp_path: Path, text: str) -> None:
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "gpt_experiments", "data", "--json", "--data", str(tmp_path / "text.txt")]
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, "standard output cannot be written" in done.stderr) == (1, True)
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, "Error" in done.stderr) == (1, False)


def test_what_a_command_prints_on_its_way_never_meets_the_object(capfd: pytest.CaptureFixture[str]) -> None:
    @click.command()
    @json_option
    def talk() -> Answer:
        click.echo("on the way")
        print("of a library")
        return Answer(fields={"loss": float("nan"), "more": {"x": (1, float("inf"))}, "path": Path("a")}, exit_status=1)

    result = CliRunner().invoke(talk, ["--json"])
    assert result.stderr == "on the way\nof a library\n"
    assert answer(result)["more"] == {"x": [1, None]}
    assert (answer(result)["loss"], answer(result)["path"]) == (None, os.path.abspath("a"))
    assert CliRunner().invoke(talk, []).stdout == "on the way\nof a library\n"
    with pytest.raises(TypeError, match="not JSON serializable"):
        print_object("talk", {"what": object()})
    assert capfd.readouterr().out == ""


@pytest.mark.filterwarnings("ignore:Query string argument")
def test_a_store_with_a_password_does_not_show_it(store_uri: str, corpus: Corpus, tmp_path: Path) -> None:
    """SQLite takes no password, but ignores what it does not know in the address."""
    add_run(Store(store_uri), corpus, 2.0)
    (tmp_path / "text.txt").write_text(corpus.text[:3000], encoding="utf-8")
    (tmp_path / "tiny.yaml").write_text("name: tiny\nmethod: grid\nbaseline: {block_size: 16}\nlevels: {n_head: [2]}\n")
    where = ("--data", tmp_path / "text.txt", "--executor", "inline", "--timeout", 1e-9, "--json")
    result = run("sweep", tmp_path / "tiny.yaml", *where, "--tracking-uri", f"{store_uri}?password=s3cret")
    assert answer(result)["tracking_uri"].endswith("?password=***")
    assert "s3cret" not in result.output
