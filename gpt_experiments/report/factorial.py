"""The pictures of a full factorial, and what they say."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import pandas as pd

from gpt_experiments.analysis import (
    GridNoise,
    SweepResults,
    grid_noise,
    level_name,
    marginal_means,
    variance_shares,
)
from gpt_experiments.figures import interactions, main_effects, share_bars
from gpt_experiments.report.document import Picture
from gpt_experiments.rounding import rounded_value


def factorial_pictures(results: SweepResults) -> list[Picture]:
    """Variance shares, main effects and interactions of a full factorial."""
    names = results.varied
    noises = [grid_noise(results, name) for name in names]
    shares = variance_shares(results)
    mains = {name: marginal_means(results, name) for name in names}
    pairs = {(a, b): marginal_means(results, a, b) for a, b in itertools.combinations(names, 2)}
    return [
        Picture(
            name="variance-shares",
            caption=f"{_of_shares(shares)} Exact shares, from the balanced design; the rest is interactions of three "
            f"and more, and noise. {_of_marks(noises)}",
            alt="Shares: " + ", ".join(f"{row.term} {row.share:.1%}" for row in shares.head(6).itertuples()),
            figure=share_bars(shares),
        ),
        Picture(
            name="main-effects",
            caption=f"{_of_mains(mains)} Means over all combinations of the other hyperparameters; all panels share "
            f"one scale. {_of_lines(noises)}",
            alt="Mean validation loss at each level of " + ", ".join(names),
            figure=main_effects(mains),
        ),
        Picture(
            name="interactions",
            caption=f"{_of_pairs(shares)} Where curves are parallel, the two hyperparameters act independently; all "
            f"panels share one scale. The lines are about the shape of the curves, not about how far apart they lie. "
            f"{_of_lines(noises)}",
            alt="Mean validation loss at each pair of levels",
            figure=interactions(names, pairs),
        ),
    ]


def _of_shares(shares: pd.DataFrame) -> str:
    terms = shares[shares["term"] != "rest"]
    first = terms.iloc[0]
    text = f"What to see: the longest bar is that of {first['term']}, {first['share']:.1%} of the variance."
    hidden = terms[terms["share"] <= terms["noise"]]
    if terms["noise"].isna().all():
        return text
    if hidden.empty:
        return f"{text} Every bar with a mark reaches beyond it."
    ends = (
        "1 bar ends before its mark"
        if len(hidden) == 1
        else f"{len(hidden)} of {len(terms)} bars end before their mark"
    )
    return f"{text} {ends}: noise alone could have made that."


def _of_marks(noises: Sequence[GridNoise]) -> str:
    if not any(noise.is_known for noise in noises):
        return "There is nothing to tell the noise from: it takes more seeds, or a third hyperparameter."
    return f"A mark shows what noise alone would stay below in 95 of 100 sweeps. {_source(noises, 'mark')}"


def _of_mains(means: Mapping[str, pd.DataFrame]) -> str:
    spreads = {name: float(frame["loss"].max() - frame["loss"].min()) for name, frame in means.items()}
    steepest = max(spreads, key=spreads.__getitem__)
    frame = means[steepest]
    best = frame.sort_values("loss").iloc[0]
    size = rounded_value(spreads[steepest], math.sqrt(2) * float(frame["half_width"].max()))
    return (
        f"What to see: the panel of {steepest} has the widest range, {size} nats per character, and is lowest at "
        f"{level_name(steepest, float(best[steepest]))}."
    )


def _of_pairs(shares: pd.DataFrame) -> str:
    """Which panel is least parallel: the pair that explains most."""
    first = shares[[" x " in term for term in shares["term"]]].iloc[0]
    names = first["term"].replace(" x ", " and ")
    text = f"What to see: the curves of {names} are the least parallel ({first['share']:.1%} of the variance)"
    if math.isnan(first["noise"]):
        return f"{text}."
    return f"{text}, {'more than noise makes' if first['share'] > first['noise'] else 'which noise alone could make'}."


def _of_lines(noises: Sequence[GridNoise]) -> str:
    if not any(noise.is_known for noise in noises):
        return "There are no intervals: it takes more seeds, or a third hyperparameter."
    return f"Lines are 95 % intervals of each mean. {_source(noises, 'line')}"


def _source(noises: Sequence[GridNoise], what: str) -> str:
    text = (
        "The noise is what seeds of one variant differ by, apart from what a seed does to all variants."
        if noises[0].of_seeds
        else "With one seed, the noise is taken to be what main effects and pairs leave unexplained."
    )
    if not all(noise.is_known for noise in noises):
        text += f" Where one seed is shared by models of all sizes, what it does to a size is not known: no {what}."
    return text
