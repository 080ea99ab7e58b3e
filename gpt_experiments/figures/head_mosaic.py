"""All attention heads of a model in one small picture, quick enough to draw while a model trains."""

from __future__ import annotations

from typing import Any, Final

import matplotlib
import numpy as np
from matplotlib.font_manager import findfont
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from gpt_experiments.figures import style

_COLOURS: Final = (matplotlib.colormaps["viridis"](np.arange(256))[:, :3] * 255).round().astype(np.uint8)  # (256, 3)
_MOST_SHOWN: Final = 32  # layers, and heads of each; MLflow cannot show a picture of any size
_PANELS_SIZE: Final = 640  # pixels that all panels take, across and down, about
_LARGEST_CELL, _GAP, _EDGE = 10, 6, 8  # pixels
_FONT: Final = findfont("DejaVu Sans")  # it comes with matplotlib
_FONT_SIZE: Final = 13


def head_mosaic(weights: NDArray[np.floating[Any]], *, title: str) -> NDArray[np.uint8]:
    """A picture (height, width, 3) of every head's weights: a row for each layer, a panel for each head.

    In a panel the query goes down and the key across; yellow is a weight of 1. Of a model with more than 32 layers or
    heads the first 32 are shown, and the title says so.

    Args:
        weights: (n_layer, n_head, T, T), [layer, head, query, key], from 0 to 1.
        title: stands above the panels, in one line.
    """
    shown = weights[:_MOST_SHOWN, :_MOST_SHOWN]
    if shown.shape != weights.shape:
        title += f" (the first {shown.shape[0]} layers and {shown.shape[1]} heads)"
    n_layer, n_head, length, _ = shown.shape
    cell = min(max(1, (_PANELS_SIZE // max(n_head, n_layer) - _GAP) // length), _LARGEST_CELL)
    font = ImageFont.truetype(_FONT, _FONT_SIZE)
    line = _FONT_SIZE + 6
    left = _EDGE + round(font.getlength(f"layer {n_layer}")) + _GAP
    top = _EDGE + 2 * line
    pitch = cell * length + _GAP  # from one panel to the next
    width = max(left + n_head * pitch, _EDGE + round(font.getlength(title))) + _EDGE
    canvas = np.full((top + n_layer * pitch + _EDGE, width, 3), 255, np.uint8)
    levels = np.clip(shown * 255, 0, 255).round().astype(np.uint8)
    panels = _COLOURS[levels].repeat(cell, axis=2).repeat(cell, axis=3)  # (n_layer, n_head, T * cell, T * cell, 3)
    for layer, head in np.ndindex(n_layer, n_head):
        y, x = top + layer * pitch, left + head * pitch
        canvas[y : y + cell * length, x : x + cell * length] = panels[layer, head]
    image = Image.fromarray(canvas)
    draw = ImageDraw.Draw(image)
    draw.text((_EDGE, _EDGE), title, fill=style.INK, font=font)
    middle = cell * length / 2
    for head in range(n_head):
        name = f"head {head + 1}" if font.getlength(f"head {n_head}") < pitch - _GAP else f"{head + 1}"
        draw.text((left + head * pitch + middle, top - 2), name, fill=style.MUTED, font=font, anchor="md")
    for layer in range(n_layer):
        place = (left - _GAP, top + layer * pitch + middle)
        draw.text(place, f"layer {layer + 1}", fill=style.MUTED, font=font, anchor="rm")
    return np.asarray(image)
