"""Numbers as a reader sees them, for every size of value and of noise."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gpt_experiments.rounding import rounded, rounded_interval, rounded_value

NAN = math.nan
values = st.floats(-1e12, 1e12, allow_nan=False)
half_widths = st.floats(1e-12, 1e12)


def number(text: str) -> float:
    return float(text.replace(",", ""))


@pytest.mark.parametrize(
    ("mean", "half_width", "shown"),
    [
        (-0.012345, 0.00401, "-0.0123 ± 0.0040"),
        (0.206312, 0.0123, "+0.206 ± 0.012"),
        (13.3045, 2.12, "+13.3 ± 2.1"),
        (0.0996, 0.0996, "+0.10 ± 0.10"),
        (-0.0004, 0.11, "0.00 ± 0.11"),
        (123_456.0, 2_345.0, "+123,500 ± 2,300"),
        (1.2345e9, 1.2e7, "(+1.234 ± 0.012)e+09"),
        (0.25, 3e-7, "(+2.5000000 ± 0.0000030)e-01"),
        (-0.012345, NAN, "-0.0123"),
        (2.53412, NAN, "+2.534"),
        (133.045, NAN, "+133"),
        (0.0, NAN, "0.000"),
        (0.5, 0.0, "+0.500 ± 0"),
    ],
)
def test_the_noise_decides_the_digits(mean: float, half_width: float, shown: str) -> None:
    assert rounded(mean, half_width) == shown


@given(values, half_widths)
def test_what_is_shown_is_off_by_less_than_the_noise_and_no_zero_has_a_sign(mean: float, half_width: float) -> None:
    text = rounded(mean, half_width)
    parts = re.fullmatch(r"\(?([+-]?[\d,.]+) ± ([\d,.]+)(?:\)e([+-]\d+))?", text)
    assert parts is not None, text
    scale = 10.0 ** int(parts[3] or 0)
    assert abs(number(parts[1]) * scale - mean) <= 0.051 * half_width + 1e-9 * abs(mean)
    assert number(parts[2]) * scale == pytest.approx(half_width, rel=0.051)
    assert len(parts[2].replace(",", "").replace(".", "").strip("0")) <= 2
    assert number(parts[1]) != 0 or parts[1][0] not in "+-"
    assert rounded_value(mean, half_width, signed=True) == (
        parts[1] + (f"e{parts[3]}" if parts[3] else "")
    )  # the same digits without the noise


@given(values)
def test_a_value_without_noise_keeps_three_digits(mean: float) -> None:
    assume(mean == 0 or abs(mean) > 1e-12)
    assert number(rounded(mean, NAN)) == pytest.approx(mean, rel=0.0051)


@given(values, half_widths)
def test_the_ends_of_an_interval_have_the_digits_of_its_half_width(low: float, width: float) -> None:
    assume(low + width > low)
    text = rounded_interval(low, low + width, signed=False)
    ends = re.fullmatch(r"\(?(-?[\d,.]+) to (-?[\d,.]+)(?:\)e([+-]\d+))?", text)
    assert ends is not None, text
    scale = 10.0 ** int(ends[3] or 0)
    for end, exact in ((ends[1], low), (ends[2], low + width)):
        assert abs(number(end) * scale - exact) <= 0.051 * width + 1e-9 * abs(exact)


def test_what_is_not_known_is_said() -> None:
    assert rounded(NAN, NAN) == rounded_value(math.inf) == "unknown"
    assert rounded_interval(NAN, NAN) == ""
    assert rounded(1.5, math.inf) == "+1.500 ± inf"
