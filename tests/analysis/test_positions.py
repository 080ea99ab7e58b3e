"""Losses by position whose truth is known: what is pooled, what bands hold, and how contexts are compared."""

from __future__ import annotations

import numpy as np
import pytest

from gpt_experiments.analysis import own_characters, same_characters

LONG, SHORT, STRETCHES = 64, 16, 200
RNG = np.random.default_rng(0)
HARD = RNG.normal(0, 1, LONG * STRETCHES)  # how hard each character is, for every model


def losses(block_size: int, gain: float = 1.0) -> np.ndarray:
    """Of a model that gains with the logarithm of what it has seen."""
    seen = np.arange(LONG * STRETCHES) % block_size + 1
    return 3 + HARD - gain * np.log2(seen) / 6 + RNG.normal(0, 0.05, LONG * STRETCHES)


def test_contexts_are_compared_on_the_same_characters() -> None:
    pools = same_characters({SHORT: [losses(SHORT)], LONG: [losses(LONG)]}, base=LONG)
    short = pools[pools["level"] == SHORT].set_index("last")
    assert [*short["sees_all"]] == [last <= SHORT for last in short.index]
    assert np.isfinite(short["difference"]).all()
    seen_alike = short[short["sees_all"]]
    assert (seen_alike["less"] < 0.02).all()  # what both see alike, both predict alike, to their own noise
    assert (seen_alike["more"] > -0.02).all()
    end = short.iloc[-1]
    assert end["difference"] == pytest.approx(0.5, abs=0.1)
    # The text's noise is as large as the loss's range, but the same for both: it cancels in the difference.
    assert end["more"] - end["less"] < (end["high"] - end["low"]) / 3
    assert np.isnan(pools[pools["level"] == LONG]["difference"]).all()


def test_positions_are_pooled_until_their_noise_is_small_and_every_character_counts_once() -> None:
    pools = same_characters({LONG: [losses(LONG, gain=3)]}, base=LONG)
    halves = (pools["high"] - pools["low"]) / 2
    assert (halves / 1.97 < 3.2 / 20).all()
    assert [*pools["first"][1:]] == [last + 1 for last in pools["last"][:-1]]
    assert (pools["first"].iloc[0], pools["last"].iloc[-1]) == (1, LONG)
    widths = pools["last"] - pools["first"] + 1
    mean = losses(LONG, gain=3).mean()
    assert np.average(pools["loss"], weights=widths) == pytest.approx(mean, abs=0.02)
    flat = same_characters({LONG: [losses(LONG, gain=0)]}, base=LONG)
    assert len(flat) < len(pools)  # where nothing falls there is nothing to tell apart


def test_bands_hold_the_truth_about_as_often_as_they_say() -> None:
    rng, inside = np.random.default_rng(1), 0
    for _ in range(200):
        text = np.repeat(rng.normal(0, 0.3, 40), 8) + rng.normal(2, 1, 320)  # passages are hard as a whole
        pools = same_characters({8: [text]}, base=8)
        inside += int(pools["low"].iloc[-1] <= 2 <= pools["high"].iloc[-1])
    assert 180 <= inside <= 199


def test_a_short_text_has_no_pools() -> None:
    assert same_characters({64: [np.full(200, 2.0)]}, base=64).empty


def test_without_single_losses_the_noise_is_read_off_the_curve() -> None:
    noise = np.random.default_rng(2).normal(0, 0.05, 256)
    pools = own_characters({256: 3 - np.log2(np.arange(1, 257)) / 8 + noise, 4: np.array([3.0, 2.9, 2.8, 2.7])})
    long = pools[pools["level"] == 256]
    error = (long["high"] - long["low"]) / 2 / 1.96 * np.sqrt(long["last"] - long["first"] + 1)
    assert error.to_numpy() == pytest.approx(0.05, rel=0.25)
    assert np.isnan(pools["difference"]).all()
    assert np.isnan(pools[pools["level"] == 4]["low"]).all()
