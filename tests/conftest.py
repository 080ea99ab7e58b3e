"""Fixtures that every part's tests share: a generated corpus, and the real one where it is at hand."""

from __future__ import annotations

import gc
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gpt_experiments.corpus import Corpus
from gpt_experiments.corpus.sources import load_corpus
from gpt_experiments.quiet import let_threads_sleep

if TYPE_CHECKING:
    from playwright.sync_api import Browser

let_threads_sleep()  # before the first test loads PyTorch, since tests run beside one another
gc.set_threshold(100_000, 50, 100)  # as the program does, since much is loaded that stays

_SYLLABLES = tuple("ba be co da el fa gr ho in ke lo ma ne os pe qu ra st ta ul ve wy xa yo ze".split())
_SPEAKERS = ("First Miller", "ANSELM", "KEZIA", "JOVAN", "Brick Layer")


def generated_text(n_chars: int, seed: int = 0) -> str:
    """English-like text of `n_chars` characters or a few more: speeches of short punctuated sentences.

    A model learns something from it within some dozens of steps, because words repeat with unequal frequencies.
    """
    rng = np.random.default_rng(seed)
    words = ["".join(rng.choice(_SYLLABLES, size=rng.integers(1, 4))) for _ in range(200)]
    frequencies = 1 / np.arange(1, len(words) + 1)
    frequencies /= frequencies.sum()
    speeches: list[str] = []
    length = 0
    while length < n_chars:
        lines = []
        for _ in range(rng.integers(1, 5)):
            line = " ".join(rng.choice(words, size=rng.integers(4, 9), p=frequencies))
            lines.append(line[0].upper() + line[1:] + rng.choice([",", ".", ";", "!", "?", ":"]))
        speeches.append(f"{rng.choice(_SPEAKERS)}:\n" + "\n".join(lines) + "\n\n")
        length += len(speeches[-1])
    return "".join(speeches)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: with several processes, a long file that begins last keeps one of them alone."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="session", autouse=True)
def _unwritten_place(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What a test's store does not take waits in a folder of the tests, not in the user's."""
    os.environ["GPT_EXPERIMENTS_UNWRITTEN_DIR"] = str(tmp_path_factory.mktemp("unwritten"))


@pytest.fixture(scope="session")
def text() -> str:
    """About 40,000 generated characters with newlines, capitals and punctuation."""
    return generated_text(40_000)


@pytest.fixture(scope="session")
def corpus(text: str) -> Corpus:
    """The generated text as a corpus."""
    return Corpus.from_text(text, name="generated")


@pytest.fixture(scope="session")
def _empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables and nothing in them; making one takes seconds, copying it nothing."""
    from gpt_experiments.tracking import Store

    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    Store(f"sqlite:///{file}", "made-by-the-template")
    return file


@pytest.fixture
def store_uri(_empty_store: Path, tmp_path: Path) -> str:
    """The address of a fresh SQLite store, `mlflow.db` in the test's own folder."""
    shutil.copy(_empty_store, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, started once."""
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("Chromium is not installed; with Debian's package manager: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def shakespeare(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Tiny Shakespeare itself, where `$GPT_EXPERIMENTS_DATA_DIR` holds it; nothing is downloaded for a test."""
    folder = os.environ.get("GPT_EXPERIMENTS_DATA_DIR")
    path = Path(folder) / "tiny_shakespeare.txt" if folder else None
    if path is None or not path.is_file():
        pytest.skip("Tiny Shakespeare is not at hand; set GPT_EXPERIMENTS_DATA_DIR to the folder that holds it")
    return load_corpus(env={"GPT_EXPERIMENTS_DATA_DIR": str(folder)}, cwd=tmp_path_factory.mktemp("empty"))
