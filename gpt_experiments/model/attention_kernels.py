"""Attention with dropout, and dropout alone, compiled for one CPU thread by Numba; nothing of size (T, T) is kept.

Axes: B batch, T time, H heads, D head_size. One row of scores is worked on at a time, so that it stays in the fastest
cache, and what lies beyond the diagonal is never computed. Loops run over keys, with keys and values transposed: a
compiler turns loops over long contiguous rows into vector instructions, but not those over the few entries of a head.

Dropout masks come from a hash of (seed, row, column), so the backward pass draws the same ones again instead of reading
them from memory; the hash is "lowbias32" (Wellons 2018, "Prospecting for Hash Functions"). A weight is kept when its 32
bits are at most a threshold, so its probability is exact to 2 ** -32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float32, int32, njit, uint32
from numpy.typing import NDArray

_Floats = NDArray[np.float32]
_LOG2_E = np.float32(1.4426950408889634)
# Sums may be reordered, which vector instructions need; infinities and NaN keep their meaning.
_ARITHMETIC = {"reassoc", "contract", "nsz", "arcp"}


@njit(inline="always")
def _hash(x: Any) -> Any:
    x = uint32(x)
    x ^= x >> uint32(16)
    x = uint32(x * uint32(0x7FEB352D))
    x ^= x >> uint32(15)
    x = uint32(x * uint32(0x846CA68B))
    x ^= x >> uint32(16)
    return x


@njit(inline="always")
def _row_seed(seed: Any, row: Any) -> Any:
    return _hash(uint32(seed) + uint32(row) * uint32(0x9E3779B9))


@njit(inline="always")
def _is_kept(row_seed: Any, column: Any, threshold: Any) -> Any:
    return _hash(row_seed + uint32(column) * uint32(0x85EBCA6B)) <= threshold


@njit(fastmath=_ARITHMETIC, inline="always")
def _exp2_row(row: Any, n: Any, shift: Any, bits: Any, powers: Any) -> Any:
    """row[j] = 2 ** (row[j] - shift) for j < n, to float32's precision; returns their sum.

    2 ** x is 2 ** k, put together from its bits, times a polynomial on the rest of x between -1/2 and 1/2. `powers` are
    the `bits` seen as floats.
    """
    for j in range(n):
        x = max(row[j] - shift, float32(-126.0))
        k = np.floor(x + float32(0.5))
        r = x - k
        p = float32(1.535336188319500e-4)
        p = p * r + float32(1.339887440266574e-3)
        p = p * r + float32(9.618437357674640e-3)
        p = p * r + float32(5.550332471162809e-2)
        p = p * r + float32(2.402264791363012e-1)
        p = p * r + float32(6.931472028550421e-1)
        row[j] = p * r + float32(1.0)
        bits[j] = (int32(k) + int32(127)) << int32(23)
    total = float32(0.0)
    for j in range(n):
        row[j] *= powers[j]
        total += row[j]
    return total


@njit(fastmath=_ARITHMETIC, nogil=True, cache=True)
def attention_forward(
    qkv: _Floats, out: _Floats, log_sums: _Floats, scale: Any, threshold: Any, inverse_keep: Any, seed: Any
) -> None:
    """Writes attended values `out` (B, T, H, D) and `log_sums` (B, H, T), the log2 of each row's sum of exponentials.

    Args:
        qkv: (B, T, 3, H, D), queries, keys, values.
        scale: factor on the scores.
        threshold, inverse_keep: the largest 32 bits that keep a weight, and what kept weights are multiplied by.
        seed: of the mask, 32 bits.
    """
    n_batch, n_time, _, n_head, head_size = qkv.shape
    keys, values = np.empty((head_size, n_time), np.float32), np.empty((head_size, n_time), np.float32)
    row, bits = np.empty(n_time, np.float32), np.empty(n_time, np.int32)
    powers = bits.view(np.float32)
    factor = scale * _LOG2_E
    for b in range(n_batch):
        for h in range(n_head):
            for j in range(n_time):
                for d in range(head_size):
                    keys[d, j] = qkv[b, j, 1, h, d]
                    values[d, j] = qkv[b, j, 2, h, d]
            for i in range(n_time):
                n = i + 1
                q = qkv[b, i, 0, h, 0] * factor
                for j in range(n):
                    row[j] = q * keys[0, j]
                for d in range(1, head_size):
                    q = qkv[b, i, 0, h, d] * factor
                    for j in range(n):
                        row[j] += q * keys[d, j]
                largest = row[0]
                for j in range(n):
                    largest = max(largest, row[j])
                total = _exp2_row(row, n, largest, bits, powers)
                log_sums[b, h, i] = largest + np.log2(total)
                norm = inverse_keep / total
                row_seed = _row_seed(seed, (b * n_head + h) * n_time + i)
                for j in range(n):
                    row[j] = row[j] if _is_kept(row_seed, j, threshold) else float32(0.0)
                for d in range(head_size):
                    attended = float32(0.0)
                    for j in range(n):
                        attended += row[j] * values[d, j]
                    out[b, i, h, d] = attended * norm


@njit(fastmath=_ARITHMETIC, nogil=True, cache=True)
def attention_backward(
    qkv: _Floats, out: _Floats, log_sums: _Floats, grad_out: _Floats, grad_qkv: _Floats,
    scale: Any, threshold: Any, inverse_keep: Any, seed: Any,
) -> None:  # fmt: skip
    """Writes the gradient `grad_qkv` (B, T, 3, H, D) from `grad_out` (B, T, H, D); the rest as in the forward pass.

    Weights are computed again from the rows' sums (Dao et al. 2022, "FlashAttention", algorithm 4).
    """
    n_batch, n_time, _, n_head, head_size = qkv.shape
    shape = (head_size, n_time)
    keys, values = np.empty(shape, np.float32), np.empty(shape, np.float32)
    grad_keys, grad_values = np.empty(shape, np.float32), np.empty(shape, np.float32)
    row, grad_row = np.empty(n_time, np.float32), np.empty(n_time, np.float32)
    bits = np.empty(n_time, np.int32)
    dropped = bits.view(np.float32)  # first the powers of two, then the weights after dropout
    factor = scale * _LOG2_E
    for b in range(n_batch):
        for h in range(n_head):
            for j in range(n_time):
                for d in range(head_size):
                    keys[d, j] = qkv[b, j, 1, h, d]
                    values[d, j] = qkv[b, j, 2, h, d]
            grad_keys[:] = 0
            grad_values[:] = 0
            for i in range(n_time):
                n = i + 1
                delta = float32(0.0)  # the sum over keys of weight times gradient of the weight
                row[:n] = 0
                grad_row[:n] = 0
                for d in range(head_size):
                    q, g = qkv[b, i, 0, h, d] * factor, grad_out[b, i, h, d]
                    delta += out[b, i, h, d] * g
                    for j in range(n):
                        row[j] += q * keys[d, j]
                        grad_row[j] += g * values[d, j]
                _exp2_row(row, n, log_sums[b, h, i], bits, dropped)
                row_seed = _row_seed(seed, (b * n_head + h) * n_time + i)
                for j in range(n):
                    kept = inverse_keep if _is_kept(row_seed, j, threshold) else float32(0.0)
                    dropped[j] = row[j] * kept
                    grad_row[j] = row[j] * (grad_row[j] * kept - delta) * scale
                for d in range(head_size):
                    q, g = qkv[b, i, 0, h, d], grad_out[b, i, h, d]
                    grad_q = float32(0.0)
                    for j in range(n):
                        grad_values[d, j] += dropped[j] * g
                        grad_keys[d, j] += grad_row[j] * q
                        grad_q += grad_row[j] * keys[d, j]
                    grad_qkv[b, i, 0, h, d] = grad_q
            for j in range(n_time):
                for d in range(head_size):
                    grad_qkv[b, j, 1, h, d] = grad_keys[d, j]
                    grad_qkv[b, j, 2, h, d] = grad_values[d, j]


@njit(nogil=True, cache=True)
def dropout(x: _Floats, out: _Floats, threshold: Any, inverse_keep: Any, seed: Any) -> None:
    """Writes `out` (rows, columns): `x` times inverse_keep where the mask of `seed` keeps it, else 0."""
    rows, columns = x.shape
    for i in range(rows):
        row_seed = _row_seed(seed, i)
        for j in range(columns):
            out[i, j] = x[i, j] * inverse_keep if _is_kept(row_seed, j, threshold) else float32(0.0)
