"""How many seeds a sweep needs to find a difference of a given size, from the noise that it has."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from scipy import stats

from gpt_experiments.analysis.effects import SEED_SD, Effect, effects, noise
from gpt_experiments.analysis.estimate import LEVEL
from gpt_experiments.analysis.results import SweepResults, level_name

POWER: Final = 0.8
"""The chance of finding a difference that is there, on which advice rests."""

SIZES: Final = (0.005, 0.01, 0.02, 0.05)
"""Differences that one may want to find, nats per character."""

COLUMNS: Final = {f"seeds_for_{size:g}".replace(".", "_"): size for size in SIZES}
"""The columns of `power_table` that say how many seeds find a difference of that size."""

_POINTS: Final = 400

MOST: Final = 1_000
"""More seeds than that are as good as none that are enough."""


def power(sd: float, difference: float, seeds: int, comparisons: int) -> float:
    """The chance that a difference gets its verdict, better or worse, at one look at `seeds` seeds, at least 2.

    Noncentral t (Cohen, "Statistical Power Analysis", 1988), at the level of one of so many comparisons.

    Args:
        sd: standard deviation over seeds of the paired difference.
    """
    critical = float(stats.t.ppf(1 - LEVEL / comparisons / 2, seeds - 1))
    shift = abs(difference) / (sd / math.sqrt(seeds)) if sd > 0 else math.inf
    exact = float(stats.nct.sf(critical, seeds - 1, shift)) if shift < math.inf else 1.0
    return exact if not math.isnan(exact) else float(stats.norm.cdf(shift - critical))  # so far apart, all are alike


def power_of_equivalence(sd: float, margin: float, seeds: int, comparisons: int) -> float:
    """The chance that the verdict is equivalent where there is no difference at all, as in `power`.

    The mean over the distribution of the standard error, of the chance that the mean lies close enough to 0.
    """
    critical = float(stats.t.ppf(1 - LEVEL / comparisons / 2, seeds - 1))
    if sd == 0:
        return 1.0
    se = np.sqrt(stats.chi2.ppf((np.arange(_POINTS) + 0.5) / _POINTS, seeds - 1) / (seeds - 1))  # in units of the true
    room = margin * math.sqrt(seeds) / sd
    limit = np.clip(np.minimum(critical * se, room - critical * se), 0.0, None)
    return float(np.mean(2 * stats.norm.cdf(limit) - 1))


def seeds_needed(sd: float, difference: float, comparisons: int) -> int | None:
    """The fewest seeds with a power of 80 %; None where 1,000 are not enough."""
    return _fewest(lambda seeds: power(sd, difference, seeds, comparisons) >= POWER)


def seeds_for_equivalence(sd: float, margin: float, comparisons: int) -> int | None:
    """The fewest seeds that show with a power of 80 % that there is no difference beyond the margin."""
    return _fewest(lambda seeds: power_of_equivalence(sd, margin, seeds, comparisons) >= POWER)


def _fewest(is_enough: Callable[[int], bool]) -> int | None:
    low, high = 2, 2
    while not is_enough(high):
        if high >= MOST:
            return None
        low, high = high, min(MOST, 2 * high)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle + 1, high)
    return high


@dataclass(frozen=True, kw_only=True)
class Noise:
    """How much a sweep's comparisons vary over seeds.

    Attributes:
        by_comparison: standard deviation of the paired difference, nats per character, by level (`n_head=8`).
        is_measured: False where no comparison has two seeds: then it is what is usual, or taken from one variant's.
    """

    by_comparison: dict[str, float]
    is_measured: bool


def noise_of_comparisons(results: SweepResults, found: Sequence[Effect] | None = None) -> Noise:
    """The noise of each comparison of the sweep, from its own seeds or interactions; in a grid it is that of a mean.

    Where neither tells, the two losses count as independent, each as noisy as one variant of this sweep, or as usual.
    """
    found = effects(results) if found is None else found
    single = noise(results)
    usual = math.sqrt(2) * (SEED_SD if single is None else single)
    by_comparison, is_measured = {}, False
    for effect in found:
        difference = effect.difference
        is_known = not math.isnan(difference.se)
        is_measured |= is_known
        sd = difference.se * math.sqrt(difference.n) if is_known else usual
        by_comparison[level_name(effect.hyperparameter, effect.level)] = sd
    return Noise(by_comparison=by_comparison, is_measured=is_measured)


def power_table(results: SweepResults, found: Sequence[Effect] | None = None) -> pd.DataFrame:
    """Seeds that each comparison needs for differences of SIZES, and to be found equivalent, with a power of 80 %.

    Columns: `level`, `sd` of the paired difference in nats per character, one for each size (`seeds_for_0_02`),
    `seeds_for_equivalence`; NaN where 1,000 seeds are not enough.
    """
    known = noise_of_comparisons(results, found)
    comparisons = max(1, len(known.by_comparison))
    rows = [
        {
            "level": level,
            "sd": sd,
            **{column: seeds_needed(sd, size, comparisons) for column, size in COLUMNS.items()},
            "seeds_for_equivalence": seeds_for_equivalence(sd, results.margin, comparisons),
        }
        for level, sd in known.by_comparison.items()
    ]
    numbers = ["sd", *COLUMNS, "seeds_for_equivalence"]
    return pd.DataFrame(rows, columns=["level", *numbers]).astype(dict.fromkeys(numbers, float))
