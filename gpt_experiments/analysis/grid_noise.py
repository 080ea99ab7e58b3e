"""How much chance moves what a grid shows: the mean at a level, the share of a term."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import pandas as pd
from scipy import stats

from gpt_experiments.analysis.estimate import LEVEL
from gpt_experiments.analysis.results import LOSS, SweepResults
from gpt_experiments.parameters import DRAWS


@dataclass(frozen=True, kw_only=True)
class GridNoise:
    """The noise of one term of a grid: of a hyperparameter, or of several together.

    Attributes:
        variance: mean square of what chance does to it, as of a single trial; NaN where it is not known.
        degrees: of freedom behind that.
        term_degrees: of freedom of the term.
        of_seeds: whether it is what seeds differ by; else it is what main effects and pairs leave unexplained.
    """

    variance: float
    degrees: int
    term_degrees: int
    of_seeds: bool

    @property
    def is_known(self) -> bool:
        return not math.isnan(self.variance)

    def half_width(self, trials: float) -> float:
        """Half of the 95 % interval of the mean of so many trials, by Student's t."""
        if not self.is_known:
            return math.nan
        return float(stats.t.ppf(1 - LEVEL / 2, self.degrees)) * math.sqrt(self.variance / trials)

    @property
    def reach(self) -> float:
        """The sum of squares that the term stays below by chance in 95 of 100 sweeps: the F-test's critical value."""
        if not self.is_known:
            return math.nan
        return self.term_degrees * float(stats.f.ppf(1 - LEVEL, self.term_degrees, self.degrees)) * self.variance


def grid_noise(results: SweepResults, *names: str) -> GridNoise:
    """The noise of the term of those names in a full factorial.

    Trials of one seed that agree in DRAWS start from the same weights and see the same text, so chance moves them
    together: a grid is a split plot (Montgomery, "Design and Analysis of Experiments", chapter 14), and those trials
    are a plot. A term of DRAWS alone is measured by how plots differ, any other by how trials within plots do.

    With several seeds, chance is what is left of a trial's loss when the mean of its variant and that of its seed over
    all variants are taken away: a seed that lowers every loss changes no comparison. With one seed it is what main
    effects and pairs leave unexplained; larger interactions are in it, too, so it is rather too large. It is then not
    known for a term of DRAWS where all plots share the seed, as nothing says what the seed does to a size.
    """
    rows, varied = results.finished, results.varied
    of_plots = [name for name in varied if name in DRAWS]
    seeds = rows["seed"].nunique()
    of_seeds = seeds > 1 and len(rows) > rows.groupby(varied).ngroups
    left, all_degrees, plot_degrees = (
        _left_by_seeds(results, of_plots) if of_seeds else _left_by_interactions(results, of_plots)
    )
    plots = [*of_plots, *(["seed"] if of_seeds else [])]
    of_plot = left.groupby([rows[name] for name in plots]).transform("mean") if of_plots else left * 0.0
    between = set(names) <= set(of_plots)
    degrees = plot_degrees if between else all_degrees - plot_degrees
    squares = float((of_plot**2).sum() if between else ((left - of_plot) ** 2).sum())
    is_known = degrees > 0 and not (between and not of_seeds and not results.own_seeds)
    return GridNoise(
        variance=squares / degrees if is_known else math.nan,
        degrees=degrees,
        term_degrees=_degrees(results, *names),
        of_seeds=of_seeds,
    )


def _left_by_seeds(results: SweepResults, of_plots: list[str]) -> tuple[pd.Series, int, int]:
    """What seeds leave of each loss, and the degrees of freedom of all of it and of the plots' means."""
    rows = results.finished
    cells = rows.groupby(results.varied)[LOSS]
    plots = math.prod(len(results.levels(name)) for name in of_plots)
    left, more = rows[LOSS] - cells.transform("mean"), rows["seed"].nunique() - 1
    if len(rows) != (more + 1) * cells.ngroups:  # not every variant has every seed
        return left, len(rows) - cells.ngroups, (plots * more if of_plots else 0)
    return left - left.groupby(rows["seed"]).transform("mean"), (cells.ngroups - 1) * more, (plots - 1) * more


def _left_by_interactions(results: SweepResults, of_plots: list[str]) -> tuple[pd.Series, int, int]:
    """What main effects and pairs leave of each loss, and the same degrees of freedom."""
    rows, varied = results.finished, results.varied
    left = rows[LOSS] - rows[LOSS].mean()
    parts = {name: left.groupby(rows[name]).transform("mean") for name in varied}
    pairs = [*itertools.combinations(varied, 2)]
    of_pairs = [left.groupby([rows[a], rows[b]]).transform("mean") - parts[a] - parts[b] for a, b in pairs]
    for part in (*parts.values(), *of_pairs):
        left = left - part
    terms = [*((name,) for name in varied), *pairs]
    plots = math.prod(len(results.levels(name)) for name in of_plots)
    explained = sum(_degrees(results, *term) for term in terms)
    explained_of_plots = sum(_degrees(results, *term) for term in terms if set(term) <= set(of_plots))
    return left, len(rows) - 1 - explained, plots - 1 - explained_of_plots


def _degrees(results: SweepResults, *names: str) -> int:
    """The degrees of freedom of a main effect or an interaction."""
    return math.prod(len(results.levels(name)) - 1 for name in names)
