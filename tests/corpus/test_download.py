"""One file from the web: all of it, or an error that says why not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from gpt_experiments.corpus.sources import fetch
from gpt_experiments.errors import CorpusError


def test_a_page_comes_whole_and_its_progress_is_reported(website: SimpleNamespace) -> None:
    website.pages["/text"] = page = bytes(range(256)) * 1000
    reported: list[tuple[int, int | None]] = []

    assert fetch(website.url + "/text", lambda done, total: reported.append((done, total))) == page
    assert reported == sorted(reported)
    assert len(reported) > 1
    assert reported[-1] == (len(page), len(page))


def test_a_connection_that_breaks_off_is_an_error(website: SimpleNamespace) -> None:
    website.pages["/text"] = b"x" * 200_000
    website.broken.add("/text")

    with pytest.raises(CorpusError, match="/text cannot be fetched: it broke off after 100,000 of 200,000 bytes"):
        fetch(website.url + "/text")


def test_a_page_without_end_is_an_error(website: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    website.pages["/text"] = b"x" * 2_000_000
    monkeypatch.setattr("gpt_experiments.corpus.sources.MAX_CORPUS_BYTES", 1_000_000)

    with pytest.raises(CorpusError, match=r"/text cannot be fetched: it has no end after 1,\d\d\d,\d\d\d bytes"):
        fetch(website.url + "/text")


def test_a_server_that_refuses_is_an_error(website: SimpleNamespace) -> None:
    with pytest.raises(CorpusError, match="/none cannot be fetched: the server answered 404 Not Found"):
        fetch(website.url + "/none")


def test_a_server_that_cannot_be_reached_is_an_error(closed_url: str) -> None:
    with pytest.raises(CorpusError, match=r"input.txt cannot be fetched: .*refused"):
        fetch(closed_url)
