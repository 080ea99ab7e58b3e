"""Losses of two trials, or of two sweeps, over the steps of their training."""

from __future__ import annotations

from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from gpt_experiments.figures import style

_WIDTH: Final = 820
_PANEL: Final = (400, 250)
_ACROSS: Final = 2
_SIDES: Final = (("a", style.BLUE, "o"), ("b", style.VERMILLION, "s"))


def pair_curves(curves: pd.DataFrame) -> Figure:
    """Validation loss (solid) and training loss (dashed) of two trials, and below B minus A.

    Step 0 is left out where there are later ones, as it would flatten everything else.

    Args:
        curves: `side` (`a` or `b`), `step`, `train_loss`, `val_loss`, nats per character.
    """
    with style.figure_style():
        figure, (losses, differences) = style.new_chart(_WIDTH, 620, title="Loss over training", rows=2)
        shown = _later(curves)
        for side, colour, marker in _SIDES:
            rows = shown[shown["side"] == side].sort_values("step")
            for column, line, kind in (("val_loss", "-", "validation"), ("train_loss", "--", "training")):
                label = f"{side.upper()}, {kind}"
                losses.plot(
                    rows["step"], rows[column], line, color=colour, marker=_marker(rows, marker, line), label=label
                )
        both = shown.pivot(index="step", columns="side", values=["val_loss", "train_loss"])
        for column, line, colour in (("val_loss", "-", style.INK), ("train_loss", "--", style.MUTED)):
            if {(column, "a"), (column, "b")} <= set(both.columns):
                difference = (both[column, "b"] - both[column, "a"]).dropna()
                kind = "validation" if column == "val_loss" else "training"
                differences.plot(difference.index, difference, line, color=colour, label=f"B minus A, {kind}")
        differences.axhline(0, color=style.MUTED, linewidth=0.8)
        _label(losses, "loss (nats per character)")
        _label(differences, "B minus A")
        differences.set_xlabel("optimisation step" + ("" if len(shown) == len(curves) else " (step 0 left out)"))
        losses.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
        if differences.get_legend_handles_labels()[0]:
            differences.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
        else:
            differences.text(0.5, 0.6, "no common step", transform=differences.transAxes, ha="center")
    return figure


def pair_panels(curves: pd.DataFrame) -> Figure:
    """Validation loss of two sweeps, a panel for each variant; means over seeds.

    Args:
        curves: `variant`, `side` (`a` or `b`), `seed`, `step`, `val_loss`, nats per character; variants in the order
            in which they are shown.
    """
    variants = list(dict.fromkeys(curves["variant"]))
    rows = -(-len(variants) // _ACROSS)
    width, height = _PANEL
    with style.figure_style():
        figure, panels = style.new_chart(
            _ACROSS * width, 60 + rows * height, title="Validation loss over training", rows=rows, columns=_ACROSS
        )
        for axes, variant in zip(panels, variants, strict=False):
            of_variant = _later(curves[curves["variant"] == variant])
            for side, colour, marker in _SIDES:
                mean = of_variant[of_variant["side"] == side].groupby("step")["val_loss"].mean()
                axes.plot(mean.index, mean, color=colour, marker=marker, markersize=4, label=side.upper())
            axes.set_title(variant, size=style.LABEL_SIZE, loc="left")
            _label(axes, "nats per character")
            axes.set_xlabel("optimisation step")
        for axes in panels[len(variants) :]:
            axes.set_visible(False)
        panels[0].legend(frameon=False)
    return figure


def _later(curves: pd.DataFrame) -> pd.DataFrame:
    """The rows after step 0, where there are some."""
    later = curves[curves["step"] > 0]
    return later if len(later) else curves


def _marker(rows: pd.DataFrame, marker: str, line: str) -> str:
    """A marker for a solid curve, or for one that is a single point; many would hide the curve."""
    return marker if (line == "-" and len(rows) <= 60) or len(rows) == 1 else ""


def _label(axes: Axes, text: str) -> None:
    axes.set_ylabel(text)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    style.light_grid(axes)
