"""What a loss costs: a law of loss and size, and which variants no other beats in both cost and loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pandas as pd
from scipy import stats

from gpt_experiments.analysis.effects import noise
from gpt_experiments.analysis.estimate import LEVEL
from gpt_experiments.analysis.results import LOSS, SweepResults
from gpt_experiments.analysis.surface import Floats

FEWEST_SIZES: Final = 5
"""A law is fitted to no fewer different sizes."""

DRAWS: Final = 2_000
OFTEN: Final = 0.95
"""A variant that is on the front in fewer of the draws may be there by luck."""

_RESAMPLED: Final = 500  # sets to which the law is fitted again
_EXPONENTS: Final = np.geomspace(0.03, 2.0, 36)
_LEAST_GAIN: Final = 2.0  # of Akaike's criterion, for the offset to be believed
_MOST_NAMED: Final = 6


@dataclass(frozen=True, kw_only=True)
class SizeLaw:
    """The mean loss of variants by their size.

    Attributes:
        kind: `power` for `offset + factor * parameters ** -exponent`, `log` for `offset - factor * ln(parameters)`.
        falls: whether the whole interval of the factor says that larger models have a lower loss.
        over: what was resampled for the interval.
        n: how many of those there are.
        curve: `n_params`, `loss`, `low`, `high`: the law and its 95 % interval.
    """

    kind: Literal["power", "log"]
    offset: float
    factor: float
    exponent: float
    falls: bool
    over: Literal["seeds", "variants"]
    n: int
    curve: pd.DataFrame

    @property
    def formula(self) -> str:
        """As `loss = 1.52 + 6.1 * parameters^-0.24`."""
        if self.kind == "log":
            return (
                f"loss = {self.offset:.3g} {'-' if self.factor >= 0 else '+'} {abs(self.factor):.3g} * ln(parameters)"
            )
        return f"loss = {self.offset:.3g} + {self.factor:.3g} * parameters^-{self.exponent:.2g}"


def size_law(results: SweepResults) -> SizeLaw | None:
    """The law of loss and parameters over all variants; None for fewer than FEWEST_SIZES sizes.

    Least squares over the means of variants. The power law with an offset (Hestness et al. 2017, "Deep Learning Scaling
    is Predictable, Empirically") is taken where Akaike's corrected criterion is better by 2 than that of a straight
    line over the logarithm; a few sizes seldom carry the offset. The interval is a bootstrap: whole seeds are drawn
    with replacement, the same for all variants, and deviations are enlarged by sqrt(n / (n - 1)), since n values
    scatter less about their own mean; of one seed, variants are drawn.
    """
    wide = results.finished.pivot_table(index="seed", columns="label", values=LOSS).dropna()  # (seeds, variants)
    variants = results.by_variant.set_index("label")
    if len(wide) < 2:
        wide = variants[[LOSS]].T
    sizes = variants.loc[wide.columns, "n_params"].to_numpy(dtype=float)
    if len(np.unique(sizes)) < FEWEST_SIZES:
        return None
    losses = wide.to_numpy(dtype=float)
    seeds, n = losses.shape
    rng = np.random.default_rng(0)
    middle = float(np.exp(np.log(sizes).mean()))
    x = np.log(sizes / middle)
    at = np.linspace(x.min(), x.max(), 60)
    mean, one = losses.mean(axis=0, keepdims=True), np.ones((1, n))
    line = _fit(x, mean, one, (0.0,))
    power = _fit(x, mean, one, _EXPONENTS)
    exponent = float(power.exponent[0])
    inside = _EXPONENTS[0] < exponent < _EXPONENTS[-1] and power.slope[0] > 0
    is_power = bool(inside and _criterion(power.rest[0], n, 4) < _criterion(line.rest[0], n, 3) - _LEAST_GAIN)
    over: Literal["seeds", "variants"]
    if seeds > 1:
        drawn = rng.integers(seeds, size=(_RESAMPLED, seeds))
        resampled, weights, over, stretch = losses[drawn].mean(axis=1), one, "seeds", math.sqrt(seeds / (seeds - 1))
    else:
        weights = rng.multinomial(n, np.full(n, 1 / n), size=_RESAMPLED).astype(float)
        resampled, over, stretch = mean, "variants", 1.0
    best = power if is_power else line
    again = _fit(x, resampled, weights, _EXPONENTS if is_power else (0.0,))
    fitted = best.at(at)[0]
    low, high = np.quantile(fitted + stretch * (again.at(at) - fitted), [LEVEL / 2, 1 - LEVEL / 2], axis=0)
    slopes = best.slope[0] + stretch * (again.slope - best.slope[0])
    shift = math.log(middle)
    return SizeLaw(
        kind="power" if is_power else "log",
        offset=float(best.offset[0]) + (0.0 if is_power else float(best.slope[0]) * shift),
        factor=float(best.slope[0]) * (math.exp(exponent * shift) if is_power else 1.0),
        exponent=exponent if is_power else 0.0,
        falls=bool(np.quantile(slopes, LEVEL / 2) > 0),
        over=over,
        n=seeds if seeds > 1 else n,
        curve=pd.DataFrame({"n_params": middle * np.exp(at), "loss": fitted, "low": low, "high": high}),
    )


@dataclass(frozen=True, kw_only=True)
class _Fits:
    """Least squares of several resampled sets of losses: each (sets,)."""

    offset: Floats
    slope: Floats
    exponent: Floats
    rest: Floats

    def at(self, x: Floats) -> Floats:
        """(sets, places)."""
        return np.asarray(self.offset[:, None] + self.slope[:, None] * _falling(x[None], self.exponent[:, None]))


def _falling(x: Floats, exponent: Floats | float) -> Floats:
    """`exp(-exponent * x)`, or `-x` for an exponent of 0."""
    return np.asarray(np.where(np.equal(exponent, 0), -x, np.exp(-np.asarray(exponent) * x)))


def _fit(x: Floats, losses: Floats, weights: Floats, exponents: Sequence[float] | Floats) -> _Fits:
    """For each set the best exponent, with its offset and slope: losses and weights are (sets or 1, variants)."""
    sets, found = max(len(losses), len(weights)), []
    for exponent in exponents:
        basis = _falling(x, exponent)
        total = weights.sum(axis=1)
        mean_x, mean_y = weights @ basis / total, (weights * losses).sum(axis=1) / total
        dx, dy = basis - mean_x[:, None], losses - mean_y[:, None]
        square = (weights * dx**2).sum(axis=1)
        slope = (weights * dx * dy).sum(axis=1) / np.where(square > 0, square, 1.0)
        rest = (weights * (dy - slope[:, None] * dx) ** 2).sum(axis=1)
        found.append([np.broadcast_to(part, (sets,)) for part in (mean_y - slope * mean_x, slope, rest)])
    table = np.array(found)  # (exponents, 3, sets)
    best = table[:, 2].argmin(axis=0)
    offset, slope, rest = np.take_along_axis(table, best[None, None], axis=0)[0]
    return _Fits(offset=offset, slope=slope, exponent=np.asarray(exponents, dtype=float)[best], rest=rest)


def _criterion(rest: float, n: int, k: int) -> float:
    """Akaike's corrected criterion of k numbers fitted to n values (Hurvich and Tsai 1989); infinite of too few."""
    if n <= k + 1:
        return math.inf
    return n * math.log(max(float(rest), 1e-300) / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1)


def front(results: SweepResults, column: str) -> pd.DataFrame:
    """The variants that no other beats in both cost and loss, by rising cost.

    Args:
        column: the cost, of `by_variant`.

    Returns:
        `label`, `column`, the loss, its 95 % interval `low` and `high`, and `share`: in which part of DRAWS draws of
        the seeds' noise the variant is on the front. The interval is Student's t with the noise that all variants
        share. A draw adds to each mean a normal error of its variance; what a seed does to all variants alike moves
        none of them past another, and is left out. All three are NaN where no variant has two seeds.
    """
    variants = results.by_variant[results.by_variant[column] > 0].sort_values([column, LOSS], ignore_index=True)
    costs, losses = variants[column].to_numpy(dtype=float), variants[LOSS].to_numpy(dtype=float)
    counts = variants["n_seeds"].to_numpy(dtype=float)
    sd = noise(results)
    found = variants[["label", column, LOSS]].copy()
    if sd is None:
        found[["low", "high", "share"]] = math.nan
    else:
        degrees = float((counts - 1).sum())
        half = float(stats.t.ppf(1 - LEVEL / 2, degrees)) * sd / np.sqrt(counts)
        found["low"], found["high"] = losses - half, losses + half
        errors = np.random.default_rng(0).normal(size=(DRAWS, len(losses))) * _own_noise(results, sd) / np.sqrt(counts)
        found["share"] = _on_front(costs, losses + errors).mean(axis=0)
    return found[_on_front(costs, losses[None])[0]].reset_index(drop=True)


def _own_noise(results: SweepResults, sd: float) -> float:
    """The noise of a trial without what its seed does to all variants alike."""
    wide = results.finished.pivot_table(index="seed", columns="label", values=LOSS).dropna()
    seeds, n = wide.shape
    if seeds < 2 or n < 2:
        return sd
    values = wide.to_numpy(dtype=float)
    rest = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
    return float(np.sqrt((rest**2).sum() / ((seeds - 1) * (n - 1))))


def _on_front(costs: Floats, losses: Floats) -> np.ndarray:
    """Whether each variant (costs rising) is on the front of each set of losses (sets, variants)."""
    on = np.zeros(losses.shape, dtype=bool)
    best = np.full(len(losses), np.inf)
    for cost in np.unique(costs):
        alike = np.flatnonzero(costs == cost)
        least = losses[:, alike].argmin(axis=1)
        lowest = losses[np.arange(len(losses)), alike[least]]
        better = lowest < best
        on[better, alike[least[better]]] = True
        best = np.minimum(best, lowest)
    return on


def luck_sentence(found: pd.DataFrame) -> str:
    """Which variants of a front are there by luck, as far as one can tell."""
    if found["share"].isna().any():
        return "One seed does not show which variants are on the front by luck; more seeds would."
    doubtful = found[found["share"] < OFTEN].sort_values("share")
    if doubtful.empty:
        return f"All {len(found)} variants of the front stay there in at least 95 % of {DRAWS:,} draws of the noise."
    named = ", ".join(f"{row.label} ({row.share:.0%})" for row in doubtful.head(_MOST_NAMED).itertuples())
    more = f" and {len(doubtful) - _MOST_NAMED} more" if len(doubtful) > _MOST_NAMED else ""
    return (
        f"Of the {len(found)} variants of the front, {len(doubtful)} may be there by luck, because {DRAWS:,} draws of "
        f"the noise leave them there in fewer than 95 %: {named}{more}."
    )
