"""What a loss costs: parameters, time and arithmetic against the validation loss, with the Pareto front."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter, StrMethodFormatter
from matplotlib.transforms import Bbox

from gpt_experiments.figures import style

_WIDTH: Final = 820
_HEIGHT: Final = 470
_WIDE: Final = 50  # highest cost over lowest; from here on an axis has room only for powers of ten
_LARGE: Final = 10_000  # from here on numbers are written as 200 k, 5 M, 1 G
_MOST_LABELS: Final = 16  # of more points, only those on the front are named, by numbers
_LONGEST_LABEL: Final = 26  # characters; where one has more, the points are named so, too


def cost_scatter(
    variants: pd.DataFrame, column: str, *, title: str, unit: str, law: pd.DataFrame | None = None
) -> Figure:
    """Each variant's validation loss against what it costs, on a log axis; the Pareto front is a line.

    A variant is on the front when none is both cheaper and better.

    Args:
        variants: `label`, `final_val_loss` in nats per character, and `column`; optional `low` and `high`, the interval
            of the loss, which is drawn for those on the front.
        unit: the label of the axis.
        law: `column`, `loss`, `low`, `high`: a curve with its interval.
    """
    ordered = variants.sort_values([column, "final_val_loss"])
    best_so_far = ordered["final_val_loss"].cummin()
    front = ordered[ordered["final_val_loss"] < best_so_far.shift(fill_value=np.inf)]
    few = len(ordered) <= _MOST_LABELS and max(map(len, ordered["label"])) <= _LONGEST_LABEL
    width = _WIDTH if few else style.width_for(_WIDTH, front["label"])
    with style.figure_style():
        figure, (axes,) = style.new_chart(width, _HEIGHT, title=title)
        axes.step(
            front[column], front["final_val_loss"], where="post", color=style.VERMILLION, linewidth=1.5, zorder=1,
            label="Pareto front",
        )  # fmt: skip
        if law is not None:
            axes.fill_between(law[column], law["low"], law["high"], color=style.MUTED, alpha=0.2, linewidth=0, zorder=0)
            axes.plot(
                law[column], law["loss"], color=style.MUTED, linewidth=1.2, zorder=0.5, label="fit, 95 % interval"
            )
        if "low" in front:
            known = front.dropna(subset=["low", "high"])
            axes.vlines(known[column], known["low"], known["high"], color=style.VERMILLION, linewidth=1.2, zorder=1.5)
        axes.scatter(ordered[column], ordered["final_val_loss"], s=26, color=style.BLUE, zorder=2)
        axes.set_xscale("log")
        wide = float(ordered[column].max() / ordered[column].min()) > _WIDE
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
        large = float(ordered[column].max()) >= _LARGE
        axes.xaxis.set_major_formatter(EngFormatter(sep=" ") if large else StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(x=0.14, y=0.1)
        axes.set_xlabel(unit)
        axes.set_ylabel("validation loss (nats per character)")
        style.light_grid(axes, "both")
        if few:
            axes.legend(loc="upper right", frameon=False)
            named = list(ordered["label"])
        else:
            named = _numbered_legend(figure, front["label"])
        figure.canvas.draw()  # so that places are known
        figure.set_layout_engine("none")
        points = (ordered if few else front).assign(name=named)
        _name_points(axes, list(zip(points[column], points["final_val_loss"], points["name"], strict=True)))
    return figure


def _numbered_legend(figure: Figure, labels: Iterable[str]) -> list[str]:
    """List names that are too long to stand beside their points; returns the numbers for the points."""
    names = [f"{number}  {label}" for number, label in enumerate(labels, start=1)]
    handles = [Line2D([], [], linestyle="") for _ in names]
    figure.legend(
        handles, names, loc="outside right center", title="Pareto front", frameon=False, handlelength=0,
        fontsize=style.TICK_SIZE, alignment="left",
    )  # fmt: skip
    return [str(number) for number in range(1, len(names) + 1)]


def _name_points(axes: Axes, points: list[tuple[float, float, str]]) -> None:
    """Each point's name beside it, at the first of eight places where it covers neither point nor name."""
    renderer = axes.figure.canvas.get_renderer()  # type: ignore[attr-defined]
    at = [axes.transData.transform((x, y)) for x, y, _ in points]
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in at]
    legend = axes.get_legend()
    if legend is not None:
        taken.append(legend.get_window_extent(renderer))
    for (x, y, label), (px, py) in zip(points, at, strict=True):
        text = axes.annotate(label, (x, y), xytext=(0, 0), textcoords="offset pixels", size=style.TICK_SIZE)
        size = text.get_window_extent(renderer)
        offset = _free_place(px, py, size.width, size.height, taken, axes.bbox)
        text.set_position(offset)
        taken.append(Bbox.from_bounds(px + offset[0], py + offset[1], size.width, size.height))


def _free_place(
    px: float, py: float, width: float, height: float, taken: list[Bbox], inside: Any
) -> tuple[float, float]:
    """The offset in pixels of a name's lower left corner from its point."""
    places = [
        (x, y)
        for far in (6, 16, 28, 42, 58, 76, 96)  # far enough for a dozen points in one place
        for x, y in (
            (far, -height / 2),
            (-width - far, -height / 2),
            (-width / 2, far),
            (-width / 2, -height - far),
            (far, far / 2),
            (far, -height - far / 2),
            (-width - far, far / 2),
            (-width - far, -height - far / 2),
        )
    ]
    for x, y in places:
        box = Bbox.from_bounds(px + x, py + y, width, height)
        within = inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1
        if within and not any(box.overlaps(other) for other in taken):
            return x, y
    return places[0]
