"""A full factorial in figures: what each hyperparameter does on average, and which of them depend on each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gpt_experiments.figures import style

_PANEL: Final = 190  # pixels
_WIDTH: Final = 820
_LEVEL: Final = 15  # pixels that a level's name takes along an axis when it is turned
_LEGEND_LINE: Final = 21
_FLAT_NAMES: Final = 12  # characters that the levels of one panel may have together to stand side by side


def share_bars(shares: pd.DataFrame) -> Figure:
    """How much of the variance each term explains.

    Args:
        shares: `term` and `share`, which sum to 1, in the order in which they are shown; terms below a thousandth are
            gathered in one bar. A mark on a bar shows `noise`, what noise alone could reach; NaN has none.
    """
    small = (shares["share"] < 0.001) & (shares["term"] != "rest")
    small &= small.sum() > 1  # a single one is shown
    shown = shares[~small]
    with style.figure_style():
        figure, (axes,) = style.new_chart(
            _WIDTH, 136 + 26 * len(shown), title="Share of the variance of the validation loss"
        )
        terms, values = list(shown["term"]), list(shown["share"])
        if small.any():
            terms.append(f"{small.sum()} others together")
            values.append(float(shares.loc[small, "share"].sum()))
        colours = [style.MUTED if t in ("rest", terms[-1] if small.any() else "rest") else style.BLUE for t in terms]
        axes.barh(range(len(terms)), values, color=colours, height=0.7)
        reach = [*shown["noise"], *[math.nan] * (len(terms) - len(shown))]
        marked = [i for i, noise in enumerate(reach) if not math.isnan(noise)]
        axes.plot([reach[i] for i in marked], marked, "|", color=style.INK, markersize=15, markeredgewidth=1.6)
        for i, value in enumerate(values):
            value_at = max(value, reach[i]) if i in marked else value
            axes.text(value_at, i, f" {value:.1%}", va="center", size=style.TICK_SIZE)
        axes.set_yticks(range(len(terms)), labels=terms)
        axes.set_ylim(len(terms) - 0.4, -0.6)
        axes.set_xlim(0, max([*values, *(reach[i] for i in marked)]) * 1.12 or 1)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.tick_params(axis="y", length=0, labelcolor=style.INK)
        style.light_grid(axes, "x")
    return figure


def main_effects(means: Mapping[str, pd.DataFrame]) -> Figure:
    """The mean loss at each level of each hyperparameter, over all combinations of the others, on one scale.

    Args:
        means: for each hyperparameter its column, `loss` and `half_width` of its interval, NaN without; nats per
            character.
    """
    with style.figure_style():
        panel = _panel_width(max(len(frame) for frame in means.values()))
        figure, all_axes = style.new_chart(
            max(_WIDTH, panel * len(means)), 320, title="Main effects: mean validation loss", columns=len(means)
        )
        for axes, (name, frame) in zip(all_axes, means.items(), strict=True):
            _draw_levels(axes, frame, name, style.BLUE, "o", "")
            axes.set_xlabel(name)
        _share_scale(all_axes)
        all_axes[0].set_ylabel("loss (nats per character)")
    return figure


def interactions(names: Sequence[str], means: Mapping[tuple[str, str], pd.DataFrame]) -> Figure:
    """For every two hyperparameters the mean loss at each pair of levels; parallel curves do not interact.

    Args:
        means: for each pair (across, colour) of `names`, in their order, both columns, `loss` and `half_width`.
    """
    count = len(names) - 1
    most = max(frame[name].nunique() for pair, frame in means.items() for name in pair)
    width, height = _panel_width(most) * (count + 1), max(_PANEL, _LEGEND_LINE * (most + 3)) * count
    with style.figure_style():
        figure, grid = style.new_chart(
            max(_WIDTH, width), 60 + height, title="Interactions", rows=count, columns=count + 1
        )
        drawn = []
        for i, colour in enumerate(names[1:]):
            row = grid[i * (count + 1) : (i + 1) * (count + 1)]
            for axes, across in zip(row, names[: i + 1], strict=False):
                _draw_pair(axes, means[across, colour], across, colour)
                drawn.append(axes)
                if i == count - 1:
                    axes.set_xlabel(across)
            row[0].set_ylabel("loss")
            for empty in row[i + 1 :]:
                empty.set_axis_off()
            curves = row[i].get_lines()
            row[i + 1].legend(
                curves, [str(c.get_label()) for c in curves], title=colour, loc="upper left", frameon=False
            )
        _share_scale(drawn)
    return figure


def _draw_pair(axes: Axes, frame: pd.DataFrame, across: str, colour: str) -> None:
    for i, (level, rows) in enumerate(frame.groupby(colour)):
        shade, marker = style.series(i)
        _draw_levels(axes, rows, across, shade, marker, f"{level:g}")


def _draw_levels(axes: Axes, means: pd.DataFrame, name: str, colour: str, marker: str, label: str) -> None:
    """Levels evenly spaced, in their order: they are steps of different sizes on different scales."""
    places, losses, halves = range(len(means)), means["loss"].to_numpy(), means["half_width"].to_numpy()
    axes.plot(places, losses, color=colour, marker=marker, markersize=4, linewidth=1.4, label=label)
    if not np.isnan(halves).any():
        axes.vlines(list(places), losses - halves, losses + halves, color=colour, linewidth=1.6, alpha=0.7)
    names = [f"{level:g}" for level in means[name]]
    axes.set_xticks(places, labels=names, rotation=90 if len("".join(names)) > _FLAT_NAMES else 0)
    axes.margins(x=0.15)
    style.light_grid(axes)


def _panel_width(levels: int) -> int:
    """Pixels of a panel with so many levels along its axis."""
    return max(_PANEL, 70 + _LEVEL * levels)


def _share_scale(all_axes: Sequence[Axes]) -> None:
    low = min(axes.get_ylim()[0] for axes in all_axes)
    high = max(axes.get_ylim()[1] for axes in all_axes)
    for axes in all_axes:
        axes.set_ylim(low, high)
