"""The figures of a report, each with what it shows in words, from a sweep's results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import pandas as pd

from gpt_experiments.analysis import LOSS, Effect, SweepResults, estimate, level_name
from gpt_experiments.analysis.costs import SizeLaw, front, luck_sentence, size_law
from gpt_experiments.figures import (
    cost_scatter,
    effect_plot,
    level_curves,
    variant_bars,
)
from gpt_experiments.report.document import Picture
from gpt_experiments.rounding import rounded

_MOST_BARS: Final = 40
_MOST_NAMED: Final = 3


def bars(results: SweepResults) -> Picture | None:
    """A bar for each variant; None where they are too many for a reader."""
    if len(results.by_variant) > _MOST_BARS:
        return None
    groups = results.finished.groupby("label", sort=False)
    half_widths, of_training = (
        {label: estimate(rows[column]).half_width for label, rows in groups} for column in (LOSS, "final_train_loss")
    )
    labels = results.by_variant["label"]
    frame = results.by_variant.assign(half_width=labels.map(half_widths), train_half_width=labels.map(of_training))
    return Picture(
        name="variants",
        caption=_of_bars(frame),
        alt=f"Bars of training and validation loss of {len(frame)} variants, from {frame.iloc[0]['label']} down",
        figure=variant_bars(frame),
    )


def _of_bars(frame: pd.DataFrame) -> str:
    """What the bars say: which is lowest, and which others might be."""
    best, others = frame.iloc[0], frame.iloc[1:]
    text = f"What to see: the bar of {best['label']} is the shortest"
    if len(others) and not math.isnan(best["half_width"]):
        end = best[LOSS] + best["half_width"]
        near = list(others.loc[others[LOSS] - others["half_width"].fillna(0.0) <= end, "label"])
        named = ", ".join(near[:_MOST_NAMED]) + (
            f" and {len(near) - _MOST_NAMED} more" if len(near) > _MOST_NAMED else ""
        )
        text += f"; its interval overlaps that of {named}" if near else "; its interval overlaps no other"
    unknown = frame["half_width"].isna()
    lines = "Lines are 95 % intervals over seeds"
    if len(frame) > 1:
        lines += "; a seed moves many variants alike, so compare them by their paired differences"
    if unknown.all():
        lines = "There are no intervals: each variant has one seed"
    elif unknown.any():
        lines += "; a variant with one seed has no line"
    return f"{text}. Loss after the last step, nats per character. {lines}."


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
        caption=f"{_of_effects(found)} Mean difference of the validation loss, paired by seed. The lines are intervals "
        "that hold for all comparisons together. A line right of 0 is worse, left of 0 is better; one that crosses 0 "
        "and stays within the grey band is equivalent; any other is undecided.",
        alt="Differences to the baseline's level: " + ", ".join(f"{r.name} {r.mean:+.3f}" for r in frame.itertuples()),
        figure=effect_plot(frame, margin=found[0].judged.margin),
    )


def _of_effects(found: Sequence[Effect]) -> str:
    """Which points lie farthest to the left and to the right, and how many intervals cross the line."""
    low, high = (choose(found, key=lambda effect: effect.difference.mean) for choose in (min, max))
    ends = [
        f"{level_name(e.hyperparameter, e.level)} lies farthest to the {side} "
        f"({rounded(e.difference.mean, (e.judged.high - e.judged.low) / 2)})"
        for e, side, is_there in ((low, "left", low.difference.mean < 0), (high, "right", high.difference.mean > 0))
        if is_there
    ]
    text = f"What to see: {' and '.join(ends)}" if ends else "What to see: nothing moves"
    known = [e for e in found if not math.isnan(e.judged.low)]
    if not known:
        return f"{text}; with one seed no point has an interval."
    crossing = sum(e.judged.low <= 0 <= e.judged.high for e in known)
    return f"{text}; {crossing} of {len(known)} intervals cross the line at 0."


def curves(results: SweepResults, name: str) -> Picture | None:
    """Losses over steps at each level of a hyperparameter; None where none is known, or no trials can be compared."""
    trials = comparable(results, name)
    if trials is None:
        return None
    joined = results.curves.merge(trials, on="run_id")
    if joined.empty:
        return None
    bands = "bands reach from the lowest to the highest seed" if joined["seed"].nunique() > 1 else "one seed, no bands"
    over = "" if results.varies_one_at_a_time else ", over all combinations of the others"
    return Picture(
        name=f"curves-{name}",
        caption=f"{_of_curves(joined, name)} Mean loss over seeds{over}; {bands}.",
        alt=f"Training and validation loss over steps for {name} {_listed(results, name)}",
        figure=level_curves(joined, name),
    )


def _of_curves(joined: pd.DataFrame, name: str) -> str:
    """Which curve ends lowest and which highest, and whether their seeds overlap there."""
    last = joined[joined["step"] == joined.groupby("run_id")["step"].transform("max")].dropna(subset=["val_loss"])
    ends = last.groupby("level")["val_loss"].agg(["mean", "min", "max"]).sort_values("mean")
    if len(ends) < 2:
        return "What to see: how the loss falls."
    low, high = ends.iloc[0], ends.iloc[-1]
    text = (
        f"What to see: the validation curve of {level_name(name, float(ends.index[0]))} ends lowest, that of "
        f"{level_name(name, float(ends.index[-1]))} highest"
    )
    if last["seed"].nunique() > 1:
        apart = float(low["max"]) < float(high["min"])
        text += ", and no seed of the one reaches the other" if apart else ", but their seeds overlap"
    return f"{text}."


def costs(results: SweepResults) -> list[Picture]:
    """Validation loss against parameters, training time, and floating-point operations."""
    axes = (
        ("n_params", "parameters", "Validation loss against parameters", "parameters"),
        ("train_seconds", "time", "Validation loss against training time", "training time (seconds)"),
        ("flops", "flops", "Validation loss against arithmetic", "floating-point operations of the training"),
    )
    known = {column: results.by_variant[results.by_variant[column] > 0] for column, *_ in axes}  # the axis is log
    return [
        _cost(results, known[column], column, name, title, unit)
        for column, name, title, unit in axes
        if len(known[column])
    ]


def _cost(results: SweepResults, variants: pd.DataFrame, column: str, name: str, title: str, unit: str) -> Picture:
    on_front = front(results, column)
    law = size_law(results) if column == "n_params" else None
    intervals = on_front.set_index("label")
    has_intervals = bool(on_front["low"].notna().any())
    caption = [
        "Means over seeds. The line joins the variants that no other variant beats in both cost and loss"
        + (", with the 95 % intervals of their losses by the noise that all variants share." if has_intervals else "."),
        luck_sentence(on_front),
    ]
    if law is not None:
        caption.append(_law_text(law))
    return Picture(
        name=f"loss-by-{name}",
        caption=" ".join(caption),
        alt=f"{title}, one point a variant",
        figure=cost_scatter(
            variants.assign(low=variants["label"].map(intervals["low"]), high=variants["label"].map(intervals["high"])),
            column,
            title=title,
            unit=unit,
            law=None if law is None else law.curve,
        ),
    )


def _law_text(law: SizeLaw) -> str:
    shape = "a power law with an offset" if law.kind == "power" else "a straight line over the logarithm of the size"
    why = "" if law.kind == "power" else " (these sizes do not carry the offset of a power law)"
    over = f"{law.n} seeds" if law.over == "seeds" else f"{law.n} variants, since there is one seed"
    falls = "" if law.falls else " Its interval does not exclude that size makes no difference."
    return (
        f"The curve is {shape}{why}, fitted to all variants: {law.formula}. The band is its 95 % interval by "
        f"resampling {over}.{falls}"
    )


def comparable(results: SweepResults, name: str) -> pd.DataFrame | None:
    """`run_id`, `seed` and `level` of the trials whose levels of one hyperparameter can be compared."""
    rows = results.finished
    if not results.is_factorial:
        for other in results.parameters:
            if other != name:
                rows = rows[rows[other] == results.base_level(other)]
    return with_level(rows, name) if rows[name].nunique() > 1 else None


def with_level(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    return rows[["run_id", "seed"]].assign(level=rows[name].astype(float))


def _listed(results: SweepResults, name: str) -> str:
    return ", ".join(f"{level:g}" for level in results.levels(name) if not math.isnan(level))
