"""All variants of a sweep at a glance: their losses, and how they differ from the baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from gpt_experiments.figures import style
from gpt_experiments.rounding import rounded

_WIDTH: Final = 820
_ROW: Final = 34  # pixels a variant
_ABOVE: Final = 1.15  # least end of the axis, as a multiple of the largest loss
_WIDEST: Final = 2.0  # multiple of the largest loss; an interval that reaches farther is cut, and ends in an arrow


def variant_bars(variants: pd.DataFrame) -> Figure:
    """Training and validation loss of each variant as bars from 0, the best on top, each with its number at the right.

    An interval that leaves the axis ends in an arrow.

    Args:
        variants: `label`, `final_train_loss`, `final_val_loss`, nats per character, best first, and `half_width` and
            `train_half_width` of the 95 % intervals of validation and training loss, NaN where there are none.
    """
    n = len(variants)
    with style.figure_style():
        figure, (axes,) = style.new_chart(
            style.width_for(_WIDTH, variants["label"]), 126 + _ROW * n, title="Loss after the last step"
        )
        y = np.arange(n)
        right = _right_end(variants)
        numbers: list[str] = []
        for name, column, half_width, colour, offset in _BARS:
            values, halves = variants[column].to_numpy(), variants[half_width].to_numpy()
            axes.barh(y + offset, values, height=0.36, color=colour, label=name)
            _draw_intervals(axes, values, halves, right, offset)
            numbers += [rounded(loss, half, signed=False) for loss, half in zip(values, halves, strict=True)]
        axes.set_yticks(y, labels=list(variants["label"]))
        axes.set_ylim(n - 0.4, -0.6)
        axes.set_xlim(0, right)
        axes.set_xlabel("loss (nats per character)")
        axes.tick_params(axis="y", length=0, labelcolor=style.INK)
        style.light_grid(axes, "x")
        labels = _right_labels(axes, [*(y - 0.19), *(y + 0.19)], numbers)
        for label, colour in zip(labels, [style.INK] * n + [style.MUTED] * n, strict=True):
            label.set(color=colour, size=style.TICK_SIZE)
        figure.legend(loc="upper right", ncols=2, frameon=False)
    return figure


_BARS: Final = (
    ("validation", "final_val_loss", "half_width", style.VERMILLION, -0.19),
    ("training", "final_train_loss", "train_half_width", style.BLUE, 0.19),
)


def _right_end(variants: pd.DataFrame) -> float:
    """Where the axis of losses ends."""
    largest = float(variants[["final_val_loss", "final_train_loss"]].max().max())
    ends = max(float((variants[column] + variants[half].fillna(0.0)).max()) for _, column, half, *_ in _BARS)
    return max(largest * _ABOVE, min(ends * 1.02, largest * _WIDEST)) or 1.0


def _draw_intervals(
    axes: Axes, losses: NDArray[np.floating[Any]], halves: NDArray[np.floating[Any]], right: float, offset: float
) -> None:
    for i, (loss, half) in enumerate(zip(losses, halves, strict=True)):
        if math.isnan(half):
            continue
        ends = (max(0.0, loss - half), min(right, loss + half))
        axes.plot(ends, [i + offset] * 2, color=style.INK, linewidth=1)
        for end, marker, is_cut in ((0.0, "<", loss - half < 0), (right, ">", loss + half > right)):
            if is_cut:
                axes.plot([end], [i + offset], marker, color=style.INK, markersize=5, clip_on=False)


def _right_labels(axes: Axes, places: Sequence[float], labels: Sequence[str]) -> Sequence[Text]:
    """Labels in a column at the right of the axes, for which the layout leaves room."""
    right = axes.secondary_yaxis("right")
    right.set_yticks(list(places), labels=list(labels))
    right.tick_params(length=0, pad=10)
    right.spines["right"].set_visible(False)
    return right.get_yticklabels()


_EFFECTS_TITLE: Final = "Change of the validation loss against the baseline's level"


def effect_plot(effects: pd.DataFrame, *, title: str = _EFFECTS_TITLE, margin: float | None = None) -> Figure:
    """Each level's mean difference to the baseline's level with its interval; left of the line is better.

    Args:
        margin: differences within it count as none; None draws no band for it.
        title: stands above; another one where they are other differences of the loss.
        effects: `name` (as `n_head=8`), `mean`, `low`, `high`, nats per character, and `verdict`; `low` and `high` are
            NaN where there is one seed. In the order in which they are shown, from the top.
    """
    colours = {"better": style.BLUE, "worse": style.VERMILLION, "equivalent": style.INK}
    markers = {"better": "o", "worse": "s", "equivalent": "d"}
    with style.figure_style():
        figure, (axes,) = style.new_chart(
            style.width_for(_WIDTH, effects["name"]),
            130 + 30 * len(effects),
            title=title,
        )
        for i, row in enumerate(effects.to_dict("records")):
            colour = colours.get(row["verdict"], style.MUTED)
            if not math.isnan(row["low"]):
                axes.plot([row["low"], row["high"]], [i, i], color=colour, linewidth=2, solid_capstyle="round")
            axes.plot([row["mean"]], [i], markers.get(row["verdict"], "D"), color=colour, markersize=7)
        if margin is not None:
            axes.axvspan(-margin, margin, color=style.MUTED, alpha=0.15, linewidth=0, zorder=0)
        axes.axvline(0, color=style.INK, linewidth=1)
        axes.set_yticks(range(len(effects)), labels=list(effects["name"]))
        axes.set_ylim(len(effects) - 0.5, -0.5)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
        axes.set_xlabel("difference (nats per character): left is better, right is worse")
        axes.tick_params(axis="y", length=0, labelcolor=style.INK)
        style.light_grid(axes, "x")
        _right_labels(axes, range(len(effects)), _verdict_labels(effects))
    return figure


def _verdict_labels(effects: pd.DataFrame) -> Sequence[str]:
    halves = (effects["high"] - effects["low"]) / 2
    return [
        f"{rounded(mean, half)}  {verdict}"
        for mean, half, verdict in zip(effects["mean"], halves, effects["verdict"], strict=True)
    ]
