"""Predicts loss, size and training time of a variant that was not trained, with intervals, from those that were."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from gpt_experiments.analysis.effects import noise
from gpt_experiments.analysis.results import LOSS, SweepResults
from gpt_experiments.analysis.surface import MOST_PLACES, Floats, Surface, fit_surface
from gpt_experiments.config import ModelConfig, Variant
from gpt_experiments.parameters import PARAMETERS

FEWEST_VARIANTS: Final = 8
"""No prediction is made from fewer: noise would hide what a parameter does."""

_LEAST_SPREAD: Final = 1e-9  # nats per character, or of the logarithm of seconds
_INTERACTION: Final = 0.5
"""How much two parameters together are taken to do beyond what each does alone, where no finished variant shows it:
this part of a usual main effect, as a standard deviation for each pair. A guess; see benchmarks/prediction.md."""

_BEND: Final = 0.15
"""How far a loss between two neighbouring levels may lie off the smooth surface, as a standard deviation: this part of
the step between the two, in their middle. What lies between levels shows in no finished variant, however many there
are; a loss that only rises or only falls is at most the whole step off. See benchmarks/prediction.md."""

SIZES: Final = ("n_layer", "n_embed", "block_size")  # what the number of weights depends on

KNOWN: Final = "known"
BETWEEN: Final = "between"
OUTSIDE: Final = "outside"
TOGETHER: Final = "together"
WHY_BEYOND: Final = {
    KNOWN: "",
    BETWEEN: "A value lies between two levels that were tried: how the loss goes from one to the other is not known.",
    OUTSIDE: "It lies outside the levels that were tried, so this is extrapolation.",
    TOGETHER: "No finished variant changes more than one parameter, so how they act together is a guess.",
}
"""What `Predictor.predict` says in `beyond`, as sentences."""


class CannotPredictError(Exception):
    """Why a sweep allows no prediction, as a sentence."""


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """What was learnt from a sweep's finished trials.

    Attributes:
        levels: of each parameter that varies, rising.
        variants: how many were learnt from.
        trial_sd: standard deviation of one variant's loss over seeds, nats per character; None where it is not known,
            and the surface has estimated it.
        loss: in nats per character.
        log_seconds: of the training; None where times cannot be compared.
        nearest_error: the mean absolute error of the loss of the nearest other variant as a prediction.
    """

    levels: Mapping[str, tuple[float, ...]]
    variants: int
    trial_sd: float | None
    loss: Surface
    log_seconds: Surface | None
    nearest_error: float
    baseline: Variant
    vocab_size: int
    one_at_a_time: bool
    main_effect: float

    @property
    def names(self) -> list[str]:
        """The parameters that vary."""
        return list(self.levels)

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """The lowest and the highest level of each."""
        return {name: (levels[0], levels[-1]) for name, levels in self.levels.items()}

    def predict(self, values: pd.DataFrame) -> pd.DataFrame:
        """The result of one new trial, with a new seed, of each variant.

        Args:
            values: one row a variant; a column for each of `names`. All other parameters are the baseline's.

        Returns:
            `loss`, `low`, `high` in nats per character: the mean and the 95 % interval; `n_params`, exact; `seconds`,
            `seconds_low`, `seconds_high` of the training, NaN where times cannot be compared; `beyond`, a key of
            WHY_BEYOND. In the order of `values`.

        Raises:
            ConfigError: a variant that cannot be trained.
        """
        places = coordinates(values, self.ranges)
        mean, half = self.loss.predict(places, self._unseen_variance(places) + self._bends(values, places))
        found = pd.DataFrame({"loss": mean, "low": mean - half, "high": mean + half, "n_params": self._sizes(values)})
        if self.log_seconds is None:
            found[["seconds", "seconds_low", "seconds_high"]] = math.nan
        else:
            log, half = self.log_seconds.predict(places)
            found["seconds"], found["seconds_low"] = np.exp(log), np.exp(log - half)
            found["seconds_high"] = np.exp(log + half)
        return found.assign(beyond=self._beyond(values, places))

    def _offsets(self, places: Floats) -> Floats:
        """From the baseline, in halves of each parameter's range: (n, parameters)."""
        base = pd.DataFrame([{name: self.baseline.value(name) for name in self.ranges}])
        return places - coordinates(base, self.ranges)

    def _unseen_variance(self, places: Floats) -> Floats | float:
        """What parameters may do together, where none of the finished variants changes two: (n,), nats squared."""
        if not self.one_at_a_time:
            return 0.0
        squares = self._offsets(places) ** 2
        pairs = (squares.sum(axis=1) ** 2 - (squares**2).sum(axis=1)) / 2  # of the products of two different ones
        return np.asarray((_INTERACTION * self.main_effect) ** 2 * pairs)

    def _bends(self, values: pd.DataFrame, places: Floats) -> Floats:
        """What a loss may do between two levels: (n,), nats squared; 0 where all values are levels."""
        variance = np.zeros(len(places))
        for column, (name, levels) in enumerate(self.levels.items()):
            own = coordinates(pd.DataFrame({name: levels}), {name: self.ranges[name]})[:, 0]
            at = places[:, column]
            upper = np.clip(np.searchsorted(own, at), 1, len(own) - 1)
            low, high = own[upper - 1], own[upper]
            part = np.clip((at - low) / (high - low), 0, 1)
            rows = np.flatnonzero((part > 1e-9) & (part < 1 - 1e-9))
            if not len(rows):
                continue
            ends = []
            for end in (low, high):
                moved = places[rows].copy()
                moved[:, column] = end[rows]
                ends.append(self.loss.mean_at(moved))
            middle = 4 * part[rows] * (1 - part[rows])  # 1 halfway, 0 at either level
            variance[rows] += (_BEND * (ends[1] - ends[0])) ** 2 * middle
        return variance

    def _beyond(self, values: pd.DataFrame, places: Floats) -> list[str]:
        outside = np.abs(places).max(axis=1) > 1 + 1e-9
        together = self.one_at_a_time & ((np.abs(self._offsets(places)) > 1e-9).sum(axis=1) > 1)
        between = ~np.all([values[name].isin(levels) for name, levels in self.levels.items()], axis=0)
        return [
            OUTSIDE if out else TOGETHER if both else BETWEEN if new else KNOWN
            for out, both, new in zip(outside, together, between, strict=True)
        ]

    def _sizes(self, values: pd.DataFrame) -> list[int]:
        """Trainable parameters of each variant; raises a ConfigError for one that cannot be trained."""
        shaped = [name for name in ("n_head", *SIZES, "dropout") if name in self.ranges]
        rows = values[shaped].itertuples(index=False) if shaped else ((),) * len(values)
        sizes: dict[tuple[float, ...], int] = {}
        found = []
        for row in rows:
            key = tuple(row)
            if key not in sizes:
                variant = self.baseline.with_values(
                    {name: as_level(name, value) for name, value in zip(shaped, key, strict=True)}
                )
                sizes[key] = ModelConfig(shape=variant.shape, vocab_size=self.vocab_size).n_params
            found.append(sizes[key])
        return found


def fit_predictor(results: SweepResults) -> Predictor:
    """Learn from a sweep's finished trials.

    The seeds of a variant are repeated measurements: the variance of their mean is that of a trial over their number.
    All variants are taken to scatter alike, and seeds independently of one another.

    Raises:
        CannotPredictError: too few variants have finished, or nothing differs.
    """
    variants = results.by_variant[results.by_variant[LOSS].map(math.isfinite)]
    names = [name for name in results.parameters if variants[name].nunique() > 1]
    if len(variants) < FEWEST_VARIANTS:
        raise CannotPredictError(
            f"A prediction needs at least {FEWEST_VARIANTS} variants that have finished, and this sweep has "
            f"{len(variants)}; add levels, or combine them in a grid."
        )
    losses = variants[LOSS].to_numpy(dtype=float)
    if np.ptp(losses) < _LEAST_SPREAD:
        raise CannotPredictError("All variants have the same loss, so there is nothing to predict.")
    levels = {name: tuple(sorted(map(float, variants[name].unique()))) for name in names}
    ranges = {name: (of_one[0], of_one[-1]) for name, of_one in levels.items()}
    places, counts = coordinates(variants, ranges), variants["n_seeds"].to_numpy(dtype=float)
    trial_sd, one_at_a_time = noise(results), results.varies_one_at_a_time
    return Predictor(
        levels=levels,
        variants=min(len(variants), MOST_PLACES),
        trial_sd=trial_sd,
        loss=fit_surface(places, losses, counts, trial_sd, by_folds=not one_at_a_time),
        log_seconds=_fit_seconds(results, variants, places, counts),
        nearest_error=_nearest_error(places, losses),
        baseline=results.baseline,
        vocab_size=results.vocab_size,
        one_at_a_time=one_at_a_time,
        main_effect=_main_effect(results, variants) if one_at_a_time else 0.0,
    )


def _fit_seconds(results: SweepResults, variants: pd.DataFrame, places: Floats, counts: Floats) -> Surface | None:
    """The surface of the logarithm of training times; None where they were taken on different hardware."""
    trials = results.finished
    seconds = variants["train_seconds"].to_numpy(dtype=float)
    is_comparable = trials["hardware"].nunique() <= 1 and trials["device"].nunique() <= 1
    if not is_comparable or not (seconds > 0).all() or np.ptp(np.log(seconds)) < _LEAST_SPREAD:
        return None
    # What other programs take of the machine differs from trial to trial, and more than one trial of a variant would
    # tell: it is estimated together with the surface.
    return fit_surface(places, np.log(seconds), counts, None, by_folds=not results.varies_one_at_a_time)


def _nearest_error(places: Floats, losses: Floats) -> float:
    some = slice(0, MOST_PLACES)
    distances = np.linalg.norm(places[some, None] - places[None, some], axis=2)
    np.fill_diagonal(distances, np.inf)
    return float(np.mean(np.abs(losses[some] - losses[distances.argmin(axis=1)])))


def _main_effect(results: SweepResults, variants: pd.DataFrame) -> float:
    """The root mean square over parameters of half of the range of losses when each is changed alone."""
    base = {name: results.base_level(name) for name in results.varied}
    halves = []
    for name in results.varied:
        alone = np.all([variants[other] == level for other, level in base.items() if other != name], axis=0)
        of_one = variants.loc[alone, LOSS] if np.ndim(alone) else variants[LOSS]
        halves.append(float(np.ptp(of_one)) / 2 if len(of_one) else 0.0)
    return float(np.sqrt(np.mean(np.square(halves))))


def coordinates(values: pd.DataFrame, ranges: Mapping[str, tuple[float, float]]) -> Floats:
    """Places (n, parameters) in which a step is a like change: -1 at the low end of each range, 1 at its high end.

    Sizes and the learning rate are taken by their logarithms, since doubling is what counts for them; probabilities,
    and what may be zero, as they are.
    """
    columns = []
    for name, (low, high) in ranges.items():
        column = values[name].to_numpy(dtype=float)
        if goes_by_ratio(name, low):
            column, low, high = np.log2(column), math.log2(low), math.log2(high)
        columns.append(2 * (column - low) / (high - low) - 1)
    return np.column_stack(columns)


def goes_by_ratio(name: str, low: float) -> bool:
    """Whether levels of a parameter, `low` the least, are compared by their ratios."""
    return low > 0 and (PARAMETERS[name].kind is int or name == "learning_rate")


def as_level(name: str, value: float) -> int | float:
    """The value as the parameter's own kind; a whole number that is not whole stays as it is, to be refused."""
    return int(value) if PARAMETERS[name].kind is int and float(value).is_integer() else float(value)
