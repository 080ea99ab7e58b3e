"""A full factorial taken apart: how much of the variance each hyperparameter explains, alone and with another."""

from __future__ import annotations

import itertools

import pandas as pd

from gpt_experiments.analysis.results import LOSS, SweepResults


def variance_shares(results: SweepResults) -> pd.DataFrame:
    """The share of the loss's variance of each main effect, each two-way interaction, and the rest: they sum to 1.

    Sums of squares of the linear model with all main effects and two-way interactions over the trials; in a balanced
    design they are orthogonal, so the shares are exact and depend on no order (Montgomery, "Design and Analysis of
    Experiments", chapter 5). The rest is interactions of three and more, and the noise of seeds. Where all losses are
    equal there is no variance, and every share is 0.

    Returns `term` (`n_head`, `n_head x n_layer`, `rest`) and `share`, largest first, the rest last.

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
        [{"term": term, "share": 0.0 if is_flat else value / total} for term, value in squares.items()]
    ).sort_values("share", ascending=False, ignore_index=True)
    rest = pd.DataFrame([{"term": "rest", "share": 0.0 if is_flat else max(0.0, 1.0 - float(shares["share"].sum()))}])
    return pd.concat([shares, rest], ignore_index=True)


def marginal_means(results: SweepResults, *names: str) -> pd.DataFrame:
    """The mean loss at each level of the named hyperparameters, over everything else: the names' columns and `loss`."""
    return results.finished.groupby(list(names))[LOSS].mean().rename("loss").reset_index()
