import unicodedata
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from gpt_experiments.figures import style
from gpt_experiments.figures.characters import character_label, draw_labels, wrapped

CHARACTER_FONT = FontProperties(family=list(style.CHARACTER_FONTS))


@pytest.mark.parametrize(
    ("char", "label"),
    [
        ("a", "a"),
        ("é", "é"),
        ("$", "$"),
        ("\\", "\\"),
        (" ", "␣"),
        ("\n", r"\n"),
        ("\t", r"\t"),
        ("\r", r"\r"),
        ("\0", "U+0000"),
        ("\u00a0", "U+00A0"),  # a no-break space would look like nothing
        ("\u200b", "U+200B"),  # so would a zero-width one
        ("\u0301", "U+0301"),  # an accent would join its neighbour
        ("中", "U+4E2D"),  # no glyph
        ("\U00020000", "U+20000"),
        ("\ud800", "U+D800"),  # a lone surrogate
    ],
)
def test_character_label(char: str, label: str) -> None:
    assert character_label(char) == label


@settings(max_examples=100, deadline=None)
@given(st.characters())
def test_every_character_has_a_label_that_the_fonts_can_draw(char: str) -> None:
    label = character_label(char)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of a missing glyph
        outline = TextPath((0, 0), label, size=10, prop=CHARACTER_FONT)
    assert outline.get_extents().height > 0
    if char != " ":
        assert len(label) > 1 or unicodedata.category(label)[0] in "LNPS"


def test_text_with_anything_in_it_is_drawn_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    text = "a 中 $\\oops$ \0\n\u200b 😀 \U00020000 _{"
    figure = style.new_figure(600, 100)
    with style.figure_style():
        for line in wrapped(text, 580, style.TITLE_SIZE):
            figure.text(0, 0, line)
        draw_labels(figure, [character_label(c) for c in text], [(5, 5)] * len(text), size=8, anchor="middle")
        figure.canvas.draw()
    assert not recwarn.list


@pytest.mark.parametrize(
    "title",
    [
        "Attention in layer 4 of 4: n_head=8 n_layer=4 n_embed=64 dropout=0.1 block_size=128, seed 1337",
        "FIRST CITIZEN: BEFORE WE PROCEED ANY FURTHER, HEAR ME SPEAK",
        "a_name_without_any_space_that_is_longer_than_a_line_can_be_in_a_figure_of_this_width",
        "中文的標題也要能夠顯示出來",
    ],
)
def test_wrapped_lines_stay_within_the_width(title: str) -> None:
    lines = wrapped(title, 300, style.TITLE_SIZE)
    assert len(lines) > 1
    figure = style.new_figure(800, 100)
    with style.figure_style():
        texts = [figure.text(0, 0, line, size=style.TITLE_SIZE, weight="bold") for line in lines]
    assert all(text.get_window_extent().width <= 300 for text in texts)


def test_wrapping_keeps_the_words() -> None:
    assert " ".join(wrapped("First Citizen:\nBefore we proceed", 150, 12)) == "First Citizen: Before we proceed"
