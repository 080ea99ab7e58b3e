"""The figures of a report, each with what it shows in words, from a sweep's results."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Final

import pandas as pd

from gpt_experiments.analysis import LOSS, Effect, SweepResults, estimate, level_name, marginal_means, variance_shares
from gpt_experiments.figures import (
    cost_scatter,
    effect_plot,
    interactions,
    level_curves,
    main_effects,
    position_curves,
    share_bars,
    variant_bars,
)
from gpt_experiments.report.document import Picture

_MOST_BARS: Final = 40


def bars(results: SweepResults) -> Picture | None:
    """A bar for each variant; None where they are too many for a reader."""
    if len(results.by_variant) > _MOST_BARS:
        return None
    half_widths = {
        label: estimate(rows[LOSS]).half_width for label, rows in results.finished.groupby("label", sort=False)
    }
    frame = results.by_variant.assign(half_width=results.by_variant["label"].map(half_widths))
    return Picture(
        name="variants",
        caption="Loss after the last step, nats per character; lines are 95 % intervals over seeds.",
        alt=f"Bars of training and validation loss of {len(frame)} variants, from {frame.iloc[0]['label']} down",
        figure=variant_bars(frame),
    )


def effect_picture(found: Sequence[Effect]) -> Picture:
    frame = pd.DataFrame(
        {
            "name": level_name(e.hyperparameter, e.level),
            "mean": e.difference.mean,
            "low": e.judged.low,
            "high": e.judged.high,
            "verdict": e.verdict,
        }
        for e in found
    )
    return Picture(
        name="effects",
        caption="Mean difference of the validation loss, paired by seed. The lines are intervals that hold for all "
        "comparisons together. What to see: a line right of 0 is worse, left of 0 is better; one that crosses 0 and "
        "stays within the grey band is equivalent; any other is undecided.",
        alt="Differences to the baseline's level: " + ", ".join(f"{r.name} {r.mean:+.3f}" for r in frame.itertuples()),
        figure=effect_plot(frame, margin=found[0].judged.margin),
    )


def curves(results: SweepResults, name: str) -> Picture | None:
    """Losses over steps at each level of a hyperparameter; None where none is known, or no trials can be compared."""
    trials = _comparable(results, name)
    if trials is None:
        return None
    joined = results.curves.merge(trials, on="run_id")
    if joined.empty:
        return None
    over = "" if results.varies_one_at_a_time else ", over all combinations of the others"
    return Picture(
        name=f"curves-{name}",
        caption=f"Mean loss over seeds{over}; bands reach from the lowest to the highest seed.",
        alt=f"Training and validation loss over steps for {name} {_listed(results, name)}",
        figure=level_curves(joined, name),
    )


def positions(results: SweepResults) -> Picture | None:
    """Loss by position for each block_size; None where it was not recorded or no trials can be compared."""
    trials = _comparable(results, "block_size") if "block_size" in results.varied else None
    if trials is None:
        trials = _with_level(results.runs_of("baseline"), "block_size")
    joined = results.positions.merge(trials, on="run_id")
    if joined.empty:
        return None
    return Picture(
        name="loss-by-position",
        caption="Validation loss of a character by the number of context characters before it; neighbouring "
        "positions are averaged.",
        alt="Validation loss falls with the number of characters seen",
        figure=position_curves(joined),
    )


def costs(results: SweepResults) -> list[Picture]:
    """Validation loss against parameters, training time, and floating-point operations."""
    axes = (
        ("n_params", "parameters", "Validation loss against parameters", "parameters"),
        ("train_seconds", "time", "Validation loss against training time", "training time (seconds)"),
        ("flops", "flops", "Validation loss against arithmetic", "floating-point operations of the training"),
    )
    known = {column: results.by_variant[results.by_variant[column] > 0] for column, *_ in axes}  # the axis is log
    return [
        Picture(
            name=f"loss-by-{name}",
            caption="Means over seeds. The line joins the variants that no other variant beats in both cost and loss.",
            alt=f"{title}, one point a variant",
            figure=cost_scatter(known[column], column, title=title, unit=unit),
        )
        for column, name, title, unit in axes
        if len(known[column])
    ]


def factorial(results: SweepResults) -> list[Picture]:
    """Variance shares, main effects and interactions of a full factorial."""
    names = results.varied
    shares = variance_shares(results)
    pairs = {(a, b): marginal_means(results, a, b) for a, b in itertools.combinations(names, 2)}
    return [
        Picture(
            name="variance-shares",
            caption="Exact shares, from the balanced design; the rest is interactions of three and more, and noise.",
            alt="Shares: " + ", ".join(f"{row.term} {row.share:.1%}" for row in shares.head(6).itertuples()),
            figure=share_bars(shares),
        ),
        Picture(
            name="main-effects",
            caption="Means over all combinations of the other hyperparameters; all panels share one scale.",
            alt="Mean validation loss at each level of " + ", ".join(names),
            figure=main_effects({name: marginal_means(results, name) for name in names}),
        ),
        Picture(
            name="interactions",
            caption="Where curves are parallel, the two hyperparameters act independently; all panels share one scale.",
            alt="Mean validation loss at each pair of levels",
            figure=interactions(names, pairs),
        ),
    ]


def _comparable(results: SweepResults, name: str) -> pd.DataFrame | None:
    """`run_id`, `seed` and `level` of the trials whose levels of one hyperparameter can be compared."""
    rows = results.finished
    if not results.is_factorial:
        for other in results.parameters:
            if other != name:
                rows = rows[rows[other] == results.base_level(other)]
    return _with_level(rows, name) if rows[name].nunique() > 1 else None


def _with_level(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    return rows[["run_id", "seed"]].assign(level=rows[name].astype(float))


def _listed(results: SweepResults, name: str) -> str:
    return ", ".join(f"{level:g}" for level in results.levels(name) if not math.isnan(level))
