"""Attention as heatmaps: which earlier characters each character of a text looks at."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gpt_experiments.figures.panel_grid import panel_grid


def attention_heads(weights: NDArray[np.floating[Any]], text: str, *, title: str) -> Figure:
    """One layer's attention, one panel a head; query down, key across, both labelled with the text's characters.

    Args:
        weights: (n_head, T, T), [head, query, key]; each row sums to 1 over the keys up to its query.
        text: the T characters that the weights belong to.
        title: stands above the panels.

    Raises:
        ValueError: the shapes do not fit, or a query looks at its future.
    """
    _check(weights, ("n_head",), text)
    names = [f"Head {i + 1}" for i in range(len(weights))]
    return panel_grid(weights, names, text, title=title, quantity="attention weight")


def attention_mean(weights: NDArray[np.floating[Any]], text: str, *, title: str) -> Figure:
    """All layers' attention, one panel a layer: the mean over its heads. Otherwise as `attention_heads`.

    Args:
        weights: (n_layer, n_head, T, T), [layer, head, query, key].
        text: the T characters that the weights belong to.
        title: stands above the panels.

    Raises:
        ValueError: the shapes do not fit, or a query looks at its future.
    """
    _check(weights, ("n_layer", "n_head"), text)
    names = [f"Layer {i + 1}" for i in range(len(weights))]
    return panel_grid(weights.mean(axis=1), names, text, title=title, quantity="mean attention weight")


def _check(weights: NDArray[np.floating[Any]], axes: tuple[str, ...], text: str) -> None:
    length = len(text)
    if weights.ndim != len(axes) + 2 or weights.shape[-2:] != (length, length) or not weights.size:
        raise ValueError(
            f"weights of {length} characters must be ({', '.join(axes)}, {length}, {length}) and not empty, "
            f"but their shape is {weights.shape}"
        )
    if np.triu(weights, k=1).any():
        raise ValueError("a query looks at its future: the weights above the diagonal must be 0")
