"""What each level of each hyperparameter does to the loss, against the baseline's level."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import pandas as pd

from gpt_experiments.analysis.estimate import Estimate, estimate
from gpt_experiments.analysis.factorial import level_differences
from gpt_experiments.analysis.looks import Decision, Looked, look_at
from gpt_experiments.analysis.results import FINISHED, LOSS, SweepResults
from gpt_experiments.analysis.verdict import Judged, Verdict, judge_all

SEED_SD: Final = 0.005
"""A usual standard deviation of one variant's validation loss over seeds, nats per character; see `noise`.

It lies between what was measured on Tiny Shakespeare: 0.003 of the baseline after 1,000 steps of the study's setup
(four seeds), and 0.006 to 0.015 of the eleven variants after 200 steps of the quick sweep (twelve seeds).
"""

NoiseFrom = Literal["seeds", "interactions"]


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One level of one hyperparameter, compared with the baseline's level.

    Attributes:
        judged: loss at the level minus loss at the baseline's level, nats per character, with the verdict. It is
            paired: the same seed (so the same data order where shapes agree) and the same other hyperparameters; the
            mean over `combinations` pairs for each seed.
        noise_from: what its standard error was taken from: differences between seeds, or, in a grid of one seed,
            interactions of three and more hyperparameters.
        combinations: how many combinations of the other hyperparameters both levels were tried with: 1 when one is
            changed at a time.
        better_in: in how many of them the level had the lower mean loss.
        lost_seeds: seeds that finished trials have, but that could not be paired because another one failed or is
            missing.
    """

    hyperparameter: str
    level: float
    base_level: float
    judged: Judged
    noise_from: NoiseFrom
    combinations: int
    better_in: int
    lost_seeds: int

    @property
    def difference(self) -> Estimate:
        return self.judged.difference

    @property
    def n(self) -> int:
        """How many seeds it rests on."""
        return self.difference.n

    @property
    def p_adjusted(self) -> float:
        """The p-value of no difference, corrected for all comparisons of the sweep."""
        return self.judged.p_adjusted

    @property
    def verdict(self) -> Verdict:
        return self.judged.verdict

    @property
    def look(self) -> int | None:
        """The planned look that decided it, or the latest one; None where the sweep is looked at once."""
        return self.judged.look if isinstance(self.judged, Decision) else None


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
    of_grid = level_differences(results)
    estimates = [of_grid.get((name, level)) or estimate(pairs.mean(axis=1)) for name, level, _, pairs in found]
    judged: list[Judged] = judge_all(estimates, results.margin)
    if results.until_decided:
        looked = looked_at(results)
        judged = [
            looked.decisions.get((name, level), Decision(difference=each.difference, level=each.level, look=0))
            for (name, level, *_), each in zip(found, judged, strict=True)
        ]
    return [
        Effect(
            hyperparameter=name,
            level=level,
            base_level=base,
            judged=each,
            noise_from="interactions" if (name, level) in of_grid and len(results.finished_seeds) == 1 else "seeds",
            combinations=pairs.shape[1],
            better_in=int((pairs.mean(axis=0) < 0).sum()),
            lost_seeds=_lost_seeds(results, name, level, len(pairs)),
        )
        for (name, level, base, pairs), each in zip(found, judged, strict=True)
    ]


def _lost_seeds(results: SweepResults, name: str, level: float, pairs: int) -> int:
    planned = set(results.trials[results.trials[name] == level]["seed"])
    return len(planned & set(results.finished_seeds)) - pairs


def looked_at(results: SweepResults) -> Looked:
    """What the planned looks at a sweep that trains until it is decided have shown; see `look_at`.

    The comparisons are the levels other than the baseline's, as pairs of hyperparameter and level.
    """
    ended = results.trials[results.trials["outcome"] != "missing"].set_index(["label", "seed"])
    losses = ended[LOSS].where(ended["outcome"] == FINISHED)
    seeds = list(dict.fromkeys(int(seed) for seed in results.trials["seed"]))
    differences: dict[tuple[str, float], list[float | None]] = {}
    lengths: dict[tuple[str, float], int] = {}
    for label, rows in results.trials.groupby("label", sort=False):
        changed = [name for name in results.parameters if rows[name].iloc[0] != results.base_level(name)]
        if changed:
            key = (changed[0], float(rows[changed[0]].iloc[0]))
            differences[key] = []
            for seed in seeds:
                if (label, seed) not in losses.index or ("baseline", seed) not in losses.index:
                    break
                difference = float(losses[label, seed] - losses["baseline", seed])
                differences[key].append(None if math.isnan(difference) else difference)
            lengths[key] = len(differences[key])
    return look_at(differences, most=results.most_seeds, margin=results.margin, ended=lengths)


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
