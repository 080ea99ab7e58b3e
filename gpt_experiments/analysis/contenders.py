"""Which variants of a sweep could be its best: those whose loss it cannot tell from the lowest one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import pandas as pd
from scipy import stats

from gpt_experiments.analysis.effects import SEED_SD
from gpt_experiments.analysis.estimate import LEVEL, adjusted
from gpt_experiments.analysis.factorial import variance_beyond
from gpt_experiments.parameters import DRAWS

NoiseSource = Literal["paired seeds", "seeds", "factorial", "guess"]
_LOSS: Final = "loss"


@dataclass(frozen=True, kw_only=True)
class VariantLosses:
    """What a sweep found of one variant.

    Attributes:
        losses: final validation loss of each seed, nats per character; at least one.
        values: its value of each parameter that has levels.
    """

    label: str
    n_params: int
    losses: Mapping[int, float]
    values: Mapping[str, float]

    @property
    def mean(self) -> float:
        """The mean loss over its seeds."""
        return math.fsum(self.losses.values()) / len(self.losses)


@dataclass(frozen=True, kw_only=True)
class SeedNoise:
    """By how much seeds of one variant differ, as far as that makes variants hard to compare.

    Attributes:
        sd: standard deviation, nats per character.
        degrees: of freedom; infinite for the guess.
        within: the same of variants that start from the same weights and see the same text, which is less; None where
            it is not known apart.
        source: `paired seeds`: pooled over the variants, which all have the same seeds, without what a seed does to all
            of them; `seeds`: pooled over the variants that have several; `factorial`: what is left of a full factorial
            with one seed when all main effects and two-way interactions are taken out, between variants that differ in
            one of DRAWS and within those that agree in them; `guess`: SEED_SD.
    """

    sd: float
    degrees: float
    source: NoiseSource
    within: SeedNoise | None = None


@dataclass(frozen=True, kw_only=True)
class Contenders:
    """The variants that could be the best.

    Attributes:
        labels: the lowest mean first.
        left_out: how many more there are than the most that were asked for.
    """

    labels: tuple[str, ...]
    left_out: int
    noise: SeedNoise


def contenders(variants: Sequence[VariantLosses], *, most: int) -> Contenders:
    """The variant with the lowest mean, and those whose difference to it may be zero.

    Each difference is tested two-sided by Student's t with the noise that is pooled over all variants (see
    `seed_noise`), at 5 % after Holm's correction for all comparisons with the best. The noise of each pair alone,
    paired or by Welch, would keep nearly every variant of a sweep with two or three seeds. Equal means go to fewer
    parameters, then to the label that sorts first.

    Args:
        variants: at least one, all of the same sweep.
        most: how many contenders to keep, the lowest means first.
    """
    ranked = sorted(variants, key=lambda variant: (variant.mean, variant.n_params, variant.label))
    best, noise = ranked[0], seed_noise(variants)
    p_values = adjusted([_p_value(best, other, noise) for other in ranked[1:]])
    could_be = [best.label, *(v.label for v, p in zip(ranked[1:], p_values, strict=True) if p >= LEVEL)]
    return Contenders(labels=tuple(could_be[:most]), left_out=max(0, len(could_be) - most), noise=noise)


def _p_value(best: VariantLosses, other: VariantLosses, noise: SeedNoise) -> float:
    """Two-sided, of both having the same mean."""
    gap = other.mean - best.mean
    if noise.within is not None and all(best.values.get(name) == other.values.get(name) for name in DRAWS):
        noise = noise.within
    error = noise.sd * math.sqrt(1 / len(best.losses) + 1 / len(other.losses))
    if error <= 1e-12 * max(1.0, abs(best.mean)):  # seeds do not differ, but for rounding
        return 1.0 if gap <= 1e-12 else 0.0
    return float(2 * stats.t.sf(gap / error, noise.degrees))


def seed_noise(variants: Sequence[VariantLosses]) -> SeedNoise:
    """The noise of seeds, from the best source that the sweep has."""
    degrees = sum(len(variant.losses) - 1 for variant in variants)
    if degrees > 0 and len(variants) > 1 and len({frozenset(variant.losses) for variant in variants}) == 1:
        return _of_same_seeds(variants)
    if degrees > 0:
        squares = sum((loss - variant.mean) ** 2 for variant in variants for loss in variant.losses.values())
        return SeedNoise(sd=math.sqrt(squares / degrees), degrees=degrees, source="seeds")
    return _of_factorial(variants) or SeedNoise(sd=SEED_SD, degrees=math.inf, source="guess")


def _of_same_seeds(variants: Sequence[VariantLosses]) -> SeedNoise:
    """What is left when each variant's and each seed's mean are taken out: a randomized block design."""
    losses = pd.DataFrame([variant.losses for variant in variants]).to_numpy()  # (variants, seeds)
    rest = losses - losses.mean(axis=1, keepdims=True) - losses.mean(axis=0, keepdims=True) + losses.mean()
    degrees = (losses.shape[0] - 1) * (losses.shape[1] - 1)
    return SeedNoise(sd=math.sqrt(float((rest**2).sum()) / degrees), degrees=degrees, source="paired seeds")


def _of_factorial(variants: Sequence[VariantLosses]) -> SeedNoise | None:
    """What interactions of three and more leave, as if they were noise; None if it is no full factorial of three."""
    frame = pd.DataFrame([{**variant.values, _LOSS: variant.mean} for variant in variants])
    names = [name for name in frame.columns if name != _LOSS and frame[name].nunique() > 1]
    levels = [frame[name].nunique() for name in names]
    if len(names) < 3 or len(frame) != math.prod(levels) or frame.duplicated(names).any():
        return None
    cells = frame.set_index(names)[_LOSS]
    variance, degrees = variance_beyond(cells, order=2)
    of_plots = [name for name in names if name in DRAWS]
    if not of_plots or degrees <= 0:
        return SeedNoise(sd=math.sqrt(variance), degrees=degrees, source="factorial") if degrees > 0 else None
    return _of_plots(cells, of_plots, variance, degrees)


def _of_plots(cells: pd.Series, of_plots: list[str], variance: float, degrees: float) -> SeedNoise | None:
    """The noise of a grid of one seed, whose variants share their luck where they agree in DRAWS: a split plot.

    Args:
        cells: the loss of each variant; the levels of the index are the parameters.
        variance, degrees: what main effects and two-way interactions leave of all of them.
    """
    means = cells.groupby(level=of_plots).mean()
    between, between_degrees = variance_beyond(means, order=2) if len(of_plots) > 1 else (math.nan, 0.0)
    size = len(cells) / len(means)
    of_means = size * between * between_degrees if between_degrees > 0 else 0.0
    inside_degrees = degrees - between_degrees
    if inside_degrees <= 0:
        return None
    inside = max(0.0, variance * degrees - of_means) / inside_degrees
    within = SeedNoise(sd=math.sqrt(inside), degrees=inside_degrees, source="factorial")
    if between_degrees <= 0:  # nothing tells what interactions of pairs do from what chance does
        return SeedNoise(sd=max(SEED_SD, within.sd), degrees=inside_degrees, source="factorial", within=within)
    single = between + inside * (1 - 1 / size)  # of one variant, where `between` is that of a mean over a plot
    return SeedNoise(sd=math.sqrt(single), degrees=between_degrees, source="factorial", within=within)
