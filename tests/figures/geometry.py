"""Where the texts of a figure lie: none may leave the canvas, and none may cover another."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

_TOUCH = 1.0  # pixels that two boxes may share: they are larger than the ink


def faults(figure: Figure) -> list[str]:
    """What is wrong with the places of the figure's texts, each in a sentence; drawing it is part of the test."""
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    renderer = canvas.get_renderer()
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in _texts(figure)]
    width, height = figure.bbox.width, figure.bbox.height
    found = [
        f"{text!r} leaves the canvas"
        for text, box in boxes
        if box.x0 < -_TOUCH or box.y0 < -_TOUCH or box.x1 > width + _TOUCH or box.y1 > height + _TOUCH
    ]
    found += [
        f"{one!r} covers {other!r}" for (one, a), (other, b) in itertools.combinations(boxes, 2) if _overlap(a, b)
    ]
    return found + [f"axes are {axes.bbox.width:.0f} pixels wide" for axes in figure.axes if axes.bbox.width < 60]


def _overlap(a: Bbox, b: Bbox) -> bool:
    return min(a.x1, b.x1) - max(a.x0, b.x0) > _TOUCH and min(a.y1, b.y1) - max(a.y0, b.y0) > _TOUCH


def _texts(figure: Figure) -> Iterator[Text]:
    shown = [*figure.texts]
    if figure.get_suptitle():
        shown.append(figure._suptitle)  # type: ignore[attr-defined]
    for legend in figure.legends:
        shown += [*legend.get_texts(), legend.get_title()]
    for axes in figure.axes:
        if not axes.axison:
            if axes.get_legend():
                shown += [*axes.get_legend().get_texts(), axes.get_legend().get_title()]
            continue
        shown += _texts_of(axes)
        for child in axes.child_axes:
            shown += _tick_labels(child.yaxis)
    seen = {id(text): text for text in shown if text.get_visible() and text.get_text().strip()}
    yield from seen.values()


def _texts_of(axes: Axes) -> list[Text]:
    legend = axes.get_legend()
    return [
        *axes.texts,
        axes.title,
        *_tick_labels(axes.xaxis),
        *_tick_labels(axes.yaxis),
        axes.xaxis.label,
        axes.yaxis.label,
        *([*legend.get_texts(), legend.get_title()] if legend else []),
    ]


def _tick_labels(axis: Axis) -> list[Text]:
    low, high = sorted(axis.get_view_interval())
    return [label for label, at in zip(axis.get_ticklabels(), axis.get_ticklocs(), strict=True) if low <= at <= high]
