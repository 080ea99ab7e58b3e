"""Means, intervals and corrections against numbers that are known."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from gpt_experiments.analysis import adjusted, estimate


def test_an_interval_is_students() -> None:
    """Fisher's sleep data (Student 1908): the differences of ten patients, mean 1.58, t = 4.0621 on 9 degrees."""
    differences = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
    found = estimate(differences)
    assert found.mean == pytest.approx(1.58)
    assert found.p_value == pytest.approx(0.00283289, rel=1e-5)
    assert (found.low, found.high) == pytest.approx((0.7001142, 2.4598858), rel=1e-6)
    assert found.half_width == pytest.approx(0.8798858, rel=1e-6)


def test_one_value_has_no_interval_and_equal_values_none_to_speak_of() -> None:
    assert math.isnan(estimate([0.3]).low)
    assert math.isnan(estimate([0.3]).p_value)
    assert estimate([0.0, 0.0, 0.0]).p_value == 1
    same = estimate([0.1, 0.1, 0.1])
    assert (same.low, same.high, same.p_value) == (same.mean, same.mean, 0)


def test_holms_correction_by_hand() -> None:
    # Sorted: 0.01 * 4, 0.02 * 3, 0.03 * 2, 0.04 * 1, each at least its predecessor.
    assert adjusted([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    with_nan = adjusted([0.01, math.nan, 0.5])
    assert with_nan[0] == pytest.approx(0.02)
    assert math.isnan(with_nan[1])
    assert all(map(math.isnan, adjusted([math.nan])))
    assert adjusted([]) == []


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@pytest.mark.slow
def test_holms_correction_is_that_of_statsmodels(p_values: list[float]) -> None:
    assert adjusted(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]), rel=1e-12)
