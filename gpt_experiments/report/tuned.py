"""The section of a report on variants that were tuned: each at its best, beside all at the same."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from gpt_experiments.analysis import Effect, SweepResults, level_name
from gpt_experiments.analysis import tuned_findings as findings
from gpt_experiments.analysis.tuned_findings import Compared
from gpt_experiments.analysis.tuning import (
    nuisance_name,
    only_differing_in,
    setting_text,
    shared_setting,
    tuning_losses,
)
from gpt_experiments.figures import sensitivity_curves
from gpt_experiments.report.document import Block, Bullets, Paragraph, Picture, Section, Table
from gpt_experiments.rounding import rounded

_MOST_ROWS = 40


def tuned_section(results: SweepResults) -> list[Section]:
    """The effects both ways, what changes, and how sensitive each level is; nothing for a sweep that does not tune."""
    if results.tuning is None:
        return []
    compared = findings.compare_effects(results)
    best = findings.best_sentence(results)
    blocks: list[Block] = [Paragraph(text=findings.explanation(results))]
    if best is not None:
        blocks.append(Paragraph(text=best))
        changed = findings.flips(results)
        none = f"No verdict and no belief differs from those at one {nuisance_name(results)}."
        blocks += [Bullets(items=changed)] if changed else [Paragraph(text=none)]
    if compared:
        blocks.append(_effects_table(results, compared))
    limits = findings.limits(results)
    blocks += [Bullets(items=limits)] if limits else []
    blocks += [*_sensitivity(results), _tuning_table(results)]
    return [Section(anchor="tuned", title=findings.section_title(results), blocks=blocks)]


def _effects_table(results: SweepResults, compared: Sequence[Compared]) -> Table:
    """One row a level: its effect at one value of the nuisance parameters, and with each variant at its best."""
    assert results.tuning is not None
    names, what = results.tuning.parameters, nuisance_name(results)
    shared = setting_text(names, shared_setting(results))
    shown = pd.DataFrame(
        {
            "level": each.name,
            "against": level_name(each.hyperparameter, each.base_level),
            f"difference at {shared}": _difference(each.shared),
            "verdict": "" if each.shared is None else each.shared.verdict,
            "difference, each at its best": _difference(each.best),
            "verdict at best": "" if each.best is None else each.best.verdict,
            "best of the level": setting_text(names, each.setting),
            "best of the baseline": setting_text(names, each.base_setting),
        }
        for each in compared
    )
    data = pd.DataFrame(
        {
            "hyperparameter": each.hyperparameter,
            "level": each.level,
            "base_level": each.base_level,
            **_data("shared", each.shared),
            **_data("best", each.best),
            "setting": setting_text(names, each.setting),
            "base_setting": setting_text(names, each.base_setting),
        }
        for each in compared
    )
    return Table(
        name="effects-at-best",
        caption="Validation loss at a level minus at the baseline's level, nats per character, paired by seed: once "
        f"with every variant at {what} {shared}, once with each at its own best. Behind ± is half of the interval that "
        "decides the verdict; it holds for all comparisons of its column together, not for both columns."
        + ("" if results.varies_one_at_a_time else " The best values are those with the others at the baseline's."),
        shown=shown,
        data=data,
        left=["level", "against", "verdict", "verdict at best"],
    )


def _difference(effect: Effect | None) -> str:
    if effect is None:
        return ""
    return rounded(effect.difference.mean, effect.judged.half_width)


def _data(prefix: str, effect: Effect | None) -> dict[str, object]:
    judged = None if effect is None else effect.judged
    return {
        f"{prefix}_difference": math.nan if judged is None else judged.difference.mean,
        f"{prefix}_low": math.nan if judged is None else judged.low,
        f"{prefix}_high": math.nan if judged is None else judged.high,
        f"{prefix}_seeds": 0 if judged is None else judged.difference.n,
        f"{prefix}_verdict": "" if effect is None else effect.verdict,
    }


def _sensitivity(results: SweepResults) -> list[Picture]:
    """For each nuisance parameter the loss over its values, at each level of each hyperparameter that varies."""
    assert results.tuning is not None
    losses, pictures = tuning_losses(results), []
    for name, shared in zip(results.tuning.parameters, shared_setting(results), strict=True):
        panels = {}
        for hyperparameter in results.parameters:
            frame = _panel(results, losses, hyperparameter, name)
            if frame["level"].nunique() > 1 and frame["loss"].notna().any():
                panels[hyperparameter] = frame
        if panels:
            pictures.append(_sensitivity_picture(results, panels, name, shared))
    return pictures


def _panel(results: SweepResults, losses: pd.DataFrame, hyperparameter: str, name: str) -> pd.DataFrame:
    """`level`, `value` of the nuisance parameter, `loss`, `low`, `high`, `chosen`; see `sensitivity_curves`.

    Where there are other nuisance parameters, the best of their values are taken.
    """
    rows = []
    for level in sorted(results.trials[hyperparameter].unique()):
        for label in only_differing_in(results, hyperparameter, level):
            of_variant = losses[losses["label"] == label]
            for value, at_value in of_variant.groupby(name):
                best = at_value.sort_values("loss").iloc[0]  # NaN, which a setting that failed has, comes last
                rows.append(
                    {
                        "level": float(level),
                        "value": float(str(value)),
                        **{column: float(best[column]) for column in ("loss", "low", "high")},
                        "chosen": bool(at_value["chosen"].any()),
                    }
                )
    return pd.DataFrame(rows, columns=["level", "value", "loss", "low", "high", "chosen"])


def _sensitivity_picture(results: SweepResults, panels: dict[str, pd.DataFrame], name: str, shared: float) -> Picture:
    assert results.tuning is not None
    what, trials = name.replace("_", " "), results.tuning.trials
    band = " Bands reach from the lowest to the highest seed." if trials["seed"].nunique() > 1 else ""
    others = " The other nuisance parameters have their best values." if len(results.tuning.parameters) > 1 else ""
    return Picture(
        name=f"sensitivity-{name}",
        caption=f"Validation loss of the trials that tuned, over {what}; a curve for each level, with the others at "
        f"the baseline's levels. The chosen value is ringed, the dotted line is the baseline's.{band}{others} Where "
        "the rings of one panel stand above different values, no single value is fair to its levels; where one curve "
        "is steep at the dotted line and another is flat, a comparison there is largely one of how well it suits them.",
        alt=f"Loss over {what} for the levels of {', '.join(panels)}; chosen: "
        + ", ".join(
            f"{level_name(hyperparameter, row['level'])} {row['value']:g}"
            for hyperparameter, frame in panels.items()
            for row in frame[frame["chosen"]].to_dict("records")
        ),
        figure=sensitivity_curves(panels, name, shared=shared),
    )


def _tuning_table(results: SweepResults) -> Table:
    """The loss of each variant at each setting, a row a variant."""
    assert results.tuning is not None
    names, losses = results.tuning.parameters, tuning_losses(results)
    settings = losses[list(names)].astype(float).apply(lambda row: setting_text(names, tuple(row)), axis=1)
    data = losses.assign(setting=settings)[["label", "setting", "loss", "low", "high", "seeds", "chosen"]]
    rows = []
    for label, group in data.groupby("label", sort=False):
        row = {"variant": str(label)}
        for each in group.to_dict("records"):
            text = "no loss" if math.isnan(each["loss"]) else f"{each['loss']:.4f}"
            row[each["setting"]] = f"{text} *" if each["chosen"] else text
        rows.append(row)
    shown = pd.DataFrame(rows).fillna("")
    return Table(
        name="tuning",
        caption=f"Validation loss of the trials that tuned, by {nuisance_name(results)}, nats per character, means "
        "over their seeds; * is the best of its row. They are part of no comparison.",
        shown=shown.head(_MOST_ROWS),
        data=data,
        left=["variant"],
    )
