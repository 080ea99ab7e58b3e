"""Square heatmaps of one text side by side, on one colour scale, labelled along the outer edges only."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Final

import matplotlib
import numpy as np
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import BboxImage
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox, TransformedBbox
from numpy.typing import NDArray

from gpt_experiments.figures import characters, style
from gpt_experiments.figures.panel_layout import GAP, LINE, Layout, plan

# A character deep in a text spreads its attention over dozens of keys: a linear scale would show it all as one dark
# colour. The ends are fixed, so that any two figures can be compared.
_NORM: Final = PowerNorm(0.5, vmin=0, vmax=1)
_CMAP: Final = matplotlib.colormaps["viridis"].with_extremes(bad=style.FAINT)
_BAR_TICKS: Final = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1)
_BAR_WIDTH: Final = 16
_LONGEST_BAR: Final = 360
_LEGEND: Final = 56  # below the bar: what grey means
_CHEAP_CELL: Final = 8  # pixels; from here on it is cheaper to fill cells than to scale an image

_Place = tuple[float, float]


def panel_grid(
    panels: NDArray[np.floating[Any]], names: Sequence[str], text: str, *, title: str, quantity: str
) -> Figure:
    """Heatmaps of `panels` (panels, T, T), [panel, query, key], with values from 0 to 1.

    The part above the diagonal is left grey: it is the future, which a query does not see. `quantity` names the
    colour scale.
    """
    layout = plan(len(panels), text)
    lines = characters.wrapped(title, layout.width - layout.left - style.EDGE, style.TITLE_SIZE)
    layout = dataclasses.replace(layout, title_lines=len(lines))
    with style.figure_style():
        figure = style.new_figure(layout.width, layout.height)
        style.draw_title(figure, lines, layout.left)
        _draw_panels(figure, layout, panels, names)
        _draw_axis_names(figure, layout)
        _draw_bar(figure, layout, quantity)
    return figure


def _draw_panels(figure: Figure, layout: Layout, panels: NDArray[np.floating[Any]], names: Sequence[str]) -> None:
    future = np.triu(np.ones(panels.shape[1:], dtype=bool), k=1)
    for i, (name, panel) in enumerate(zip(names, panels, strict=True)):
        x, y = layout.corner(i)
        _draw_cells(figure, np.ma.array(panel, mask=future), (x, y, layout.side, layout.side), label=name)
        figure.text(x + layout.side / 2, y + layout.side + 7, name, transform=style.pixels(figure), ha="center")
        if layout.is_leftmost(i):
            _draw_query_labels(figure, layout, i)
        if layout.is_lowest(i):
            _draw_key_labels(figure, layout, i)


def _draw_cells(
    figure: Figure, values: NDArray[np.floating[Any]], box: tuple[float, float, float, float], *, label: str
) -> None:
    """`values` (rows, columns) as colours, the first row on top, in a box (left, bottom, width, height)."""
    # Not in axes: they cost ten times as much to make and draw as the cells, and nothing of them would show.
    (rows, columns), (left, bottom, width, height), pixels = values.shape, box, style.pixels(figure)
    artist: QuadMesh | BboxImage
    if height >= _CHEAP_CELL * rows:
        edges = np.meshgrid(
            np.linspace(left, left + width, columns + 1), np.linspace(bottom + height, bottom, rows + 1)
        )
        artist = QuadMesh(np.stack(edges, axis=-1), antialiased=False, cmap=_CMAP, norm=_NORM, transform=pixels)
    else:
        bounds = TransformedBbox(Bbox.from_bounds(*box), pixels)
        artist = BboxImage(bounds, cmap=_CMAP, norm=_NORM, interpolation="nearest", origin="upper")
        artist.set_interpolation_stage("rgba")  # a colour is looked up once per cell, not once per pixel
    artist.set_array(values)
    artist.set_label(label)
    figure.add_artist(artist)


def _draw_query_labels(figure: Figure, layout: Layout, panel: int) -> None:
    (x, y), ticks = layout.corner(panel), layout.ticks
    middles = [y + layout.side - (position + 0.5) * layout.cell for position in ticks.positions]
    drop = characters.CAP_HEIGHT * characters.em(ticks.size) / 2
    places = [(x - ticks.gap, middle - drop) for middle in middles]
    characters.draw_labels(figure, ticks.lines, places, size=ticks.size, anchor="right")
    if ticks.every > 1:
        _draw_marks(figure, [((x - 5, middle), (x - 1, middle)) for middle in middles])


def _draw_key_labels(figure: Figure, layout: Layout, panel: int) -> None:
    (x, y), ticks = layout.corner(panel), layout.ticks
    em = characters.em(ticks.size)
    baseline = y - ticks.gap - 1 - characters.CAP_HEIGHT * em
    flat: dict[_Place, str] = {}
    hanging: dict[_Place, str] = {}
    middles = [x + (position + 0.5) * layout.cell for position in ticks.positions]
    for i, middle in enumerate(middles):
        if ticks.hanging[i]:
            hanging[middle, y - ticks.gap] = ticks.lines[i]
            continue
        flat[middle, baseline] = ticks.labels[i]
        if ticks.every > 1:
            flat[middle, baseline - LINE * em] = str(ticks.positions[i])
    characters.draw_labels(figure, [*flat.values()], [*flat], size=ticks.size, anchor="middle")
    characters.draw_labels(figure, [*hanging.values()], [*hanging], size=ticks.size, anchor="hanging")
    if ticks.every > 1:
        _draw_marks(figure, [((middle, y - 5), (middle, y - 1)) for middle in middles])


def _draw_marks(figure: Figure, marks: list[tuple[_Place, _Place]]) -> None:
    figure.add_artist(LineCollection(marks, colors=style.MUTED, linewidths=0.8, transform=style.pixels(figure)))


def _draw_axis_names(figure: Figure, layout: Layout) -> None:
    pixels, every = style.pixels(figure), layout.ticks.every
    key = "key (character looked at)" + (f"; one in {every} is labelled, with its position" if every > 1 else "")
    figure.text((layout.left + layout.right) / 2, style.EDGE, key, transform=pixels, ha="center")
    at = (style.EDGE + 10, (layout.bottom + layout.top) / 2)
    figure.text(*at, "query (character that looks)", transform=pixels, rotation=90, ha="center", va="center")


def _draw_bar(figure: Figure, layout: Layout, quantity: str) -> None:
    """The one colour scale of all panels, and what grey means."""
    pixels, size = style.pixels(figure), style.TICK_SIZE
    x = layout.right + GAP + 4
    length = min(_LONGEST_BAR, layout.top - layout.bottom - _LEGEND)
    bottom = layout.top - length
    colours = np.asarray(_NORM.inverse(np.linspace(1, 0, length)))[:, None]
    _draw_cells(figure, colours, (x, bottom, _BAR_WIDTH, length), label="colour bar")
    drop = characters.CAP_HEIGHT * characters.em(size) / 2
    places = [(x + _BAR_WIDTH + 5, bottom + float(_NORM(value)) * length - drop) for value in _BAR_TICKS]
    characters.draw_labels(figure, [f"{value:g}" for value in _BAR_TICKS], places, size=size, anchor="left")
    at = (layout.width - style.EDGE - 18, bottom + length / 2)
    figure.text(*at, f"{quantity}\n(square-root scale)", transform=pixels, rotation=90, ha="center", va="center")
    figure.add_artist(Rectangle((x, bottom - 44), _BAR_WIDTH, _BAR_WIDTH, color=style.FAINT, transform=pixels))
    at = (x + _BAR_WIDTH + 5, bottom - 36)
    figure.text(*at, "future,\nmasked", transform=pixels, size=size, va="center")
