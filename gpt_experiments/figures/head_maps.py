"""Scores of attention heads as small maps, one a score: layers down, heads across."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import matplotlib
import numpy as np
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gpt_experiments import names
from gpt_experiments.figures import characters, style

_CELL_WIDTH: Final = 44  # pixels, as all sizes here; room for a number such as 0.53
_CELL_HEIGHT: Final = 26
_LEAST_WIDTH: Final = 4 * _CELL_WIDTH  # a panel's name has to fit
_GAP: Final = 56
_ACROSS: Final = 3
_CMAP: Final = matplotlib.colormaps["viridis"].with_extremes(bad=style.FAINT)


def head_score_maps(scores: Mapping[str, NDArray[np.floating[Any]]], *, title: str) -> Figure:
    """One panel a score, each cell with its number; grey where it could not be measured.

    Shares run over a scale from 0 to 1, lifts over one of their own that begins at 0.

    Args:
        scores: for each name (n_layer, n_head).
        title: stands above the panels.
    """
    n_layer, n_head = next(iter(scores.values())).shape
    width, height = max(n_head * _CELL_WIDTH, _LEAST_WIDTH), n_layer * _CELL_HEIGHT
    across, down = min(_ACROSS, len(scores)), -(-len(scores) // _ACROSS)
    figure_width = style.EDGE + across * (width + _GAP) + style.EDGE
    lines = characters.wrapped(title, figure_width - _GAP - style.EDGE, style.TITLE_SIZE)
    figure_height = len(lines) * style.TITLE_LINE + 2 * style.EDGE + down * (height + 2 * _GAP)
    with style.figure_style():
        figure = style.new_figure(figure_width, figure_height)
        style.draw_title(figure, lines, _GAP)
        for i, (name, values) in enumerate(scores.items()):
            x = style.EDGE + _GAP * 0.75 + (i % across) * (width + _GAP)
            y = style.EDGE + _GAP * 0.7 + (down - 1 - i // across) * (height + 2 * _GAP)
            _draw_map(figure, (x, y), width / n_head, name, values)
    return figure


def _draw_map(
    figure: Figure, corner: tuple[float, float], cell_width: float, name: str, values: NDArray[np.floating[Any]]
) -> None:
    """One panel whose cells begin at `corner`, the lower left, in pixels."""
    # Not in axes, as in a panel grid: six of them would take most of the time of drawing the figure.
    (n_layer, n_head), (left, bottom), pixels = values.shape, corner, style.pixels(figure)
    top, middle = bottom + n_layer * _CELL_HEIGHT, left + n_head * cell_width / 2
    lift = name in names.MULTIPLES_OF_CHANCE
    finite = values[np.isfinite(values)]
    highest = max(2.0, float(finite.max(initial=0.0))) if lift else 1.0
    edges = np.meshgrid(left + np.arange(n_head + 1) * cell_width, top - np.arange(n_layer + 1) * _CELL_HEIGHT)
    cells = QuadMesh(np.stack(edges, axis=-1), cmap=_CMAP, edgecolors="white", linewidth=1, transform=pixels)
    cells.set_array(np.ma.masked_invalid(values))
    cells.set_clim(0, highest)
    figure.add_artist(cells)
    _draw_numbers(figure, (left, top), cell_width, values, highest, "{:.1f}" if lift else "{:.2f}")
    unit = "times chance" if lift else "normalised" if name == "entropy" else "share of weight"
    figure.text(left, top + 8, f"{name.replace('_', ' ')}\n{unit}", transform=pixels, size=style.LABEL_SIZE)
    of_axis: dict[str, Any] = {"transform": pixels, "size": style.TICK_SIZE, "ha": "center", "va": "center"}
    figure.text(middle, bottom - 28, "head", **of_axis)
    figure.text(left - 26, (bottom + top) / 2, "layer", rotation=90, **of_axis)


def _draw_numbers(
    figure: Figure,
    corner: tuple[float, float],
    cell_width: float,
    values: NDArray[np.floating[Any]],
    highest: float,
    form: str,
) -> None:
    """The number of every cell, of every head and of every layer; `corner` is the upper left."""
    (left, top), size = corner, style.TICK_SIZE
    drop = characters.CAP_HEIGHT * characters.em(size) / 2
    columns = [left + (head + 0.5) * cell_width for head in range(values.shape[1])]
    rows = [top - (layer + 0.5) * _CELL_HEIGHT - drop for layer in range(values.shape[0])]
    known = np.isfinite(values)
    shown = [form.format(value) if there else "n/a" for value, there in zip(values.flat, known.flat, strict=True)]
    dark = known & (np.nan_to_num(values) <= 0.6 * highest)
    colours = np.where(dark, "white", style.INK).flatten().tolist()
    places = [(x, y) for y in rows for x in columns]
    characters.draw_labels(figure, shown, places, size=size, anchor="middle", colours=colours)
    heads = [(x, top - values.shape[0] * _CELL_HEIGHT - 11 - drop) for x in columns]
    layers = [(left - 11, y) for y in rows]
    for places in (heads, layers):
        numbers = [str(i + 1) for i in range(len(places))]
        characters.draw_labels(figure, numbers, places, size=size, anchor="middle", colours=style.MUTED)
