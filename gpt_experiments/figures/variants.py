"""All variants of a sweep at a glance: their losses, and how they differ from the baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gpt_experiments.figures import style

_WIDTH: Final = 820
_ROW: Final = 34  # pixels a variant


def variant_bars(variants: pd.DataFrame) -> Figure:
    """Training and validation loss of each variant as bars from 0, the best on top, each with its number.

    Args:
        variants: `label`, `final_train_loss`, `final_val_loss`, nats per character, best first, and `half_width`: of
            the 95 % interval of the validation loss, NaN where there is none.
    """
    n = len(variants)
    with style.figure_style():
        figure, (axes,) = style.new_chart(_WIDTH, 110 + _ROW * n, title="Loss after the last step")
        y = np.arange(n)
        bars = (
            ("validation", variants["final_val_loss"], style.VERMILLION, -0.19),
            ("training", variants["final_train_loss"], style.BLUE, 0.19),
        )
        for name, losses, colour, offset in bars:
            axes.barh(y + offset, losses, height=0.36, color=colour, label=name)
        for i, (loss, half) in enumerate(zip(variants["final_val_loss"], variants["half_width"], strict=True)):
            interval = "" if math.isnan(half) else f" ± {half:.4f}"
            beside = loss if math.isnan(half) else loss + half
            axes.text(beside, i - 0.19, f" {loss:.4f}{interval}", va="center", size=style.TICK_SIZE)
        for i, loss in enumerate(variants["final_train_loss"]):
            axes.text(loss, i + 0.19, f" {loss:.4f}", va="center", size=style.TICK_SIZE, color=style.MUTED)
        axes.errorbar(
            variants["final_val_loss"],
            y - 0.19,
            xerr=variants["half_width"].to_numpy(),
            fmt="none",
            ecolor=style.INK,
            elinewidth=1,
        )
        axes.set_yticks(y, labels=list(variants["label"]))
        axes.set_ylim(n - 0.4, -0.6)
        axes.set_xlim(0, float(variants["final_val_loss"].max()) * 1.2)
        axes.set_xlabel("loss (nats per character)")
        axes.tick_params(axis="y", length=0, labelcolor=style.INK)
        style.light_grid(axes, "x")
        figure.legend(loc="upper right", ncols=2, frameon=False)
    return figure


def effect_plot(effects: pd.DataFrame) -> Figure:
    """Each level's mean difference to the baseline's level with its 95 % interval; left of the line is better.

    Args:
        effects: `name` (as `n_head=8`), `mean`, `low`, `high`, nats per character, and `verdict`; `low` and `high` are
            NaN where there is one seed. In the order in which they are shown, from the top.
    """
    colours = {"better": style.BLUE, "worse": style.VERMILLION}
    markers = {"better": "o", "worse": "s"}
    with style.figure_style():
        figure, (axes,) = style.new_chart(
            _WIDTH, 130 + 30 * len(effects), title="Change of the validation loss against the baseline's level"
        )
        for i, row in enumerate(effects.to_dict("records")):
            colour = colours.get(row["verdict"], style.MUTED)
            if not math.isnan(row["low"]):
                axes.plot([row["low"], row["high"]], [i, i], color=colour, linewidth=2, solid_capstyle="round")
            axes.plot([row["mean"]], [i], markers.get(row["verdict"], "D"), color=colour, markersize=7)
        axes.axvline(0, color=style.INK, linewidth=1)
        axes.set_yticks(range(len(effects)), labels=list(effects["name"]))
        axes.set_ylim(len(effects) - 0.5, -0.5)
        axes.set_xlabel("difference (nats per character): left is better, right is worse")
        axes.tick_params(axis="y", length=0, labelcolor=style.INK)
        style.light_grid(axes, "x")
        right = axes.secondary_yaxis("right")
        right.set_yticks(range(len(effects)), labels=_told(effects))
        right.tick_params(length=0)
        right.spines["right"].set_visible(False)
    return figure


def _told(effects: pd.DataFrame) -> Sequence[str]:
    return [f"{row['mean']:+.4f}  {row['verdict']}" for row in effects.to_dict("records")]
