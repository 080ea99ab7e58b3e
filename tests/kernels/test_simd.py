"""Vectors inside compiled functions against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

from numba import float32, njit, uint32

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

X = np.linspace(-3, 4, 3 * LANES).astype(np.float32)
Y = np.random.default_rng(0).permutation(X)
WORDS = np.random.default_rng(1).integers(2**32, size=3 * LANES, dtype=np.uint32)


@njit
def _arithmetic(x, y, out):
    a, b = load(x, 1), load(y, 1)
    store(out, 0, a + b)
    store(out, LANES, a * b - a)
    store(out, 2 * LANES, max(a, b))
    store(out, 3 * LANES, a / (b + float32(10.0)))
    store(out, 4 * LANES, where(a < b, a, splat(float32(7.0))))
    store(out, 5 * LANES, floor(a))
    store(out, 6 * LANES, float32(2.0) * broadcast(x, 5) + a)
    store(out, 7 * LANES, power_of_two(floor(a)))


def test_arithmetic_of_floats() -> None:
    out = np.empty(8 * LANES, np.float32)
    _arithmetic(X, Y, out)
    a, b = X[1 : LANES + 1], Y[1 : LANES + 1]
    expected = [a + b, a * b - a, np.maximum(a, b), a / (b + 10), np.where(a < b, a, 7), np.floor(a), 2 * X[5] + a]
    expected.append(2 ** np.floor(a))
    for found, right in zip(out.reshape(8, LANES), expected, strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-6, atol=1e-6)


@njit
def _of_words(words, out):
    a = load(words, 3)
    mixed = (a ^ (a >> uint32(15))) * uint32(0x846CA68B) + a
    for lane in range(LANES):
        out[lane] = 0.0
    store(out, 0, where(mixed <= splat(uint32(2**31)), splat(float32(1.0)), splat(float32(0.0))))


def test_arithmetic_of_words_wraps_around_and_compares_unsigned() -> None:
    out = np.empty(LANES, np.float32)
    _of_words(WORDS, out)
    a = WORDS[3 : LANES + 3]
    mixed = (a ^ (a >> np.uint32(15))) * np.uint32(0x846CA68B) + a
    assert np.array_equal(out, mixed <= 2**31)
    assert 0 < out.sum() < LANES


@njit
def _moved(x, n, some, square, turned):
    lanes = np.arange(LANES).astype(np.float32)
    inside = load(lanes, 0) < float32(n)
    store_some(some, 2, load_some(x, 1, inside) + float32(1.0), inside)
    transpose(square, 1, LANES + 2, turned, 3, LANES + 1)
    return sum_lanes(load(x, 2))


@pytest.mark.parametrize("n", [1, 3, LANES])
def test_a_part_of_a_vector_a_transposed_square_and_a_sum(n: int) -> None:
    some = np.full(LANES + 4, -1, np.float32)
    square = np.random.default_rng(2).random(LANES * (LANES + 2) + 1, dtype=np.float32)
    turned = np.zeros(LANES * (LANES + 1) + 3, np.float32)
    total = _moved(X, n, some, square, turned)
    expected = np.full(LANES + 4, -1, np.float32)
    expected[2 : n + 2] = X[1 : n + 1] + 1
    np.testing.assert_allclose(some, expected)
    rows = square[1:].reshape(LANES, LANES + 2)[:, :LANES]
    np.testing.assert_array_equal(turned[3:].reshape(LANES, LANES + 1)[:, :LANES], rows.T)
    assert total == pytest.approx(float(X[2 : LANES + 2].sum()), abs=1e-4)
