"""The page as a file: its size, what it carries, and that no text can break out of it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gpt_experiments.explorer import explorer_page
from gpt_experiments.explorer.page import PAGE_LIMIT
from tests.explorer.conftest import TEXT, causal, data_of, maps_of

HOSTILE = "</script><script>alert(1)</script>&\"'\t\r\\ \u2028<!--🎭 e\u0301中"


class Elements(HTMLParser):
    """The tags of a page, and the text of each script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))


def test_weights_come_back_within_the_rounding_that_the_page_states(maps: NDArray[np.float32]) -> None:
    page = explorer_page(maps, TEXT, title="title")
    assert "within 0.004 of the model’s own, and below 0.01 within 0.0004" in page
    found = maps_of(page)
    assert data_of(page)["text"] == TEXT
    assert np.abs(found - maps).max() <= 0.004
    small = maps < 0.01
    assert small.any()
    assert np.abs(found - maps)[small].max() <= 0.0004


@given(weight=st.floats(0, 1))
def test_no_weight_is_rounded_further_than_is_stated(weight: float) -> None:
    page = explorer_page(np.array([[[[1.0, 0.0], [1 - weight, weight]]]]), "ab", title="t")
    found = maps_of(page)[0, 0, 1, 1]
    assert abs(found - weight) <= np.sqrt(weight) / 255 + 4e-6
    assert (found > 0) or weight < 4e-6


@pytest.mark.parametrize(("n_layer", "n_head", "length"), [(4, 4, 128), (6, 6, 256), (1, 1, 1500), (24, 24, 64)])
def test_a_page_stays_under_its_limit_and_says_where_the_text_is_cut(n_layer: int, n_head: int, length: int) -> None:
    maps = causal(n_layer, n_head, length)
    text = ("<🎭 a\n" * length)[:length]  # characters that need several bytes in the page
    scores = {"one": np.full((n_layer, n_head), 1 / 3), "other": np.full((n_layer, n_head), 12345.678)}
    page = explorer_page(maps, text, title="title", scores=scores, head_names=[["own word"] * n_head] * n_layer)
    assert len(page.encode()) <= PAGE_LIMIT
    shown = len(data_of(page)["text"])
    assert data_of(page)["text"] == text[:shown]
    assert np.abs(maps_of(page) - maps[..., :shown, :shown]).max() <= 0.004
    if shown < length:
        assert f"the first {shown:,} of {length:,} characters are shown" in page
        assert len(page.encode()) > 0.97 * PAGE_LIMIT  # no more is cut than has to be
    else:
        assert "The text is cut" not in page
    assert (shown == length) == ((n_layer, n_head, length) == (4, 4, 128))


def test_what_fits_no_page_is_refused() -> None:
    with pytest.raises(ValueError, match="not even one character of 'abc'"):
        explorer_page(causal(1, 1, 3), "abc", title="t" * PAGE_LIMIT)


@pytest.mark.parametrize("text", [HOSTILE, "]]>", "\x00\x01\u202e", "\ud800"])
def test_no_text_or_name_breaks_out_of_the_page(text: str) -> None:
    title = f"<b>{HOSTILE}"
    names = [[HOSTILE]]
    scores = {HOSTILE: np.ones((1, 1))}
    maps = causal(1, 1, len(text))
    page = explorer_page(maps, text, title=title, scores=scores, head_names=names, scores_note=f"<i>{HOSTILE}")
    plain = explorer_page(causal(1, 1, 3), "abc", title="plain")
    assert [tag for tag, _ in Elements(page).tags] == [tag for tag, _ in Elements(plain).tags]
    assert data_of(page)["text"] == text
    assert data_of(page)["names"] == names
    assert data_of(page)["scores"][0]["name"] == HOSTILE


@settings(max_examples=50, deadline=None)
@given(text=st.text(min_size=1, max_size=12), title=st.text(max_size=20))
def test_any_text_comes_back_whole(text: str, title: str) -> None:
    page = explorer_page(causal(1, 2, len(text)), text, title=title)
    assert data_of(page)["text"] == text


def test_the_page_names_no_other_resource() -> None:
    page = explorer_page(causal(2, 2, 5), "abcde", title="title")
    assert not re.search(r"(https?:)?//[a-z]|@import|url\(", re.sub(r"// .*", "", page))
    for tag, attributes in Elements(page).tags:
        assert tag not in {"img", "iframe", "object", "embed", "base", "form"}
        assert attributes.get("href", "data:,") == "data:,"
        assert "src" not in attributes
        assert not [name for name in attributes if name.startswith("on")]


def test_scores_and_names_are_carried_and_what_was_not_measured_is_null() -> None:
    scores = {"entropy": np.array([[0.123456, np.nan]]), "lift": np.array([[12.0, np.inf]])}
    page = explorer_page(causal(1, 2, 4), "abcd", title="t", scores=scores, head_names=[["uniform", ""]])
    assert data_of(page)["scores"] == [
        {"name": "entropy", "values": [[0.1235, None]]},
        {"name": "lift", "values": [[12.0, None]]},
    ]
    assert data_of(page)["names"] == [["uniform", ""]]
    assert data_of(explorer_page(causal(1, 2, 4), "abcd", title="t"))["names"] == [["", ""]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": "abc"}, r"\(n_layer, n_head, 3, 3\).*shape is \(1, 2, 4, 4\)"),
        ({"maps": causal(1, 2, 4)[0]}, r"\(n_layer, n_head, 4, 4\)"),
        ({"maps": np.zeros((1, 0, 4, 4))}, "not empty"),
        ({"maps": np.full((1, 2, 4, 4), 0.25)}, "looks at its future"),
        ({"maps": 2 * np.tril(np.ones((1, 2, 4, 4)))}, r"from 0 to 1, but are from 0\.0 to 2\.0"),
        ({"maps": np.tril(np.full((1, 2, 4, 4), np.nan))}, "from 0 to 1"),
        ({"scores": {"x": np.zeros((2, 1))}}, r"'x' must have the shape \(1, 2\)"),
        ({"head_names": [["a"]]}, "name 1 layers of 2 heads"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"maps": causal(1, 2, 4), "text": "abcd", "title": "t"} | changes
    with pytest.raises(ValueError, match=message):
        explorer_page(given.pop("maps"), given.pop("text"), **given)
