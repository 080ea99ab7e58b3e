"""How a corpus's characters are shown in a figure: any character at all, many of them, and fast."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Final, Literal

from matplotlib import font_manager
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

from gpt_experiments.figures import style

ADVANCE: Final = 0.602  # of every character of DejaVu Sans Mono, in ems
CAP_HEIGHT: Final = 0.73  # of both fonts, in ems

Anchor = Literal["left", "middle", "right", "hanging"]

_NAMED: Final = {" ": "␣", "\n": r"\n", "\t": r"\t", "\r": r"\r"}


def character_label(char: str) -> str:
    r"""How one character is written on an axis.

    A space is `␣`; a newline, tab and carriage return are `\n`, `\t` and `\r`; what leaves no ink, joins to its
    neighbour, or has no glyph in the fonts that come with matplotlib is its code point, as `U+4E2D`.
    """
    return _NAMED.get(char) or (char if _has_glyph(char) else f"U+{ord(char):04X}")


def wrapped(text: str, width: float, size: float) -> list[str]:
    """`text` in lines that stay within `width` pixels at a font size of `size` points.

    Every white space is a space, and what the fonts cannot draw is its code point.
    """
    drawable = "".join(c if c == " " else character_label(c) for c in " ".join(text.split()))
    widest_usual = 0.76 * em(size)  # a bold capital or digit of DejaVu Sans, in the mean
    return textwrap.wrap(drawable, max(1, int(width / widest_usual))) or [""]


def em(size: float) -> float:
    """The pixels of a font size in points."""
    return size * style.DPI / 72


def draw_labels(figure: Figure, labels: Sequence[str], places: Sequence[tuple[float, float]], *, size: float,
                anchor: Anchor, colours: str | Sequence[str] = style.INK) -> None:  # fmt: skip
    """Short labels, each at its place in pixels, in the font for characters, in one colour or each in its own.

    `anchor` says which point of a label lies there: the left, middle or right of its baseline, or, `hanging`, the end
    of a label that is turned to read upwards.
    """
    # Outlines in one collection: hundreds of text objects would take most of the time of drawing a figure.
    pixels = style.pixels(figure)
    collection = PathCollection(
        [_outline(label, size, anchor) for label in labels],
        offsets=places,
        offset_transform=pixels,
        facecolors=colours,
        linewidths=0,
        snap=False,  # moving outlines to whole pixels loses the dots of i and j
    )
    collection.set_transform(pixels)
    collection.set_label(" ".join(labels))
    figure.add_artist(collection)


@lru_cache(maxsize=2048)
def _outline(label: str, size: float, anchor: Anchor) -> Path:
    """The outline of a label in pixels, with its anchor at the origin."""
    path = TextPath((0, 0), label, size=em(size), prop=_character_font())
    bounds = path.get_extents()
    if anchor == "hanging":
        return path.transformed(Affine2D().translate(-bounds.x1, -CAP_HEIGHT / 2 * em(size)).rotate_deg(90))
    lift = 0.2 * em(size) if label == "␣" else 0.0  # its glyph lies so low that it seems to belong to the next row
    shift = {"left": 0.0, "middle": -(bounds.x0 + bounds.x1) / 2, "right": -bounds.x1}[anchor]
    return path.transformed(Affine2D().translate(shift, lift))


@cache
def _character_font() -> FontProperties:
    return FontProperties(family=list(style.CHARACTER_FONTS))


def _has_glyph(char: str) -> bool:
    # Categories M (combining), C (control, unassigned) and Z (separators) draw nothing that can be recognised alone.
    return unicodedata.category(char)[0] not in "MCZ" and ord(char) in _code_points()


@cache
def _code_points() -> frozenset[int]:
    """What the fonts can draw."""
    fonts = (font_manager.get_font(font_manager.findfont(name)) for name in style.CHARACTER_FONTS)
    return frozenset(code for font in fonts for code in font.get_charmap())
