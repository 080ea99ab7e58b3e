"""Attention weights as text that is short enough to stand in a page."""

from __future__ import annotations

import base64
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

LEVELS: Final = 255
LARGEST_ERROR: Final = 1 / LEVELS
"""How far an unpacked weight can be from the one that was packed; below 0.01 it is a tenth of that."""


def pack(maps: NDArray[np.floating[Any]]) -> str:
    """The causal half of `maps` (n_layer, n_head, T, T), a byte a weight, in base64.

    In the order of the axes: layer, head, query, and for each query the keys up to it. A byte is the weight's square
    root in steps of 1/255, because most weights are small: the rounding error is at most sqrt(w) / 255 + 4e-6 for a
    weight w, and only weights below 4e-6 become 0.
    """
    queries, keys = np.tril_indices(maps.shape[-1])
    causal = maps[..., queries, keys].astype(np.float64)  # (n_layer, n_head, T * (T + 1) / 2)
    levels = np.rint(LEVELS * np.sqrt(causal.clip(0, 1))).astype(np.uint8)
    return base64.b64encode(levels.tobytes()).decode("ascii")


def packed_size(n_maps: int, length: int) -> int:
    """How many characters `pack` makes of `n_maps` heads on a text of `length`."""
    return 4 * -(-n_maps * length * (length + 1) // 2 // 3)
