"""Means with their uncertainty: what a few seeds can and cannot show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

LEVEL: Final = 0.05
"""The chance of a false alarm that is accepted: one minus the confidence of intervals, and the level of tests."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean with its standard error, from which its interval at any level follows by Student's t.

    Attributes:
        se: standard error of the mean; NaN where nothing says how large the noise is.
        df: degrees of freedom of the standard error.
        n: how many seeds it rests on.
    """

    mean: float
    se: float
    df: float
    n: int

    def half_width_at(self, level: float) -> float:
        """Half of the width of the interval that misses the truth with probability `level`; NaN without noise known."""
        if math.isnan(self.se):
            return math.nan
        return float(stats.t.ppf(1 - level / 2, self.df)) * self.se if self.se > 0 else 0.0

    @property
    def half_width(self) -> float:
        """Half of the width of the 95 % interval: the number after the plus-minus sign."""
        return self.half_width_at(LEVEL)

    @property
    def low(self) -> float:
        """The lower end of the 95 % interval, that of this mean by itself."""
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        """The upper end of the 95 % interval, that of this mean by itself."""
        return self.mean + self.half_width

    @property
    def p_value(self) -> float:
        """Two-sided, of the mean being 0; NaN where the noise is not known."""
        if math.isnan(self.se):
            return math.nan
        if self.se == 0:
            return 1.0 if abs(self.mean) < 1e-12 else 0.0
        return float(2 * stats.t.sf(abs(self.mean) / self.se, self.df))


def estimate(values: ArrayLike) -> Estimate:
    """The mean of independent `values` (n,), one a seed, n at least 1.

    Its interval is exact for normal values (Student 1908); equal values have an interval of no width, and a single one
    has none.
    """
    array = np.asarray(values, dtype=float)
    n, mean = len(array), float(np.mean(array))
    if n < 2:
        return Estimate(mean=mean, se=math.nan, df=0, n=n)
    spread = float(np.std(array, ddof=1))
    is_flat = spread <= 1e-12 * max(1.0, abs(mean))  # the same number every time, but for rounding
    return Estimate(mean=mean, se=0.0 if is_flat else spread / math.sqrt(n), df=n - 1, n=n)


def adjusted(p_values: Sequence[float]) -> list[float]:
    """P-values of a family of tests, corrected so that any false alarm in the family is as rare as LEVEL says.

    Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure": the least is multiplied by the number of
    tests, the next by one less, and so on; none falls below the one before. NaN stays NaN and does not count.
    statsmodels has this too, but collects the garbage of the whole process at each call: seconds in a large one.
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    corrected, least = list(p_values), 0.0
    for rank, (p, place) in enumerate(known):
        least = max(least, min(1.0, (len(known) - rank) * p))
        corrected[place] = least
    return corrected
