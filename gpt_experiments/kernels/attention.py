"""Causal attention with dropout, compiled for the CPU by Numba; nothing of size (T, T) is kept.

Axes: B batch, T time, H heads, D head_size. Each head of each window is computed by itself, in blocks that stay in the
fastest cache: LANES queries against all their keys in the forward pass, LANES keys against all their queries in the
backward pass. So maxima and sums run over whole vectors, and only one of the seven products has its lanes along D. What
lies beyond the diagonal is computed only as far as a block reaches. Rows of a head are padded to whole vectors.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import float32, njit, uint32

from gpt_experiments.kernels.dropout import (
    COLUMN_STEP,
    COMPILED,
    KEEP_ALL,
    Floats,
    compiled_and_kept,
    hash_bits,
    seed_rows,
)
from gpt_experiments.kernels.simd import (
    LANES,
    broadcast,
    floor,
    load,
    load_some,
    power_of_two,
    splat,
    store,
    store_some,
    sum_lanes,
    transpose,
    where,
)

_ROWS: Final = 8  # of a product that are computed at once, each in a register
_LOG2_E: Final = np.float32(1.4426950408889634)
_LN_2: Final = np.float32(0.6931471805599453)


@njit(forceinline=True)
def _exp2(x: Any) -> Any:
    """2 ** x of a vector, to float32's precision; 0 below -126.

    2 ** whole is put together from its bits, and multiplied by a polynomial on the rest, between -1/2 and 1/2.
    """
    tiny = x < float32(-126.0)
    x = where(tiny, splat(float32(-126.0)), x)
    whole = floor(x + float32(0.5))
    rest = x - whole
    p = rest * float32(1.535336188319500e-4) + float32(1.339887440266574e-3)
    p = p * rest + float32(9.618437357674640e-3)
    p = p * rest + float32(5.550332471162809e-2)
    p = p * rest + float32(2.402264791363012e-1)
    p = p * rest + float32(6.931472028550421e-1)
    p = p * rest + float32(1.0)
    return where(tiny, splat(float32(0.0)), p * power_of_two(whole))


@njit(forceinline=True, **COMPILED)
def _product(a: Any, a_at: Any, a_row: Any, a_step: Any, b: Any, b_at: Any, b_step: Any, n: Any, c: Any, c_at: Any,
             c_row: Any, add: Any) -> None:  # fmt: skip
    """c[r, l] = the sum over k < n of a[r, k] * b[k, l], for _ROWS rows r and LANES lanes l; added to c if `add`.

    The arrays are flat. Each has the index of its first entry; a's and c's rows, and a's and b's k, lie so many entries
    apart.
    """
    c0 = c1 = c2 = c3 = c4 = c5 = c6 = c7 = splat(float32(0.0))
    if add:
        c0, c1 = load(c, c_at), load(c, c_at + c_row)
        c2, c3 = load(c, c_at + 2 * c_row), load(c, c_at + 3 * c_row)
        c4, c5 = load(c, c_at + 4 * c_row), load(c, c_at + 5 * c_row)
        c6, c7 = load(c, c_at + 6 * c_row), load(c, c_at + 7 * c_row)
    for _ in range(n):
        row = load(b, b_at)
        c0 = broadcast(a, a_at) * row + c0
        c1 = broadcast(a, a_at + a_row) * row + c1
        c2 = broadcast(a, a_at + 2 * a_row) * row + c2
        c3 = broadcast(a, a_at + 3 * a_row) * row + c3
        c4 = broadcast(a, a_at + 4 * a_row) * row + c4
        c5 = broadcast(a, a_at + 5 * a_row) * row + c5
        c6 = broadcast(a, a_at + 6 * a_row) * row + c6
        c7 = broadcast(a, a_at + 7 * a_row) * row + c7
        a_at += a_step
        b_at += b_step
    store(c, c_at, c0)
    store(c, c_at + c_row, c1)
    store(c, c_at + 2 * c_row, c2)
    store(c, c_at + 3 * c_row, c3)
    store(c, c_at + 4 * c_row, c4)
    store(c, c_at + 5 * c_row, c5)
    store(c, c_at + 6 * c_row, c6)
    store(c, c_at + 7 * c_row, c7)


@njit(forceinline=True)
def _round_up(n: Any, multiple: Any) -> Any:
    return (n + multiple - 1) // multiple * multiple


@njit(**COMPILED)
def _copy(source: Any, at: Any, source_row: Any, n: Any, target: Any, target_at: Any, target_row: Any, rows: Any,
          lanes: Any, factor: Any) -> None:  # fmt: skip
    """Fill target with factor * source, the first `n` entries of each of some rows, which lie so many entries apart."""
    for d in range(0, n, LANES):
        if d + LANES <= n:
            for j in range(rows):
                store(target, target_at + j * target_row + d, load(source, at + j * source_row + d) * factor)
        else:
            inside = load(lanes, 0) < float32(n - d)
            for j in range(rows):
                entries = load_some(source, at + j * source_row + d, inside) * factor
                store_some(target, target_at + j * target_row + d, entries, inside)


@njit(**COMPILED)
def _attend(q_t: Any, keys: Any, values: Any, row_seeds: Any, lanes: Any, first: Any, n_time: Any, head_size: Any,
            threshold: Any, inverse_keep: Any, weights: Any, attended: Any, largest: Any,
            totals: Any) -> None:  # fmt: skip
    """The block of LANES queries from `first` on: `attended` (D, LANES).

    Args:
        q_t: (D, LANES), scaled so that powers of two give the weights.
        keys, values: (T, row).
        weights: room for (T, LANES).
        largest, totals: of each query the largest score, and the sum of its weights before dropout.
    """
    row = len(attended) // LANES
    n = min(first + LANES, n_time)
    padded = _round_up(n, _ROWS)
    for j in range(0, padded, _ROWS):
        _product(keys, j * row, row, 1, q_t, 0, LANES, head_size, weights, j * LANES, LANES, False)
    lane, never = load(lanes, 0), splat(float32(-np.inf))
    for j in range(first, padded):  # a key after the query
        store(weights, j * LANES, where(lane < float32(j - first), never, load(weights, j * LANES)))
    peak = load(weights, 0)
    for j in range(1, n):
        peak = max(load(weights, j * LANES), peak)
    total, zero, row_seed = splat(float32(0.0)), splat(float32(0.0)), load(row_seeds, first)
    for j in range(n):
        weight = _exp2(load(weights, j * LANES) - peak)
        total = total + weight
        if threshold != KEEP_ALL:
            kept = hash_bits(row_seed + uint32(uint32(j) * COLUMN_STEP)) <= splat(threshold)
            weight = where(kept, weight, zero)
        store(weights, j * LANES, weight)
    for d in range(0, _round_up(head_size, _ROWS), _ROWS):
        _product(values, d, 1, row, weights, 0, LANES, n, attended, d * LANES, LANES, False)
    norm = splat(inverse_keep) / total
    for d in range(head_size):
        store(attended, d * LANES, load(attended, d * LANES) * norm)
    store(largest, 0, peak)
    store(totals, 0, total)


@compiled_and_kept
def attention_forward(qkv: Floats, out: Floats, log_sums: Floats, first_row: Any, scale: Any, threshold: Any,
                      inverse_keep: Any, seed: Any) -> None:  # fmt: skip
    """Writes attended values `out` (B, T, H, D) and `log_sums` (B, H, T), the log2 of each row's sum of exponentials.

    Args:
        qkv: (B, T, 3, H, D), queries, keys, values.
        first_row: the mask's row that belongs to the first query here: B * H * T rows follow each other.
        scale: factor on the scores.
        threshold, inverse_keep: the largest 32 bits that keep a weight, and what kept weights are multiplied by.
        seed: of the mask, 32 bits.
    """
    n_batch, n_time, _, n_head, head_size = qkv.shape
    flat, flat_out, width, one = qkv.reshape(qkv.size), out.reshape(out.size), n_head * head_size, float32(1.0)
    padded_time, row = _round_up(n_time, LANES), _round_up(head_size, LANES)
    queries, keys = np.zeros(padded_time * row, np.float32), np.zeros(padded_time * row, np.float32)
    values, weights = np.zeros(padded_time * row, np.float32), np.empty(padded_time * LANES, np.float32)
    q_t, attended = np.empty(row * LANES, np.float32), np.zeros(row * LANES, np.float32)
    turned, row_seeds = np.empty(row * LANES, np.float32), np.empty(padded_time, np.uint32)
    largest, totals = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    lanes = np.arange(LANES).astype(np.float32)
    for b in range(n_batch):
        for h in range(n_head):
            at = b * n_time * 3 * width + h * head_size
            _copy(flat, at, 3 * width, head_size, queries, 0, row, n_time, lanes, scale * _LOG2_E)
            _copy(flat, at + width, 3 * width, head_size, keys, 0, row, n_time, lanes, one)
            _copy(flat, at + 2 * width, 3 * width, head_size, values, 0, row, n_time, lanes, one)
            seed_rows(row_seeds, seed, first_row + (b * n_head + h) * n_time)
            for first in range(0, n_time, LANES):
                for d in range(0, row, LANES):
                    transpose(queries, first * row + d, row, q_t, d * LANES, LANES)
                _attend(q_t, keys, values, row_seeds, lanes, first, n_time, head_size, threshold, inverse_keep,
                        weights, attended, largest, totals)  # fmt: skip
                for d in range(0, row, LANES):
                    transpose(attended, d * LANES, LANES, turned, d, row)
                here = min(LANES, n_time - first)
                at = (b * n_time + first) * width + h * head_size
                _copy(turned, 0, row, head_size, flat_out, at, width, here, lanes, one)
                for i in range(here):
                    log_sums[b, h, first + i] = largest[i] + np.log2(totals[i])


@njit(**COMPILED)
def _weigh_again(weights: Any, grads: Any, log_sums: Any, deltas: Any, row_seeds: Any, columns: Any, lanes: Any,
                 first: Any, padded: Any, threshold: Any, inverse_keep: Any) -> None:  # fmt: skip
    """For a block of LANES keys from `first` on, in place, over all queries from there:

    `weights` (T, LANES), scores so far, become weights after dropout; `grads` (T, LANES), gradients of those weights so
    far, become gradients of the scores.
    """
    lane, column, zero = load(lanes, 0), load(columns, first), splat(float32(0.0))
    for i in range(first, padded):
        weight = _exp2(load(weights, i * LANES) - broadcast(log_sums, i))
        if i < first + LANES:
            weight = where(splat(float32(i - first)) < lane, zero, weight)
        grad, dropped = load(grads, i * LANES), weight * inverse_keep
        if threshold != KEEP_ALL:
            kept = hash_bits(broadcast(row_seeds, i) + column) <= splat(threshold)
            dropped, grad = where(kept, dropped, zero), where(kept, grad, zero)
        store(weights, i * LANES, dropped)
        store(grads, i * LANES, weight * (grad * inverse_keep - broadcast(deltas, i)))


@njit(**COMPILED)
def _attend_back(q: Any, k: Any, v: Any, grad: Any, log_sums: Any, deltas: Any, row_seeds: Any, columns: Any,
                 lanes: Any, first: Any, n_time: Any, head_size: Any, threshold: Any, inverse_keep: Any, room: Any,
                 grad_q: Any, grad_k: Any, grad_v: Any) -> None:  # fmt: skip
    """The block of LANES keys from `first` on: its part of `grad_q` (T, row), all of its rows of `grad_k`, `grad_v`.

    Args:
        q, k, v, grad: (T, row), the queries scaled so that powers of two give the weights.
        room: four arrays, two for (T, LANES), two for (row, LANES).
    """
    weights, grads, left, right = room
    padded, row = _round_up(n_time, _ROWS), len(left) // LANES
    for d in range(0, row, LANES):
        transpose(k, first * row + d, row, left, d * LANES, LANES)
        transpose(v, first * row + d, row, right, d * LANES, LANES)
    for i in range(first, padded, _ROWS):
        _product(q, i * row, row, 1, left, 0, LANES, head_size, weights, i * LANES, LANES, False)
        _product(grad, i * row, row, 1, right, 0, LANES, head_size, grads, i * LANES, LANES, False)
    _weigh_again(weights, grads, log_sums, deltas, row_seeds, columns, lanes, first, padded, threshold, inverse_keep)
    at, n = first * LANES, padded - first
    for d in range(0, row, _ROWS):
        _product(q, first * row + d, 1, row, grads, at, LANES, n, left, d * LANES, LANES, False)
        _product(grad, first * row + d, 1, row, weights, at, LANES, n, right, d * LANES, LANES, False)
    for d in range(0, row, LANES):
        transpose(left, d * LANES, LANES, grad_k, first * row + d, row)
        transpose(right, d * LANES, LANES, grad_v, first * row + d, row)
        for i in range(first, padded, _ROWS):
            _product(grads, i * LANES, LANES, 1, k, first * row + d, row, LANES, grad_q, i * row + d, row, True)


@compiled_and_kept
def attention_backward(qkv: Floats, out: Floats, log_sums: Floats, grad_out: Floats, grad_qkv: Floats, first_row: Any,
                       scale: Any, threshold: Any, inverse_keep: Any, seed: Any) -> None:  # fmt: skip
    """Writes the gradient `grad_qkv` (B, T, 3, H, D) from `grad_out` (B, T, H, D); the rest as in the forward pass.

    Weights are computed again from the rows' sums (Dao et al. 2022, "FlashAttention", algorithm 4).
    """
    n_batch, n_time, _, n_head, head_size = qkv.shape
    flat, flat_grad, width, one = qkv.reshape(qkv.size), grad_qkv.reshape(qkv.size), n_head * head_size, float32(1.0)
    flat_out, flat_grad_out = out.reshape(out.size), grad_out.reshape(out.size)
    padded_time, row = _round_up(n_time, LANES), _round_up(head_size, LANES)
    q, k, v = (
        np.zeros(padded_time * row, np.float32),
        np.zeros(padded_time * row, np.float32),
        np.zeros(padded_time * row, np.float32),
    )
    grad, attended = np.zeros(padded_time * row, np.float32), np.zeros(padded_time * row, np.float32)
    grad_q, grad_k, grad_v = np.empty_like(q), np.empty_like(q), np.empty_like(q)
    room = (np.empty(padded_time * LANES, np.float32), np.empty(padded_time * LANES, np.float32),
            np.empty(row * LANES, np.float32), np.empty(row * LANES, np.float32))  # fmt: skip
    sums, deltas = np.zeros(padded_time, np.float32), np.zeros(padded_time, np.float32)
    row_seeds, columns = np.empty(padded_time, np.uint32), np.empty(padded_time, np.uint32)
    lanes = np.arange(LANES).astype(np.float32)
    for j in range(padded_time):
        columns[j] = uint32(uint32(j) * COLUMN_STEP)
    for b in range(n_batch):
        for h in range(n_head):
            at, at_out = b * n_time * 3 * width + h * head_size, b * n_time * width + h * head_size
            _copy(flat, at, 3 * width, head_size, q, 0, row, n_time, lanes, scale * _LOG2_E)
            _copy(flat, at + width, 3 * width, head_size, k, 0, row, n_time, lanes, one)
            _copy(flat, at + 2 * width, 3 * width, head_size, v, 0, row, n_time, lanes, one)
            _copy(flat_grad_out, at_out, width, head_size, grad, 0, row, n_time, lanes, one)
            _copy(flat_out, at_out, width, head_size, attended, 0, row, n_time, lanes, one)
            for j in range(n_time):
                delta = splat(float32(0.0))  # the sum over keys of weight times gradient of the weight
                for d in range(0, row, LANES):
                    delta = load(grad, j * row + d) * load(attended, j * row + d) + delta
                deltas[j], sums[j] = sum_lanes(delta), log_sums[b, h, j]
            seed_rows(row_seeds, seed, first_row + (b * n_head + h) * n_time)
            grad_q[:] = 0
            for first in range(0, n_time, LANES):
                _attend_back(q, k, v, grad, sums, deltas, row_seeds, columns, lanes, first, n_time, head_size,
                             threshold, inverse_keep, room, grad_q, grad_k, grad_v)  # fmt: skip
            _copy(grad_q, 0, row, head_size, flat_grad, at, 3 * width, n_time, lanes, scale)
            _copy(grad_k, 0, row, head_size, flat_grad, at + width, 3 * width, n_time, lanes, _LN_2)
            _copy(grad_v, 0, row, head_size, flat_grad, at + 2 * width, 3 * width, n_time, lanes, one)
