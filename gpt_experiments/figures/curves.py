"""Losses over the steps of one training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, StrMethodFormatter

from gpt_experiments.figures import style
from gpt_experiments.figures.characters import wrapped

if TYPE_CHECKING:  # at run time its package would bring torch along
    from gpt_experiments.training.events import Evaluation

_WIDTH: Final = 820
_HEIGHT: Final = 480
_LEFT: Final = 74
_RIGHT: Final = 170  # for the curves' names and last values
_BOTTOM: Final = 56
_PLOT_WIDTH: Final = _WIDTH - _LEFT - _RIGHT
_PLOT_HEIGHT: Final = _HEIGHT - _BOTTOM - 52  # room for the text under the title
_LABEL_PITCH: Final = 18
_MOST_MARKERS: Final = 60  # more of them would hide the curves


def loss_curve(evaluations: Sequence[Evaluation], *, title: str, uniform_loss: float | None = None) -> Figure:
    """Training and validation loss, nats per character, over optimisation steps.

    Each curve is named at its right end with its last value, and the best validation loss is ringed. A loss that is
    not finite leaves a gap.

    Args:
        evaluations: one or more, in the order of their steps.
        title: stands above the curves.
        uniform_loss: the loss of guessing every character alike, ln(vocab_size); a dotted line.

    Raises:
        ValueError: there are no evaluations.
    """
    if not evaluations:
        raise ValueError("a loss curve needs at least one evaluation, but got none")
    steps = [evaluation.step for evaluation in evaluations]
    train = [evaluation.train_loss for evaluation in evaluations]
    val = [evaluation.val_loss for evaluation in evaluations]
    lines = wrapped(title, _WIDTH - _LEFT - _LEFT // 2, style.TITLE_SIZE)
    height = _HEIGHT + len(lines) * style.TITLE_LINE
    with style.figure_style():
        figure = style.new_figure(_WIDTH, height)
        axes = figure.add_axes((_LEFT / _WIDTH, _BOTTOM / height, _PLOT_WIDTH / _WIDTH, _PLOT_HEIGHT / height))
        _draw_frame(axes, steps, [*train, *val, *([] if uniform_loss is None else [uniform_loss])])
        markers = len(steps) <= _MOST_MARKERS
        axes.plot(steps, train, color=style.BLUE, marker="o" if markers else "", markersize=5, label="training")
        axes.plot(steps, val, color=style.VERMILLION, marker="s" if markers else "", markersize=5, label="validation")
        names = [("training", train[-1], style.BLUE), ("validation", val[-1], style.VERMILLION)]
        if uniform_loss is not None:
            axes.axhline(uniform_loss, color=style.MUTED, linestyle=":", label="uniform guess")
            names.append(("uniform guess", uniform_loss, style.MUTED))
        _name_curves(axes, names)
        style.draw_title(figure, lines, _LEFT)
        _mark_best(figure, axes, steps, val)
    return figure


def _draw_frame(axes: Axes, steps: Sequence[int], losses: Sequence[float]) -> None:
    finite = [loss for loss in losses if math.isfinite(loss)] or [0.0]
    spare = max(0.06 * (max(finite) - min(finite)), 0.05)  # never so little that rounding errors fill the height
    axes.set_ylim(min(finite) - spare, max(finite) + spare)
    axes.ticklabel_format(axis="y", scilimits=(-3, 4), useOffset=False)  # a training that is diverging can be far up
    axes.set_ylabel("loss (nats per character)")
    axes.yaxis.set_label_coords((style.EDGE + 8 - _LEFT) / _PLOT_WIDTH, 0.5)
    axes.grid(axis="y", color=style.FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    spare = 0.02 * (steps[-1] - steps[0]) or 1
    axes.set_xlim(steps[0] - spare, steps[-1] + spare)
    axes.set_xlabel("optimisation step")
    axes.xaxis.set_major_locator(
        MaxNLocator(nbins=7, integer=True, steps=[1, 2, 5, 10]) if steps[-1] > steps[0] else FixedLocator(steps)
    )
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def _name_curves(axes: Axes, names: Sequence[tuple[str, float, str]]) -> None:
    """Each curve's name and last value beside its right end, moved apart where two ends are close."""
    low, high = axes.get_ylim()
    # A curve that ends in a loss that is not finite is named at the top.
    ends = [(value - low) / (high - low) if math.isfinite(value) else 1.0 for _, value, _ in names]
    order = sorted(range(len(names)), key=ends.__getitem__)
    heights = _spread([ends[i] * _PLOT_HEIGHT for i in order])
    for i, height in zip(order, heights, strict=True):
        name, value, colour = names[i]
        at = (1.015, height / _PLOT_HEIGHT)
        axes.text(*at, f"{name} {_loss(value)}", transform=axes.transAxes, color=colour, va="center")


def _loss(value: float) -> str:
    return f"{value:.3f}" if value < 1000 else f"{value:.3g}"


def _spread(heights: Sequence[float]) -> list[float]:
    """Rising heights, moved as little as keeps `_LABEL_PITCH` between neighbours; a cluster stays centred."""
    clusters: list[list[float]] = []
    for height in heights:
        clusters.append([height])
        while len(clusters) > 1 and _lowest(clusters[-1]) - _highest(clusters[-2]) < _LABEL_PITCH:
            top = clusters.pop()
            clusters[-1] += top
    return [_lowest(cluster) + i * _LABEL_PITCH for cluster in clusters for i in range(len(cluster))]


def _lowest(cluster: Sequence[float]) -> float:
    return sum(cluster) / len(cluster) - (len(cluster) - 1) / 2 * _LABEL_PITCH


def _highest(cluster: Sequence[float]) -> float:
    return _lowest(cluster) + (len(cluster) - 1) * _LABEL_PITCH


def _mark_best(figure: Figure, axes: Axes, steps: Sequence[int], val: Sequence[float]) -> None:
    """A ring round the best validation loss, explained under the title."""
    finite = [(loss, step) for loss, step in zip(val, steps, strict=True) if math.isfinite(loss)]
    if finite:
        loss, step = min(finite)
        ring = axes.plot([step], [loss], "o", color=style.INK, markersize=12, fillstyle="none", clip_on=False)
        ring[0].set_label("best validation loss")
        note = f"best validation loss {_loss(loss)} at step {step:,} (ringed)"
    else:
        note = "no validation loss was finite"
    figure.text(_LEFT, _HEIGHT - 30, note, transform=style.pixels(figure), color=style.MUTED)
