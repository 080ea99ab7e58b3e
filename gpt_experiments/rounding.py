"""Numbers as a reader should see them: no digit that the noise has made up."""

from __future__ import annotations

import math
from typing import Final

_LARGE: Final = 1e7  # from here on, and below _SMALL, a number has an exponent
_SMALL: Final = 1e-5
_KNOWN_DIGITS: Final = 3  # of a value whose noise is not known


def rounded(mean: float, half_width: float, *, signed: bool = True) -> str:
    """`-0.0123 ± 0.0040`: a value with half of its interval's width, which has two significant digits.

    Without a half width, which is NaN where there is one seed, the value stands alone: see `rounded_value`. A half
    width of 0 is shown as such: the same value came out every time. No zero has a sign.

    Args:
        signed: whether a positive value gets a plus, as a difference does.
    """
    if math.isnan(half_width):
        return rounded_value(mean, half_width, signed=signed)
    if half_width == 0 or math.isinf(half_width):
        return f"{rounded_value(mean, half_width, signed=signed)} ± {half_width:g}"
    power = _power(mean, half_width)
    if power:
        scale = 10.0**power
        return f"({rounded(mean / scale, half_width / scale, signed=signed)})e{power:+03d}"
    decimals = decimals_of(half_width)
    return f"{_fixed(mean, decimals, signed=signed)} ± {_fixed(half_width, decimals, signed=False)}"


def rounded_value(mean: float, half_width: float = math.nan, *, signed: bool = False, digits: int = 2) -> str:
    """`-0.0123`: the value alone, to the digits that `rounded` would show beside its half width.

    Where the half width is not known it has three significant digits, and three decimals below 10.

    Args:
        digits: those of the half width that count, in a sentence for instance 1.
    """
    if not math.isfinite(mean):
        return "unknown"
    if math.isnan(half_width) or math.isinf(half_width) or half_width == 0:
        if mean != 0 and not _SMALL <= abs(mean) < _LARGE:
            return f"{mean:{'+' if signed else ''}.{_KNOWN_DIGITS - 1}e}"
        decimals = _KNOWN_DIGITS - 1 - _exponent(mean, _KNOWN_DIGITS) if mean else _KNOWN_DIGITS
        return _fixed(mean, max(decimals, _KNOWN_DIGITS) if abs(mean) < 10 else decimals, signed=signed)
    power = _power(mean, half_width)
    if power:
        scale = 10.0**power
        shown = rounded_value(mean / scale, half_width / scale, signed=signed, digits=digits)
        return f"{shown}e{power:+03d}"
    return _fixed(mean, decimals_of(half_width, digits), signed=signed)


def rounded_interval(low: float, high: float, *, signed: bool = True) -> str:
    """`-0.0163 to -0.0083`: both ends to the digits of half of the width; empty where they are not known."""
    if math.isnan(low) or math.isnan(high):
        return ""
    half_width = (high - low) / 2
    if half_width > 0 and (power := _power(max(abs(low), abs(high)), half_width)):
        scale = 10.0**power
        return f"({rounded_interval(low / scale, high / scale, signed=signed)})e{power:+03d}"
    return " to ".join(rounded_value(end, half_width, signed=signed) for end in (low, high))


def decimals_of(half_width: float, digits: int = 2) -> int:
    """How many decimals show so many significant digits of a half width above 0; negative where it is large."""
    return digits - 1 - _exponent(half_width, digits)


def _exponent(value: float, digits: int) -> int:
    """The power of ten of the first digit of `value` once it is rounded to so many digits: 0.0996 to 2 gives -1."""
    return int(f"{value:.{digits - 1}e}".split("e")[1])


def _power(mean: float, half_width: float) -> int:
    """The power of ten to be written apart; 0 where the numbers are short enough without."""
    if max(abs(mean), half_width) >= _LARGE or half_width < _SMALL:
        return _exponent(max(abs(mean), half_width), 2)
    return 0


def _fixed(value: float, decimals: int, *, signed: bool) -> str:
    text = f"{round(value, decimals):{'+' if signed else ''},.{max(0, decimals)}f}"
    return text.lstrip("+-") if not any(digit in text for digit in "123456789") else text
