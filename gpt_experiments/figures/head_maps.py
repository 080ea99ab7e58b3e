"""Scores of attention heads as small maps, one a score: layers down, heads across."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gpt_experiments.figures import style
from gpt_experiments.figures.characters import wrapped

_CELL_WIDTH: Final = 44  # pixels, as all sizes here; room for a number such as 0.53
_CELL_HEIGHT: Final = 26
_LEAST_WIDTH: Final = 4 * _CELL_WIDTH  # of a panel; its name has to fit
_GAP: Final = 56
_ACROSS: Final = 3
_CMAP: Final = matplotlib.colormaps["viridis"].with_extremes(bad=style.FAINT)
_LIFTS: Final = ("same_character", "induction")  # against chance, which is 1; without an upper end


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
    lines = wrapped(title, figure_width - _GAP - style.EDGE, style.TITLE_SIZE)
    figure_height = len(lines) * style.TITLE_LINE + 2 * style.EDGE + down * (height + 2 * _GAP)
    with style.figure_style():
        figure = style.new_figure(figure_width, figure_height)
        style.draw_title(figure, lines, _GAP)
        for i, (name, values) in enumerate(scores.items()):
            x = style.EDGE + _GAP * 0.75 + (i % across) * (width + _GAP)
            y = style.EDGE + _GAP * 0.7 + (down - 1 - i // across) * (height + 2 * _GAP)
            box = (x / figure_width, y / figure_height, width / figure_width, height / figure_height)
            _draw_map(figure.add_axes(box), name, values)
    return figure


def _draw_map(axes: Axes, name: str, values: NDArray[np.floating[Any]]) -> None:
    lift = name in _LIFTS
    finite = values[np.isfinite(values)]
    top = max(2.0, float(finite.max(initial=0.0))) if lift else 1.0
    axes.pcolormesh(np.ma.masked_invalid(values), cmap=_CMAP, vmin=0, vmax=top, edgecolors="white", linewidth=1)
    axes.invert_yaxis()
    for (layer, head), value in np.ndenumerate(values):
        colour = style.INK if not np.isfinite(value) or value > 0.6 * top else "white"
        shown = "n/a" if not np.isfinite(value) else f"{value:.1f}" if lift else f"{value:.2f}"
        axes.text(head + 0.5, layer + 0.5, shown, ha="center", va="center", size=style.TICK_SIZE, color=colour)
    unit = "times chance" if lift else "normalised" if name == "entropy" else "share of weight"
    axes.set_title(f"{name.replace('_', ' ')}\n{unit}", size=style.LABEL_SIZE, loc="left")
    axes.set_xticks(np.arange(values.shape[1]) + 0.5, labels=[str(i + 1) for i in range(values.shape[1])])
    axes.set_yticks(np.arange(values.shape[0]) + 0.5, labels=[str(i + 1) for i in range(values.shape[0])])
    axes.tick_params(length=0, labelsize=style.TICK_SIZE)
    axes.set_xlabel("head", size=style.TICK_SIZE)
    axes.set_ylabel("layer", size=style.TICK_SIZE)
    for spine in axes.spines.values():
        spine.set_visible(False)
