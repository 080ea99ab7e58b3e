"""What each level of each hyperparameter does to the loss, against the baseline's level."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import pandas as pd

from gpt_experiments.analysis.estimate import LEVEL, Estimate, adjusted, estimate
from gpt_experiments.analysis.results import LOSS, SweepResults

Verdict = Literal["better", "worse", "undecided", "no difference seen", "no verdict"]

SEED_SD: Final = 0.005
"""A usual standard deviation of one variant's validation loss over seeds, nats per character; see `noise`.

It lies between two that were measured on Tiny Shakespeare: 0.003 of the baseline after 1,000 steps of the study's setup
(four seeds), and 0.011 of the eleven variants after 150 steps of batches of 8 at a learning rate of 1e-3 (two seeds).
"""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One level of one hyperparameter, compared with the baseline's level.

    Attributes:
        difference: loss at the level minus loss at the baseline's level, nats per character, paired: the same seed (so
            the same data order where shapes agree) and the same other hyperparameters; one value a seed, the mean over
            `combinations` pairs.
        combinations: how many combinations of the other hyperparameters both levels were tried with: 1 when one is
            changed at a time.
        better_in: in how many of them the level had the lower mean loss.
        p_adjusted: the p-value corrected for all comparisons of the sweep.
        lost_seeds: seeds that finished trials have, but that could not be paired because another one failed or is
            missing.
    """

    hyperparameter: str
    level: float
    base_level: float
    difference: Estimate
    combinations: int
    better_in: int
    p_adjusted: float
    lost_seeds: int

    @property
    def n(self) -> int:
        """How many seeds it rests on."""
        return self.difference.n

    @property
    def verdict(self) -> Verdict:
        """The verdict on the level."""
        return verdict_of(self.difference, self.p_adjusted)


def verdict_of(difference: Estimate, p_adjusted: float) -> Verdict:
    """The verdict on a difference of losses; there is none if it rests on one seed.

    It is undecided if its own interval excludes zero, but its verdict does not survive the correction for all
    comparisons.
    """
    if math.isnan(p_adjusted):
        return "no verdict"
    if p_adjusted >= LEVEL:
        return "undecided" if difference.p_value < LEVEL else "no difference seen"
    return "better" if difference.mean < 0 else "worse"


def effects(results: SweepResults) -> list[Effect]:
    """One effect for each level other than the baseline's, in the order of hyperparameters and levels.

    Hyperparameters whose baseline level no finished trial has are left out: there is nothing to compare with.
    """
    found = []
    for name in results.varied:
        base = results.base_level(name)
        for level in results.levels(name):
            pairs = paired(results, name, level, base) if level != base else None
            if pairs is not None and pairs.size:
                found.append((name, level, base, pairs))
    estimates = [estimate(pairs.mean(axis=1)) for *_, pairs in found]
    corrected = adjusted([each.p_value for each in estimates])
    return [
        Effect(
            hyperparameter=name,
            level=level,
            base_level=base,
            difference=each,
            combinations=pairs.shape[1],
            better_in=int((pairs.mean(axis=0) < 0).sum()),
            p_adjusted=p,
            lost_seeds=len(results.finished_seeds) - len(pairs),
        )
        for (name, level, base, pairs), each, p in zip(found, estimates, corrected, strict=True)
    ]


def paired(results: SweepResults, name: str, level: float, base: float, column: str = LOSS) -> pd.DataFrame:
    """`column` at `level` minus at `base`: one row a seed, one column a combination of the others.

    Combinations that lack one of the two levels altogether are left out, then seeds that lack one in any of them.
    """
    others = [other for other in results.parameters if other != name]
    rows = results.finished.set_index(["seed", *others])
    at_level = rows[rows[name] == level][column]
    at_base = rows[rows[name] == base][column]
    difference = (at_level - at_base).rename("difference")  # aligned by seed and combination; NaN where one is missing
    wide = difference.unstack(others)  # (seeds, combinations)
    return wide.dropna(axis="columns", how="all").dropna(axis="index", how="any")


def relative_change(results: SweepResults, name: str, level: float, base: float, column: str) -> float:
    """By which part of its mean at `base` the mean of `column` changes at `level`, over the pairs of `paired`."""
    others = [other for other in results.parameters if other != name]
    difference = paired(results, name, level, base, column)
    rows = results.finished.set_index(["seed", *others])
    at_base = rows[rows[name] == base][column].unstack(others)
    of_pairs = at_base.loc[difference.index, difference.columns]
    return float(difference.to_numpy().mean() / of_pairs.to_numpy().mean())


def noise(results: SweepResults) -> float | None:
    """Standard deviation of one variant's loss over seeds, nats per character: pooled over this sweep's variants.

    None where no variant has two seeds. SEED_SD is then a guess: it depends on corpus, budget and variant.
    """
    groups = results.finished.groupby("label")[LOSS]
    degrees = (groups.count() - 1).clip(lower=0)
    if degrees.sum() == 0:
        return None
    return float(math.sqrt((groups.var().fillna(0.0) * degrees).sum() / degrees.sum()))
