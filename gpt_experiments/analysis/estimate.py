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
    """The mean of independent values, one a seed.

    Attributes:
        n: how many values.
        low, high: its 95 % interval by Student's t with n - 1 degrees of freedom (Student 1908), which is exact for
            normal values; NaN of a single value.
        p_value: two-sided, of the mean being 0; NaN of a single value.
    """

    mean: float
    low: float
    high: float
    p_value: float
    n: int

    @property
    def half_width(self) -> float:
        """Half of the interval's width: the number after the plus-minus sign."""
        return (self.high - self.low) / 2


def estimate(values: ArrayLike) -> Estimate:
    """The mean of `values` (n,), n at least 1, with its interval; equal values have an interval of no width."""
    array = np.asarray(values, dtype=float)
    n, mean = len(array), float(np.mean(array))
    if n < 2:
        return Estimate(mean=mean, low=math.nan, high=math.nan, p_value=math.nan, n=n)
    spread = float(np.std(array, ddof=1))
    if spread <= 1e-12 * max(1.0, abs(mean)):  # the same number every time, but for rounding
        return Estimate(mean=mean, low=mean, high=mean, p_value=1.0 if abs(mean) < 1e-12 else 0.0, n=n)
    result = stats.ttest_1samp(array, 0.0)
    interval = result.confidence_interval(1 - LEVEL)
    return Estimate(mean=mean, low=float(interval.low), high=float(interval.high), p_value=float(result.pvalue), n=n)


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


def detectable(sd: float, n: int, comparisons: int) -> float:
    """The least mean difference of `n` pairs that could get a verdict, corrected for the comparisons.

    Args:
        sd: standard deviation of a single paired difference.
        n: seeds, at least 2.
        comparisons: size of the family; Holm's first and strictest step is taken.
    """
    quantile = float(stats.t.ppf(1 - LEVEL / comparisons / 2, n - 1))
    return quantile * sd / math.sqrt(n)
