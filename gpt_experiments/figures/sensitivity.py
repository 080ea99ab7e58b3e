"""How sensitive each level of each hyperparameter is to a parameter of the training, such as the learning rate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from gpt_experiments.figures import style

_WIDTH: Final = 820
_PANEL: Final = 290  # pixels; the height of one, without its legend
_LEGEND_LINE: Final = 17
_SPARE: Final = 1.35  # the values of an axis end so far beyond the first and the last


def sensitivity_curves(panels: Mapping[str, pd.DataFrame], parameter: str, *, shared: float) -> Figure:
    """Validation loss over the values of a parameter: a panel for each hyperparameter, a curve for each of its levels.

    The range over seeds is a band, the value that was chosen for a level is ringed, and the baseline's value is a
    dotted line. All panels have one scale. A value without a loss leaves a gap.

    Args:
        panels: for each hyperparameter `level`, `value` (of the parameter), `loss`, `low`, `high` (nats per character)
            and `chosen`.
        parameter: its name, for the axis.
        shared: its value in the baseline.
    """
    columns = 1 if len(panels) == 1 else 2
    rows = math.ceil(len(panels) / columns)
    most = max(frame["level"].nunique() for frame in panels.values())
    values = sorted({float(value) for frame in panels.values() for value in frame["value"]})
    with style.figure_style():
        figure, grid = style.new_chart(
            _WIDTH,
            50 + rows * (_PANEL + _LEGEND_LINE * most // 2),
            title=f"Validation loss over {parameter.replace('_', ' ')}",
            rows=rows,
            columns=columns,
        )
        for axes, (name, frame) in zip(grid, panels.items(), strict=False):
            axes.axvline(shared, color=style.MUTED, linestyle=":", linewidth=1, zorder=1)
            for i, (level, of_level) in enumerate(frame.groupby("level")):
                _draw_level(axes, of_level.sort_values("value"), *style.series(i), f"{level:g}")
            _draw_axis(axes, values, parameter)
            axes.legend(title=name, frameon=False, fontsize=style.TICK_SIZE, title_fontsize=style.TICK_SIZE, ncols=2)
        _share_scale(grid[: len(panels)], list(panels.values()))
        for place, axes in enumerate(grid):
            if place % columns == 0:
                axes.set_ylabel("loss (nats per character)")
            if place >= len(panels):
                axes.set_visible(False)
    return figure


def _draw_level(axes: Axes, rows: pd.DataFrame, colour: str, marker: str, label: str) -> None:
    axes.plot(rows["value"], rows["loss"], color=colour, marker=marker, markersize=4, linewidth=1.4, label=label)
    if (rows["high"] > rows["low"]).any():
        axes.fill_between(rows["value"], rows["low"], rows["high"], color=colour, alpha=0.15, linewidth=0)
    best = rows[rows["chosen"]]
    axes.plot(best["value"], best["loss"], "o", markersize=11, markerfacecolor="none", markeredgecolor=colour)


def _draw_axis(axes: Axes, values: Sequence[float], parameter: str) -> None:
    if values[0] > 0:
        axes.set_xscale("log")
        axes.set_xlim(values[0] / _SPARE, values[-1] * _SPARE)
    axes.xaxis.set_major_locator(FixedLocator(values))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.tick_params(labelsize=style.TICK_SIZE)
    axes.set_xlabel(parameter)
    style.light_grid(axes)


def _share_scale(grid: Sequence[Axes], frames: Sequence[pd.DataFrame]) -> None:
    low = min(float(frame["low"].min()) for frame in frames)
    high = max(float(frame["high"].max()) for frame in frames)
    spare = 0.06 * (high - low) or 0.05
    for axes in grid:
        axes.set_ylim(low - spare, high + spare)
