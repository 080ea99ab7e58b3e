"""Lays out a grid of square heatmaps, and chooses which characters of the text get a label.

Lengths are pixels of the saved PNG, and y grows upwards. The layout is worked out here, not by matplotlib: what must
fit is known beforehand, and solving for it would take longer than drawing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from gpt_experiments.figures import characters, style

GAP: Final = 16
LINE: Final = 1.2  # ems from one baseline to the next

_PAGE: Final = 1800  # width of all panels of one row together
_WIDEST_PANEL: Final = 520
_LARGEST_CELL: Final = 30
_ROOMY_CELL: Final = 16  # holds a larger label
_LABELLED_CELL: Final = 13  # holds a label
_MOST_LABELS: Final = 40  # texts up to this length have every character labelled
_SPARSE_PITCH: Final = 28  # between labels with positions: three digits and a gap
_PANEL_TITLE: Final = 24
_AXIS_NAME: Final = 26
_BAR_COLUMN: Final = 128


@dataclass(frozen=True, kw_only=True)
class Ticks:
    """The labels of both axes; `positions[i]` of the text, counted from 0, holds the character `labels[i]`.

    Attributes:
        every: 1 where all characters are labelled; else one in so many is, and its position is written too.
        size: of the labels, points.
    """

    every: int
    size: float
    positions: tuple[int, ...]
    labels: tuple[str, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """Each label in one line."""
        if self.every == 1:
            return self.labels
        return tuple(f"{i} {label}" for i, label in zip(self.positions, self.labels, strict=True))

    @property
    def gap(self) -> int:
        """Pixels from a panel to its labels; where not every character has one, a mark stands between."""
        return 5 if self.every == 1 else 8

    @property
    def hanging(self) -> tuple[bool, ...]:
        """Which labels are too long to lie side by side along the key axis: those of more than two characters."""
        return tuple(len(label) > 2 for label in self.labels)

    @property
    def query_width(self) -> float:
        return max(map(len, self.lines)) * characters.ADVANCE * characters.em(self.size)

    @property
    def key_height(self) -> float:
        flat = LINE if self.every == 1 else 2 * LINE
        hanging = [len(line) for line, hangs in zip(self.lines, self.hanging, strict=True) if hangs]
        return max(flat, characters.ADVANCE * max(hanging, default=0)) * characters.em(self.size)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Places of `panels` panels, filled row by row from the top left; a cell is a whole number of pixels."""

    panels: int
    columns: int
    cell: int
    ticks: Ticks
    length: int
    title_lines: int = 0

    @property
    def rows(self) -> int:
        return math.ceil(self.panels / self.columns)

    @property
    def side(self) -> int:
        return self.cell * self.length

    @property
    def left(self) -> int:
        return math.ceil(style.EDGE + _AXIS_NAME + self.ticks.query_width + self.ticks.gap)

    @property
    def right(self) -> int:
        return self.left + self.columns * (self.side + GAP) - GAP

    @property
    def bottom(self) -> int:
        return math.ceil(style.EDGE + _AXIS_NAME + self.ticks.key_height + self.ticks.gap)

    @property
    def top(self) -> int:
        return self.bottom + self.rows * (self.side + _PANEL_TITLE) - _PANEL_TITLE

    @property
    def width(self) -> int:
        return self.right + _BAR_COLUMN

    @property
    def height(self) -> int:
        return self.top + _PANEL_TITLE + self.title_lines * style.TITLE_LINE + style.EDGE

    def corner(self, panel: int) -> tuple[int, int]:
        """The lower left corner of a panel."""
        row, column = divmod(panel, self.columns)
        return self.left + column * (self.side + GAP), self.top - self.side - row * (self.side + _PANEL_TITLE)

    def is_leftmost(self, panel: int) -> bool:
        return panel % self.columns == 0

    def is_lowest(self, panel: int) -> bool:
        """Whether nothing stands below the panel in its column."""
        return panel + self.columns >= self.panels


def plan(panels: int, text: str) -> Layout:
    """The layout of `panels` heatmaps of `text`, each (len(text), len(text)), before its title is known."""
    columns = _columns(panels)
    cell = _cell(len(text), columns, math.ceil(panels / columns))
    return Layout(panels=panels, columns=columns, cell=cell, ticks=_ticks(text, cell), length=len(text))


def _columns(panels: int) -> int:
    """A nearly square grid, one column wider where that fills the last row."""
    columns = math.ceil(math.sqrt(panels))
    return columns + 1 if panels % columns and panels % (columns + 1) == 0 else columns


def _cell(length: int, columns: int, rows: int) -> int:
    preferred = min(_LARGEST_CELL, min(_WIDEST_PANEL, _PAGE // columns) // length)
    readable = _LABELLED_CELL if length <= _MOST_LABELS else 2 if length <= _WIDEST_PANEL // 2 else 1
    smallest_side = max(130, 210 // rows)  # the colour bar and the axes' names need some height
    return max(preferred, readable, math.ceil(smallest_side / length))


def _ticks(text: str, cell: int) -> Ticks:
    every = 1 if cell >= _LABELLED_CELL else 2 ** math.ceil(math.log2(_SPARSE_PITCH / cell))
    positions = tuple(range(0, len(text), every))
    return Ticks(
        every=every,
        size=style.TICK_SIZE + (every == 1 and cell >= _ROOMY_CELL),
        positions=positions,
        labels=tuple(characters.character_label(text[i]) for i in positions),
    )
