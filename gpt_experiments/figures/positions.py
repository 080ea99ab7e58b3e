"""The loss over the number of characters that a model has seen, a curve for each context."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from gpt_experiments.figures import style

_WIDTH: Final = 820
_HEIGHT: Final = 430
_BELOW: Final = 250  # pixels that the differences take
_LEGEND_LINE: Final = 21


def position_curves(pools: pd.DataFrame, name: str = "block_size", base: float | None = None) -> Figure:
    """Validation loss over how many characters are seen, on a log scale, with bands; below it the differences.

    A curve is dashed where its context is too short to see so many. The lower panel is left out where no difference is
    known.

    Args:
        pools: `level`, `first`, `last`, `sees_all`, `loss`, `low`, `high`, `difference`, `less`, `more`, as
            `analysis.positions` gives them; nats per character.
        name: the hyperparameter whose levels they are.
        base: the level that differences are taken to.
    """
    levels = sorted(pools["level"].unique())
    with_differences = bool(pools["difference"].notna().any())
    with style.figure_style():
        height = max(_HEIGHT, 100 + _LEGEND_LINE * len(levels)) + (_BELOW if with_differences else 0)
        figure, all_axes = style.new_chart(
            _WIDTH, height, title="What more context buys: loss by position", rows=2 if with_differences else 1
        )
        for i, level in enumerate(levels):
            rows = pools[pools["level"] == level]
            _draw(all_axes[0], rows, ("loss", "low", "high"), *style.series(i), label=f"{level:g}")
            if with_differences and level != base:
                _draw(all_axes[1], rows, ("difference", "less", "more"), *style.series(i), label="")
        for axes in all_axes:
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
            style.light_grid(axes)
        seen = "characters seen before the one that is predicted"
        all_axes[-1].set_xlabel(f"{seen} (by the longest context)" if with_differences else seen)
        all_axes[0].set_ylabel("validation loss (nats per character)")
        if with_differences:
            all_axes[1].axhline(0, color=style.INK, linewidth=1)
            all_axes[1].set_ylabel(f"minus {name}={base:g}")
            all_axes[1].sharex(all_axes[0])
        figure.legend(loc="outside right center", frameon=False, title=name)
    return figure


def _draw(axes: Axes, rows: pd.DataFrame, columns: tuple[str, str, str], colour: str, marker: str, label: str) -> None:
    middle, low, high = columns
    at = np.sqrt(rows["first"] * rows["last"])  # the middle of a pool on a log scale
    if not rows[low].isna().all():
        axes.fill_between(at, rows[low], rows[high], color=colour, alpha=0.18, linewidth=0)
    style_of: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 4}
    sees = rows["sees_all"].to_numpy(dtype=bool)
    axes.plot(at[sees], rows[middle][sees], label=label, **style_of)
    if not sees.all():
        beyond = ~sees
        beyond[max(0, int(sees.sum()) - 1)] = True  # joined to the last point that is solid
        axes.plot(at[beyond], rows[middle][beyond], "--", **style_of, markerfacecolor="none")
        if not sees.any():
            axes.plot([], [], "--", label=label, **style_of, markerfacecolor="none")
