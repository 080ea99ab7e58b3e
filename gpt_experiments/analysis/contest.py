"""A model against the champion: whether its loss on fresh seeds is lower, or equivalent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from gpt_experiments.analysis.estimate import LEVEL


@dataclass(frozen=True, kw_only=True)
class Contest:
    """The mean loss of one variant minus that of another, each over its own seeds.

    Attributes:
        difference: nats per character; below zero the first is better.
        low, high: its 95 % interval.
        p_value: two-sided, of the difference being zero.
        p_equivalent: the larger one of two one-sided tests, of the difference lying outside the margin.
        seeds: how many seeds of each; the same ones if it is paired.
        is_paired: whether both were trained with the same seeds; else it is Welch's test.
    """

    difference: float
    low: float
    high: float
    p_value: float
    p_equivalent: float
    seeds: tuple[int, int]
    is_paired: bool
    margin: float

    @property
    def is_better(self) -> bool:
        """Whether the first is better by the test at 5 %."""
        return self.p_value < LEVEL and self.difference < 0

    @property
    def is_equivalent(self) -> bool:
        """Whether the difference lies within the margin by two one-sided tests at 5 % (Schuirmann 1987)."""
        return self.p_equivalent < LEVEL

    @property
    def verdict(self) -> str:
        """`better`, `equivalent`, `worse` or `undecided`, the first that holds."""
        if self.is_better:
            return "better"
        if self.is_equivalent:
            return "equivalent"
        return "worse" if self.p_value < LEVEL else "undecided"

    @property
    def half_width(self) -> float:
        """The number after the plus-minus sign."""
        return (self.high - self.low) / 2


def contest(new: Mapping[int, float], old: Mapping[int, float], margin: float) -> Contest | None:
    """Compare two variants by their losses, each by its seed; None where a test is impossible.

    The differences are paired by the seeds that both have, if there are at least two; else it is Welch's test, for
    which each needs two seeds.
    """
    shared = sorted(new.keys() & old.keys())
    if len(shared) >= 2:
        differences = np.array([new[seed] - old[seed] for seed in shared])
        error = float(differences.std(ddof=1)) / math.sqrt(len(shared))
        counts = len(shared), len(shared)
        return _contest(float(differences.mean()), error, len(shared) - 1, counts, margin, is_paired=True)
    if len(new) < 2 or len(old) < 2:
        return None
    a, b = np.array([*new.values()]), np.array([*old.values()])
    parts = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    spread = float(sum(parts))
    weighted = parts[0] ** 2 / (len(a) - 1) + parts[1] ** 2 / (len(b) - 1)
    degrees = spread**2 / weighted if weighted else len(a) + len(b) - 2
    difference = float(a.mean() - b.mean())
    return _contest(difference, math.sqrt(spread), degrees, (len(a), len(b)), margin, is_paired=False)


def _contest(
    difference: float, error: float, degrees: float, seeds: tuple[int, int], margin: float, *, is_paired: bool
) -> Contest:
    if error <= 1e-12:  # the same number every time, but for rounding
        half, p_value = 0.0, 1.0 if abs(difference) < 1e-12 else 0.0
        p_equivalent = 0.0 if abs(difference) < margin else 1.0
    else:
        half = float(stats.t.ppf(1 - LEVEL / 2, degrees)) * error
        p_value = float(2 * stats.t.sf(abs(difference) / error, degrees))
        p_equivalent = float(stats.t.sf((margin - abs(difference)) / error, degrees))
    return Contest(
        difference=difference,
        low=difference - half,
        high=difference + half,
        p_value=p_value,
        p_equivalent=p_equivalent,
        seeds=seeds,
        is_paired=is_paired,
        margin=margin,
    )
