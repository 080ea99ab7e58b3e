"""Curves for the levels of one hyperparameter: losses over steps."""

from __future__ import annotations

from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from gpt_experiments.figures import style

_WIDTH: Final = 820
_HEIGHT: Final = 430
_LEGEND_LINE: Final = 21
_FEW_LEVELS: Final = 8  # with more, the legend names only the solid curves


def level_curves(curves: pd.DataFrame, name: str) -> Figure:
    """Validation loss (solid) and training loss (dashed) over steps, a colour for each level of a hyperparameter.

    Args:
        curves: `level`, `seed`, `step`, `train_loss`, `val_loss`, nats per character; the mean over seeds is drawn as a
            curve, and the range from the lowest to the highest seed as a band.
        name: the hyperparameter.
    """
    with style.figure_style():
        later = curves[curves["step"] > 0]  # the first loss, the same for all, would flatten everything else
        shown = later if later["step"].nunique() > 1 else curves
        levels = shown["level"].nunique()
        few = levels <= _FEW_LEVELS
        height = _height(2 * levels if few else levels)
        figure, (axes,) = style.new_chart(_WIDTH, height, title=f"{name}: loss over training")
        for i, (level, rows) in enumerate(shown.groupby("level")):
            for column, line, kind in (("val_loss", "-", " validation"), ("train_loss", "--", " training")):
                label = f"{level:g}{kind}" if few else f"{level:g}" if line == "-" else ""
                _mean_and_band(axes, rows, column, line, *style.series(i), label)
        axes.set_xlabel("optimisation step" + ("" if shown is curves else " (step 0 left out)"))
        axes.set_ylabel("loss (nats per character)")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        style.light_grid(axes)
        figure.legend(loc="outside right center", frameon=False, title=name if few else f"{name}\n(dashed: training)")
    return figure


def _height(entries: int) -> int:
    """Pixels of a figure with so many entries in its legend."""
    return max(_HEIGHT, 100 + _LEGEND_LINE * entries)


def _mean_and_band(
    axes: Axes, rows: pd.DataFrame, column: str, line: str, colour: str, marker: str, label: str
) -> None:
    by_seed = rows.groupby(["step", "seed"])[column].mean().unstack("seed")  # (steps, seeds)
    mean = by_seed.mean(axis=1)
    axes.plot(mean.index, mean, line, color=colour, marker=marker if line == "-" else "", markersize=5, label=label)
    if by_seed.shape[1] > 1:
        axes.fill_between(
            by_seed.index, by_seed.min(axis=1), by_seed.max(axis=1), color=colour, alpha=0.15, linewidth=0
        )
