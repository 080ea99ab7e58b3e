"""Dropout on the CPU, compiled by Numba, and the random masks that it shares with attention.

A mask comes from a hash of (seed, row, column), so the backward pass draws the same one again instead of reading it
from memory; the hash is "lowbias32" (Wellons 2018, "Prospecting for Hash Functions"). An entry is kept when its 32 bits
are at most a threshold, so the probability is exact to 2 ** -32.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numba import float32, njit, uint32
from numpy.typing import NDArray

Floats = NDArray[np.float32]
KEEP_ALL: Final = np.uint32(0xFFFFFFFF)
"""The threshold at which nothing is dropped, and no random bits are made."""

COLUMN_STEP: Final = np.uint32(0x85EBCA6B)
_ROW_STEP: Final = np.uint32(0x9E3779B9)
# Sums may be reordered and contracted, which vector instructions need; infinities and NaN keep their meaning.
COMPILED: Final[dict[str, Any]] = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
_BYTES_KEPT: Final = 2**20  # of a compiled kernel on disk, and more


def compiled_and_kept(kernel: Callable[..., None]) -> Any:
    """The kernel compiled by Numba, and kept for later processes where Numba finds a folder with room for that."""
    compiled = njit(**COMPILED)(kernel)
    try:
        compiled.enable_caching()
        with tempfile.TemporaryFile(dir=compiled.stats.cache_path) as file:
            file.write(bytes(_BYTES_KEPT))
    except (RuntimeError, OSError):  # no folder, or no room in it
        return njit(**COMPILED)(kernel)
    return compiled


@njit(forceinline=True)
def hash_bits(x: Any) -> Any:
    """Of uint32, a number or a vector."""
    x = x ^ (x >> uint32(16))
    x = x * uint32(0x7FEB352D)
    x = x ^ (x >> uint32(15))
    x = x * uint32(0x846CA68B)
    return x ^ (x >> uint32(16))


@njit(forceinline=True)
def _hash_number(x: Any) -> Any:
    """As `hash_bits` of a number, which Numba would otherwise widen to 64 bits."""
    x = uint32(x)
    x ^= x >> uint32(16)
    x = uint32(x * uint32(0x7FEB352D))
    x ^= x >> uint32(15)
    x = uint32(x * uint32(0x846CA68B))
    return x ^ (x >> uint32(16))


@njit(forceinline=True)
def _seed_of_row(seed: Any, row: Any) -> Any:
    return _hash_number(uint32(seed) + uint32(uint32(row) * _ROW_STEP))


@njit(**COMPILED)
def seed_rows(row_seeds: Any, seed: Any, first_row: Any) -> None:
    """Writes what is hashed with a column, for each row of a mask from `first_row` on."""
    for i in range(len(row_seeds)):
        row_seeds[i] = _seed_of_row(seed, first_row + i)


@compiled_and_kept
def drop(x: Floats, out: Floats, first_row: Any, threshold: Any, inverse_keep: Any, seed: Any) -> None:
    """Writes `out` (rows, columns): `x` times inverse_keep where the mask of `seed` keeps it, else 0."""
    rows, columns = x.shape
    for i in range(rows):
        row_seed = _seed_of_row(seed, first_row + i)
        for j in range(columns):
            kept = _hash_number(row_seed + uint32(uint32(j) * COLUMN_STEP)) <= threshold
            out[i, j] = x[i, j] * inverse_keep if kept else float32(0.0)


@compiled_and_kept
def add_dropped(
    x: Floats, y: Floats, out: Floats, first_row: Any, threshold: Any, inverse_keep: Any, seed: Any
) -> None:
    """Writes `out` (rows, columns): `x` plus what `drop` makes of `y`."""
    rows, columns = x.shape
    for i in range(rows):
        row_seed = _seed_of_row(seed, first_row + i)
        for j in range(columns):
            kept = _hash_number(row_seed + uint32(uint32(j) * COLUMN_STEP)) <= threshold
            out[i, j] = x[i, j] + (y[i, j] * inverse_keep if kept else float32(0.0))
