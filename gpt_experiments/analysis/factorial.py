"""A full factorial taken apart: how much of the variance each hyperparameter explains, alone and with another."""

from __future__ import annotations

import itertools

import pandas as pd
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from gpt_experiments.analysis.results import LOSS, SweepResults


def variance_shares(results: SweepResults) -> pd.DataFrame:
    """The share of the loss's variance of each main effect, each two-way interaction, and the rest: they sum to 1.

    Sums of squares of the linear model with all main effects and two-way interactions over the trials; in a balanced
    design they are orthogonal, so the shares are exact and depend on no order (Montgomery, "Design and Analysis of
    Experiments", chapter 5). The rest is interactions of three and more, and the noise of seeds.

    Returns `term` (`n_head`, `n_head x n_layer`, `rest`) and `share`, largest first, the rest last.

    Raises:
        ValueError: the sweep is no full factorial.
    """
    if not results.is_factorial:
        raise ValueError("variance shares need a full factorial with every combination equally often")
    names = results.varied
    pairs = list(itertools.combinations(names, 2))
    # A model with every combination as a parameter of its own would leave nothing over; two factors have no rest then.
    terms = {f"C({name})": name for name in names} | {f"C({a}):C({b})": f"{a} x {b}" for a, b in pairs}
    model = ols(f"{LOSS} ~ {' + '.join(terms)}", data=results.finished).fit()
    squares = anova_lm(model, typ=1)["sum_sq"]
    total = float(((results.finished[LOSS] - results.finished[LOSS].mean()) ** 2).sum())
    shares = pd.DataFrame(
        [{"term": term, "share": float(squares[key]) / total} for key, term in terms.items()]
    ).sort_values("share", ascending=False, ignore_index=True)
    rest = pd.DataFrame([{"term": "rest", "share": max(0.0, 1.0 - float(shares["share"].sum()))}])
    return pd.concat([shares, rest], ignore_index=True)


def marginal_means(results: SweepResults, *names: str) -> pd.DataFrame:
    """The mean loss at each level of the named hyperparameters, over everything else: the names' columns and `loss`."""
    return results.finished.groupby(list(names))[LOSS].mean().rename("loss").reset_index()
