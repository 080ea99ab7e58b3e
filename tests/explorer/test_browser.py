"""The page in a browser: what a person sees, hears, points at and types."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Frame, Page, expect

from gpt_experiments.explorer import explorer_page
from tests.explorer.conftest import TEXT, causal

pytestmark = pytest.mark.browser

SCORES = {"previous position": np.arange(6.0).reshape(3, 2) / 10, "induction": np.array([[1, 2], [np.nan, 4], [5, 12]])}
NAMES = [["", "previous character"], ["", ""], ["uniform", ""]]


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A page in a browser, and what it complained of or asked the network for."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Any]:
    """Opens a page from a file; afterwards nothing may have been complained of, and nothing asked for but that file."""
    opened: list[Opened] = []

    def open_one(content: str, **context: Any) -> Page:
        path = tmp_path / f"{len(opened)}.html"
        path.write_text(content, encoding="utf-8")
        one = Opened(page=browser.new_context(**context).new_page())
        one.page.set_default_timeout(5000)
        one.page.on("console", lambda message: one.complaints.append(message.text))
        one.page.on("pageerror", lambda error: one.complaints.append(str(error)))
        one.page.on("request", lambda request: one.requests.append(request.url))
        one.page.goto(path.as_uri())
        opened.append(one)
        return one.page

    yield open_one
    for i, one in enumerate(opened):
        assert one.complaints == []
        assert [url for url in one.requests if not url.startswith("data:")] == [(tmp_path / f"{i}.html").as_uri()]
        one.page.context.close()


@pytest.fixture(scope="session")
def content(maps: NDArray[np.float32]) -> str:
    return explorer_page(maps, TEXT, title="tiny: attention", scores=SCORES, head_names=NAMES, scores_note="Noted.")


def character(page: Page | Frame, position: int) -> Any:
    return page.locator(f'.character[data-position="{position}"]')


def says_the_five_strongest(page: Page | Frame, weights: NDArray[np.floating[Any]], first: int = 0) -> None:
    """`weights` (n,) are those of the characters from `first` on; the list shows the five largest of them."""
    entries = [entry.split("\n") for entry in page.locator("#top li").all_inner_texts()]
    assert len(entries) == min(5, len(weights))
    largest = np.sort(weights)[::-1]
    for (name, value), expected in zip(entries, largest, strict=False):
        position = int(name.rpartition(" at ")[2])
        mark = {" ": "␣", "\n": r"\n"}.get(TEXT[position], TEXT[position])
        assert name == f"‘{mark}’ at {position}"
        # Within the rounding that the page states, and that of the digits shown.
        digits = 5e-3 if expected >= 0.1 else 5e-4
        shown = float(value.removeprefix("<"))
        assert shown == pytest.approx(float(weights[position - first]), abs=0.004 + digits + 1e-6)
        assert shown == pytest.approx(float(expected), abs=0.004 + digits + 1e-6)


def test_pointing_at_a_character_shows_what_it_looks_at(open_page: Any, content: str, maps: NDArray[Any]) -> None:
    page = open_page(content)
    for layer, head in ((0, 0), (1, 1), (2, 0)):
        page.get_by_role("gridcell", name=re.compile(f"^Layer {layer + 1} head {head + 1}")).click()
        expect(page.locator("#layer")).to_have_value(str(layer))
        for query in (0, 3, 14, len(TEXT) - 1):
            character(page, query).hover()
            expect(page.locator("#subject")).to_have_text(re.compile(rf" at {query} looks at$"))
            says_the_five_strongest(page, maps[layer, head, query, : query + 1])
    page.get_by_label("Layer", exact=True).select_option("2")
    page.get_by_label("Head", exact=True).select_option("mean over heads")
    character(page, 20).hover()
    says_the_five_strongest(page, maps[1, :, 20, :21].mean(axis=0))
    assert page.locator("#head-label").inner_text() == "Layer 2 mean over heads"


def test_what_looks_at_a_character(open_page: Any, content: str, maps: NDArray[Any]) -> None:
    page = open_page(content)
    page.get_by_label("What looks at it").check()
    character(page, 6).hover()
    expect(page.locator("#subject")).to_have_text("‘M’ at 6 is looked at by")
    says_the_five_strongest(page, maps[0, 0, 6:, 6], first=6)
    assert "capital M at 6 is looked at by" in page.locator("#map").get_attribute("aria-label")


def test_shading_is_by_weight_and_every_character_stays_readable(open_page: Any, content: str) -> None:
    for scheme in ("light", "dark"):
        page = open_page(content, color_scheme=scheme)
        page.emulate_media(reduced_motion="reduce")
        for relative in (False, True):
            page.locator("#relative").set_checked(relative)
            character(page, 22).click()
            page.mouse.move(0, 0)
            assert page.evaluate(CONTRASTS) >= 4.5
        weights, luminances = page.evaluate(SHADES)
        order = np.argsort(weights)
        steps = np.diff(np.array(luminances)[order])
        assert (steps >= -0.01).all() if scheme == "dark" else (steps <= 0.01).all()


# The least contrast of any character with what is behind it (WCAG 2.2), and each seen character's weight and shade.
_LUMINANCE = """
const parts = (colour) => (colour.match(/[\\d.]+/g) ?? []).map(Number);
const luminance = (colour) => {
  const [r, g, b] = parts(colour).map((c) => (c / 255 <= 0.04045 ? c / 3294.6 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (cell) => {
  const own = getComputedStyle(cell).backgroundColor;
  return parts(own)[3] === 0 ? getComputedStyle(document.querySelector("#reading")).backgroundColor : own;
};
const cells = [...document.querySelectorAll(".character")];
"""
CONTRASTS = f"""() => {{{_LUMINANCE}
  return Math.min(...cells.map((cell) => {{
    const [a, b] = [luminance(getComputedStyle(cell).color), luminance(behind(cell))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  }}));
}}"""
SHADES = f"""() => {{{_LUMINANCE}
  const numbers = Object.fromEntries([...document.querySelectorAll("#top li")].map((entry) => {{
    const [name, value] = entry.innerText.split("\\n");
    return [name.split(" at ").pop(), Number(value)];
  }}));
  const shown = cells.filter((cell) => cell.dataset.position in numbers);
  return [shown.map((cell) => numbers[cell.dataset.position]), shown.map((cell) => luminance(behind(cell)))];
}}"""


def test_keys_move_through_text_layers_and_heads(open_page: Any, content: str, maps: NDArray[Any]) -> None:
    page = open_page(content)
    last = len(TEXT) - 1
    page.keyboard.press("Tab")  # layer
    page.keyboard.press("Tab")  # head
    page.keyboard.press("Tab")  # the chosen head's small map
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Layer 1 head 1"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Layer 2 head 2"
    page.keyboard.press("Tab")  # direction
    page.keyboard.press("Tab")  # the one character of the text that takes focus
    expect(character(page, last)).to_be_focused()
    steps = {"ArrowLeft": last - 1, "Home": 0, "ArrowRight": 1, "ArrowDown": 15, "ArrowUp": 1, "End": last}
    for key, position in steps.items():
        page.keyboard.press(key)
        expect(character(page, position)).to_be_focused()
        assert page.locator(".character[tabindex='0']").count() == 1
        assert page.locator(".character[aria-selected='true']").get_attribute("data-position") == str(position)
    page.keyboard.press("ArrowRight")  # there is nothing further
    expect(character(page, last)).to_be_focused()
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Shift+ArrowLeft")
    expect(page.locator("#head-label")).to_have_text("Layer 3 head 1")
    expect(character(page, last)).to_be_focused()
    says_the_five_strongest(page, maps[2, 0, last])
    page.keyboard.press("d")
    expect(page.get_by_label("What looks at it")).to_be_checked()
    says_the_five_strongest(page, maps[2, 0, last:, last], first=last)


def test_text_that_scrolls_below_a_resting_pointer_is_not_pointed_at(open_page: Any, content: str) -> None:
    page = open_page(content)
    # What a browser sends of itself once the page has moved: the pointer's old place, over another character.
    send = """(position) => document.querySelector(`[data-position="${position}"]`).dispatchEvent(
      new PointerEvent("pointermove", { bubbles: true, pointerType: "mouse", screenX: 300, screenY: 200 }))"""
    page.evaluate(send, 4)
    expect(page.locator("#subject")).to_contain_text("at 4")
    character(page, 9).focus()
    page.keyboard.press("End")
    page.evaluate(send, 7)
    expect(page.locator("#subject")).to_contain_text(f"at {len(TEXT) - 1}")


def test_what_is_chosen_is_said(open_page: Any, content: str, maps: NDArray[Any]) -> None:
    page = open_page(content)
    said = page.locator("[aria-live=polite]")
    character(page, 14).click()
    strongest = int(maps[0, 0, 14, :15].argmax())
    weight = maps[0, 0, 14, strongest]
    expect(said).to_have_text(re.compile(r"^Layer 1 head 1: capital B at 14 looks at (\w+ )+at \d+ [\d.]+(, |$)"))
    found = re.findall(r" at (\d+) (<?[\d.]+)", said.inner_text().partition("looks at")[2])
    assert len(found) == 5
    assert int(found[0][0]) == strongest
    assert float(found[0][1]) == pytest.approx(weight, abs=0.01)
    character(page, 13).click()
    expect(said).to_have_text(re.compile("newline at 13 looks at"))
    page.keyboard.press("Shift+ArrowRight")
    expect(said).to_have_text(re.compile("^Layer 1 head 2: newline at 13"))


def test_leaving_the_text_returns_to_the_character_that_was_clicked(open_page: Any, content: str) -> None:
    page = open_page(content)
    character(page, 9).click()
    character(page, 20).hover()
    expect(page.locator("#subject")).to_contain_text("at 20")
    page.mouse.move(2, 2)
    expect(page.locator("#subject")).to_contain_text("at 9")


def test_the_map_reads_a_single_weight(open_page: Any, content: str, maps: NDArray[Any]) -> None:
    page = open_page(content)
    drawn = page.locator("#map")
    cell = (drawn.bounding_box()["width"] - 44 - 2) / len(TEXT)  # beside the labels and a narrow margin

    def place(query: int, key: int) -> dict[str, float]:
        return {"x": 44 + (key + 0.5) * cell, "y": 2 + (query + 0.5) * cell}

    for query, key in ((20, 4), (7, 7), (25, 0)):
        drawn.hover(position=place(query, key))
        value = page.locator("#cell").inner_text()
        assert f"at {query} → " in value
        assert f"at {key}: " in value
        assert float(value.rpartition(": ")[2].lstrip("<")) == pytest.approx(maps[0, 0, query, key], abs=0.01)
    drawn.hover(position=place(3, 20))
    assert page.locator("#cell").inner_text().endswith("the future, which it does not see")
    drawn.click(position=place(11, 0))
    page.mouse.move(2, 2)
    expect(page.locator("#subject")).to_contain_text("at 11")


def test_scores_and_names_stand_beside_the_chosen_head(open_page: Any, content: str) -> None:
    page = open_page(content)
    page.get_by_role("gridcell", name="Layer 1 head 2, previous character").click()
    expect(page.locator("#head-name")).to_have_text("previous character")
    assert page.locator("#scores dt").all_inner_texts() == ["previous position", "induction"]
    assert page.locator("#scores dd").all_inner_texts() == ["0.10", "2.00"]
    assert "Noted." in page.locator("#scores-note").inner_text()
    page.get_by_role("gridcell", name="Layer 2 head 1").click()
    assert page.locator("#scores dd").all_inner_texts() == ["0.20", "not measured"]
    page.get_by_role("gridcell", name="Layer 2 mean over heads").click()
    expect(page.locator("#scores")).to_be_hidden()


def test_a_sandboxed_frame_is_enough(open_page: Any, content: str, maps: NDArray[Any]) -> None:
    frame = f'<iframe sandbox="allow-scripts" srcdoc="{html.escape(content)}" width="900" height="900"></iframe>'
    page = open_page(f"<!doctype html><link rel='icon' href='data:,'>{frame}")
    inside = page.frames[1]
    inside.get_by_role("gridcell", name="Layer 3 head 2").click()
    character(inside, 10).click()
    says_the_five_strongest(inside, maps[2, 1, 10, :11])
    expect(inside.locator("#says")).to_have_text(re.compile("^Layer 3 head 2: e at 10"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_scheme_and_print_is_light(open_page: Any, content: str, scheme: str) -> None:
    page = open_page(content, color_scheme=scheme)
    corner = """() => {
      const copy = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
      copy.drawImage(document.querySelector("#grid canvas"), 0, 0);
      return [...copy.getImageData(5, 0, 1, 1).data];
    }"""
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(244, 245, 247)" if scheme == "light" else "rgb(15, 18, 22)")
    future = [230, 232, 235, 255] if scheme == "light" else [43, 49, 58, 255]
    assert page.evaluate(corner) == future
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(corner) == [230, 232, 235, 255]
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(corner) == future


@pytest.mark.parametrize(("n_layer", "n_head", "length"), [(1, 1, 1), (4, 8, 32), (2, 16, 60), (6, 6, 256)])
def test_nothing_is_wider_than_a_small_screen(open_page: Any, n_layer: int, n_head: int, length: int) -> None:
    text = ("A long speech:\nsupercalifragilisticexpialidocious " * length)[:length]
    content = explorer_page(causal(n_layer, n_head, length), text, title="averyveryverylongtitle" * 4)
    page = open_page(content, viewport={"width": 360, "height": 700}, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.locator("[role=gridcell]").first.bounding_box()["width"] >= 24
    character(page, 0).tap()
    expect(page.locator("#subject")).to_have_text("‘A’ at 0 looks at")
    assert page.locator("#top").inner_text().split("\n") == ["‘A’ at 0", "1.00"]
    map_box, panel = page.locator("#map").bounding_box(), page.locator("#whole").bounding_box()
    assert map_box["x"] + map_box["width"] <= panel["x"] + panel["width"]


def test_unusual_characters_are_shown_as_themselves_or_by_their_code_point(open_page: Any) -> None:
    text = "</script>\t\"'&🎭e\u0301\u00ad中"
    page = open_page(explorer_page(causal(1, 2, len(text)), text, title="<i>&amp;</i>"))
    assert page.locator("h1").inner_text() == "<i>&amp;</i>"
    expected = [*"</script>", r"\t", '"', "'", "&", "🎭", "e", "◌\u0301", "U+00AD", "中"]
    assert page.locator(".character").all_inner_texts() == expected
    character(page, 13).click()
    expect(page.locator("#subject")).to_have_text("‘🎭’ at 13 looks at")
