"""A grid taken apart: what each hyperparameter does on average, alone and with another, and how sure that is."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from gpt_experiments.analysis.estimate import Estimate
from gpt_experiments.analysis.grid_noise import grid_noise
from gpt_experiments.analysis.results import LOSS, SweepResults
from gpt_experiments.analysis.verdict import judge_all
from gpt_experiments.parameters import DRAWS


def variance_shares(results: SweepResults) -> pd.DataFrame:
    """The share of the loss's variance of each main effect, each two-way interaction, and the rest: they sum to 1.

    Sums of squares of the linear model with all main effects and two-way interactions over the trials; in a balanced
    design they are orthogonal, so the shares are exact and depend on no order (Montgomery, "Design and Analysis of
    Experiments", chapter 5). The rest is interactions of three and more, and the noise of seeds. Where all losses are
    equal there is no variance, and every share is 0.

    Returns `term` (`n_head`, `n_head x n_layer`, `rest`), `share`, largest first, the rest last, and `noise`: the share
    that noise alone would stay below in 95 of 100 sweeps (the critical value of the F-test), NaN of the rest and where
    the noise is not known.

    Raises:
        ValueError: the sweep is no full factorial.
    """
    if not results.is_factorial:
        raise ValueError("variance shares need a full factorial with every combination equally often")
    names = results.varied
    rows = results.finished
    residual = rows[LOSS] - rows[LOSS].mean()
    total = float((residual**2).sum())
    # The part of each trial's loss that a term explains: its cell's mean, without what smaller terms have explained.
    of_one = {name: residual.groupby(rows[name]).transform("mean") for name in names}
    squares = {name: float((part**2).sum()) for name, part in of_one.items()}
    for a, b in itertools.combinations(names, 2):
        together = residual.groupby([rows[a], rows[b]]).transform("mean")
        squares[f"{a} x {b}"] = float(((together - of_one[a] - of_one[b]) ** 2).sum())
    is_flat = total <= (1e-12 * float(rows[LOSS].abs().max())) ** 2 * len(rows)  # equal but for rounding
    shares = pd.DataFrame(
        {
            "term": term,
            "share": 0.0 if is_flat else value / total,
            "noise": math.nan if is_flat else grid_noise(results, *term.split(" x ")).reach / total,
        }
        for term, value in squares.items()
    ).sort_values("share", ascending=False, ignore_index=True)
    rest = 0.0 if is_flat else max(0.0, 1.0 - float(shares["share"].sum()))
    return pd.concat([shares, pd.DataFrame([{"term": "rest", "share": rest, "noise": math.nan}])], ignore_index=True)


def marginal_means(results: SweepResults, *names: str) -> pd.DataFrame:
    """The mean loss at each level of the named hyperparameters, over everything else.

    Returns the names' columns, `loss`, and `half_width` of its 95 % interval, NaN where the noise is not known; see
    `grid_noise`.
    """
    groups = results.finished.groupby(list(names))[LOSS]
    noise = grid_noise(results, *names)
    means = groups.mean().rename("loss").reset_index()
    return means.assign(half_width=[noise.half_width(n) for n in groups.size()])


_FEWEST_DF: Final = 4
"""Degrees of freedom, below which the interactions say too little about the noise."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """That another hyperparameter has this level."""

    name: str
    level: float


def level_difference(results: SweepResults, name: str, level: float, given: Condition | None = None) -> Estimate | None:
    """The loss at a level minus at the baseline's, averaged over the settings of a grid.

    Trials of one seed that agree in DRAWS start from the same weights and see the same text. On Tiny Shakespeare their
    losses correlate over seeds by 0.95 to 1.00, others by -0.1 to 0.9. So a grid is a split plot (Montgomery, "Design
    and Analysis of Experiments", chapter 14), and the trials that agree in DRAWS are a plot. What a hyperparameter does
    within plots is judged by how much that differs between them; what one of DRAWS does, by how much the plots' means
    differ. With one seed the noise is what plots differ by beyond the interactions of two; with more, and seeds of its
    own for each plot, what a plot differs by over seeds, each with its own variance (Satterthwaite 1946).

    It is None where it cannot be judged that way. Where all plots share one seed, nothing says what the seed does to a
    whole size, so that is so for every level of DRAWS.

    Args:
        given: only the settings that meet it.
    """
    base, of_plots = results.base_level(name), [other for other in results.varied if other in DRAWS]
    n = len(results.finished_seeds)
    if len(results.varied) < 3 or not of_plots or (not results.own_seeds and (n > 1 or name in DRAWS)):
        return None
    table = _plot_values(results, name, level, given, of_plots)
    weights = _weights(table.index, name, level, base, given)
    weights = weights[weights != 0]
    if table.empty or weights.empty:
        return None
    mean = float((weights * table.loc[weights.index].mean(axis=1)).sum())
    if n == 1:
        variance, df = variance_beyond(table.iloc[:, 0], order=2 if name in DRAWS else 1)
        squared = variance * float((weights**2).sum())
    else:
        parts = (weights**2) * table.loc[weights.index].var(axis=1) / n
        squared = float(parts.sum())
        df = squared**2 / float((parts**2).sum() / (n - 1)) if squared > 0 else float(n - 1)
    return Estimate(mean=mean, se=math.sqrt(squared), df=df, n=n) if df >= _FEWEST_DF else None


def _plot_values(
    results: SweepResults, name: str, level: float, given: Condition | None, of_plots: list[str]
) -> pd.DataFrame:
    """One row a plot, one column a seed: its mean loss, or what the level changes in it if plots hold both levels."""
    inside = [other for other in results.varied if other not in of_plots and other != name]
    rows = results.finished
    if given is not None and given.name not in of_plots:
        rows = rows[rows[given.name] == given.level]
    plots = rows.groupby([*of_plots, "seed", *inside, *([] if name in of_plots else [name])])[LOSS].mean()
    if name not in of_plots:
        wide = plots.unstack(name)
        plots = (wide[level] - wide[results.base_level(name)]) if level in wide else plots.iloc[:0]
    if inside:
        wide = plots.unstack(inside)
        plots = wide.dropna(axis="columns").mean(axis="columns").dropna()
    values = plots.unstack("seed") if len(plots) else pd.DataFrame()
    return values.dropna()


def _weights(plots: pd.Index, name: str, level: float, base: float, given: Condition | None) -> pd.Series:
    """What each plot counts in the mean difference: all alike, or as pairs that differ in the level alone."""
    frame = plots.to_frame(index=False)
    meets = pd.Series(True, index=frame.index)
    if given is not None and given.name in frame:
        meets = frame[given.name] == given.level
    if name not in frame:
        return pd.Series((meets / max(1, meets.sum())).to_numpy(), index=plots)
    others = [other for other in frame if other != name]
    of_pair = frame[meets & frame[name].isin([level, base])]
    sizes = (
        of_pair.groupby(others)[name].transform("nunique")
        if others
        else pd.Series(of_pair[name].nunique(), of_pair.index)
    )
    of_pair = of_pair[sizes == 2]
    signs = of_pair[name].map({level: 1.0, base: -1.0}) / max(1, len(of_pair) // 2)
    return pd.Series(signs.reindex(frame.index).fillna(0.0).to_numpy(), index=plots)


def variance_beyond(values: pd.Series, order: int) -> tuple[float, float]:
    """The variance of values beyond effects of up to so many hyperparameters at a time, and its degrees of freedom.

    Args:
        values: one for each setting; the levels of the index are the hyperparameters.
    """
    frame = values.index.to_frame(index=False).astype("category")
    columns = [np.ones(len(frame))]
    for size in range(1, order + 1):
        for names in itertools.combinations(frame, size):
            codes = frame.groupby(list(names), observed=True).ngroup()
            columns += [(codes == code).to_numpy(dtype=float) for code in sorted(codes.unique())]
    design = np.column_stack(columns)
    fitted, _, rank, _ = np.linalg.lstsq(design, values.to_numpy(), rcond=None)
    df = len(values) - int(rank)
    return (float(((values.to_numpy() - design @ fitted) ** 2).sum() / df) if df > 0 else math.nan), float(df)


def level_differences(results: SweepResults) -> dict[tuple[str, float], Estimate]:
    """`level_difference` of every level that can be judged that way."""
    found = {}
    for name in results.varied:
        for level in results.levels(name):
            if level != results.base_level(name):
                each = level_difference(results, name, level)
                if each is not None:
                    found[name, level] = each
    return found


@dataclass(frozen=True, kw_only=True)
class Reversal:
    """A level that is better than the baseline's at one level of another hyperparameter, and worse at another."""

    name: str
    level: float
    other: str
    better_at: float
    worse_at: float


def reversals(results: SweepResults) -> list[Reversal]:
    """The levels whose effect changes its sign with another hyperparameter, as sure as 5 % over all that were asked."""
    asked: list[tuple[str, float, Condition, Estimate]] = []
    for name, level in level_differences(results):
        for other in results.varied:
            for at in results.levels(other) if other != name else []:
                condition = Condition(name=other, level=at)
                each = level_difference(results, name, level, condition)
                if each is not None:
                    asked.append((name, level, condition, each))
    judged = judge_all([each for *_, each in asked])
    signs: dict[tuple[str, float, str], dict[str, float]] = {}
    for (name, level, condition, _), verdict in zip(asked, judged, strict=True):
        if verdict.verdict in ("better", "worse"):
            signs.setdefault((name, level, condition.name), {})[verdict.verdict] = condition.level
    return [
        Reversal(name=name, level=level, other=other, better_at=found["better"], worse_at=found["worse"])
        for (name, level, other), found in signs.items()
        if len(found) == 2
    ]
