"""The look that all figures share: colours, sizes, fonts, and how a figure becomes a PNG.

Figures are made without pyplot, so that drawing leaves nothing behind in the process, and under `figure_style`, so
that a user's own matplotlib settings do not change them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import matplotlib
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.transforms import Affine2D, Transform

DPI: Final = 100
"""Pixels per inch of every PNG; sizes of figures are given in pixels at this resolution."""

# Okabe and Ito (2008), "Color universal design": distinguishable with every common form of colour-blindness.
BLUE: Final = "#0072B2"
VERMILLION: Final = "#D55E00"
GREEN: Final = "#009E73"
PURPLE: Final = "#CC79A7"
ORANGE: Final = "#E69F00"
SKY: Final = "#56B4E9"
INK: Final = "#222222"
MUTED: Final = "#666666"
FAINT: Final = "#E3E3E3"

SERIES: Final = ((BLUE, "o"), (VERMILLION, "s"), (GREEN, "^"), (PURPLE, "D"), (ORANGE, "v"), (SKY, "P"))
"""Colours and markers of a figure's curves; see `series`."""

TITLE_SIZE: Final = 12.0  # points, as all font sizes
LABEL_SIZE: Final = 10.0
TICK_SIZE: Final = 8.0

EDGE: Final = 14  # pixels between the outermost text and the figure's edge
TITLE_LINE: Final = 21  # pixels from one line of a title to the next

# Both come with matplotlib, so they are always there; the second is used for what the first lacks. A single
# character is best set in the monospaced one, where I, l and | differ.
TEXT_FONTS: Final = ("DejaVu Sans", "DejaVu Sans Mono")
CHARACTER_FONTS: Final = TEXT_FONTS[::-1]

_STYLE: Final = {
    "font.family": list(TEXT_FONTS),
    "font.size": LABEL_SIZE,
    "text.color": INK,
    "text.parse_math": False,  # a title or a label may hold dollar signs
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
}
_USUAL_LABEL: Final = 24  # characters
_COMPRESSION: Final = 3  # of 9: the default, 6, takes half as long again to save a quarter of the bytes


@contextmanager
def figure_style() -> Iterator[None]:
    """In the block, matplotlib uses its defaults with this module's changes, not the user's settings."""
    with matplotlib.style.context(["default", _STYLE]):
        yield


def new_figure(width: int, height: int) -> Figure:
    """An empty figure of `width` by `height` pixels, known to no part of matplotlib's global state."""
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def pixels(figure: Figure) -> Transform:
    """The coordinates in which a figure's layout is given: pixels at `DPI` from its lower left corner."""
    return Affine2D().scale(1 / DPI) + figure.dpi_scale_trans


def draw_title(figure: Figure, lines: Sequence[str], left: float) -> None:
    """The title's lines at the top, from `left` pixels on; they take `len(lines) * TITLE_LINE + EDGE` pixels."""
    top = figure.get_figheight() * DPI - EDGE
    for i, line in enumerate(lines):
        y = top - (i + 0.8) * TITLE_LINE
        figure.text(left, y, line, transform=pixels(figure), size=TITLE_SIZE, weight="bold")


def new_chart(width: int, height: int, *, title: str, rows: int = 1, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of `width` by `height` pixels with a title and a grid of axes, row by row, laid out without overlap.

    Draw on it within `figure_style`.
    """
    figure = Figure(
        figsize=(width / DPI, height / DPI), dpi=DPI, layout=ConstrainedLayoutEngine(w_pad=EDGE / DPI, h_pad=EDGE / DPI)
    )
    FigureCanvasAgg(figure)
    figure.suptitle(title, size=TITLE_SIZE, weight="bold", x=EDGE / width, ha="left")
    grid = figure.subplots(rows, columns, squeeze=False)
    return figure, list(grid.flat)


def series(number: int) -> tuple[str, str]:
    """The colour and the marker of a figure's curve `number`, counted from 0: 36 of them are pairs of their own."""
    count = len(SERIES)
    return SERIES[number % count][0], SERIES[(number + number // count) % count][1]


def width_for(usual: int, labels: Iterable[str]) -> int:
    """The width in pixels of a chart whose rows have those labels: as usual, and wider where one of them is long."""
    longest = max(map(len, labels), default=0)
    return usual + max(0, int(0.62 * LABEL_SIZE * DPI / 72 * (longest - _USUAL_LABEL)))  # 0.62 em: a usual character


def light_grid(axes: Axes, axis: Literal["x", "y", "both"] = "y") -> None:
    """Faint lines behind the data."""
    axes.grid(axis=axis, color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)


def save_svg(figure: Figure, path: Path) -> None:
    """Writes the figure as SVG whose text stays text; the same figure gives the same bytes."""
    with figure_style(), matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "gpt-experiments"}):
        figure.savefig(path, format="svg", transparent=True, metadata={"Date": None})


def save_png(figure: Figure, path: Path) -> None:
    """Writes the figure at its own size. The same figure gives the same bytes: no date, no version is stored."""
    with figure_style():
        figure.savefig(
            path, format="png", dpi=DPI, metadata={"Software": None}, pil_kwargs={"compress_level": _COMPRESSION}
        )
