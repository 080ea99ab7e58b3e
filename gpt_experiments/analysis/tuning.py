"""Which values of the nuisance parameters suit each variant, and the sweep with each variant at its best ones.

A variant is tuned with seeds of its own, and compared with others: a value that was lowest by luck is not flattered.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

import pandas as pd

from gpt_experiments.analysis.results import FINISHED, LOSS, SweepResults, Tuning
from gpt_experiments.parameters import as_text

Setting = tuple[float, ...]
"""A value of each nuisance parameter, in their order."""

State = Literal["chosen", "failed", "unfinished"]


def best_setting(losses: Mapping[Setting, Sequence[float | None]]) -> Setting | None:
    """The setting with the lowest mean loss; None if there is none.

    Args:
        losses: of each setting, one for each seed of the tuning; None where a trial failed, which rules the setting
            out. Equal means go to the lower setting.
    """
    means = {
        setting: fmean(loss for loss in given if loss is not None)
        for setting, given in losses.items()
        if given and None not in given
    }
    return min(means, key=lambda setting: (means[setting], setting), default=None)


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What the tuning of one variant says.

    Attributes:
        label: the variant's, without the nuisance parameters.
        state: `chosen`; `failed` if every setting lacks a loss; `unfinished` if a trial has not ended yet.
        setting: the best one, if one is chosen.
        at_edge: the nuisance parameters whose best value is the lowest or the highest of those that were tried.
        failed: settings that failed with at least one seed.
    """

    label: str
    state: State
    setting: Setting | None
    at_edge: tuple[str, ...]
    failed: tuple[Setting, ...]


def split_trials(
    frame: pd.DataFrame, is_tuning: Sequence[bool], shared: Mapping[str, float]
) -> tuple[pd.DataFrame, Tuning | None]:
    """The trials that are compared at the baseline's values of the nuisance parameters, and all the others.

    Args:
        frame: as `SweepResults.trials`, with the nuisance parameters.
        is_tuning: for each row, whether it is a trial that tuned its variant.
        shared: the baseline's values of the nuisance parameters; empty where there are none.
    """
    if not shared:
        return frame, None
    tuned = pd.Series(list(is_tuning), index=frame.index, dtype=bool)
    is_shared = (frame[list(shared)] == pd.Series(dict(shared))).all(axis=1)
    compared = frame[~tuned & is_shared].drop(columns=list(shared)).reset_index(drop=True)
    return compared, Tuning(
        parameters=tuple(shared),
        trials=frame[tuned].reset_index(drop=True),
        elsewhere=frame[~tuned & ~is_shared].reset_index(drop=True),
    )


def tuned_variants(results: SweepResults) -> dict[str, Tuned]:
    """What the tuning says of each variant, by its label, in the order of the plan; nothing if nothing was tuned."""
    if results.tuning is None:
        return {}
    names = results.tuning.parameters
    extremes = {name: _extremes(results.tuning.trials[name]) for name in names}
    found = {}
    for label, rows in results.tuning.trials.groupby("label", sort=False):
        by_setting = {_setting(key): group for key, group in rows.groupby(list(names))}
        losses = {setting: _losses(group) for setting, group in by_setting.items()}
        is_unfinished = (~rows["outcome"].isin([FINISHED, "failed"])).any()
        best = None if is_unfinished else best_setting(losses)
        found[str(label)] = Tuned(
            label=str(label),
            state="unfinished" if is_unfinished else "failed" if best is None else "chosen",
            setting=best,
            at_edge=tuple(name for name, value in zip(names, best or (), strict=False) if value in extremes[name]),
            failed=tuple(setting for setting, group in by_setting.items() if (group["outcome"] == "failed").any()),
        )
    return found


def shared_setting(results: SweepResults) -> Setting:
    """The baseline's values of the nuisance parameters, at which every variant was compared too."""
    return tuple(float(results.baseline.value(name)) for name in _names(results))


def at_best(results: SweepResults) -> SweepResults | None:
    """The same sweep with each variant at its best values; None if no trial of it is finished.

    Its trials have a column for each nuisance parameter. A variant for which nothing is chosen is left out.
    """
    tuning, shared = results.tuning, shared_setting(results)
    if tuning is None:
        return None
    there = results.trials.assign(**dict(zip(tuning.parameters, shared, strict=True)))
    everywhere = pd.concat([there, *([tuning.elsewhere] if len(tuning.elsewhere) else [])], ignore_index=True)
    settings = everywhere[list(tuning.parameters)].astype(float).apply(tuple, axis=1)
    best = {label: tuned.setting for label, tuned in tuned_variants(results).items() if tuned.setting is not None}
    is_best = pd.Series(
        [best.get(label) == setting for label, setting in zip(everywhere["label"], settings, strict=True)],
        index=everywhere.index,
    )
    trials = everywhere[is_best].reset_index(drop=True)
    if trials.empty or not (trials["outcome"] == FINISHED).any():
        return None
    return dataclasses.replace(results, trials=trials, tuning=None)


def tuning_losses(results: SweepResults) -> pd.DataFrame:
    """One row for each variant and setting: `label`, the `parameters`, the nuisance parameters, `loss` and so on.

    `loss` is the mean over the seeds of the tuning, `low` and `high` the range over them, NaN where a trial has none;
    `seeds` says how many have one, and `chosen` whether the variant was compared there as its best.
    """
    assert results.tuning is not None
    names, variants = results.tuning.parameters, tuned_variants(results)
    rows = []
    keys = ["label", *results.parameters, *names]
    for _, group in results.tuning.trials.groupby(keys, sort=False):
        values: dict[str, Any] = {name: group[name].iloc[0] for name in keys}
        losses = [loss for loss in _losses(group) if loss is not None]
        is_whole = len(losses) == len(group)
        setting = tuple(float(values[name]) for name in names)
        rows.append(
            {
                **values,
                "loss": fmean(losses) if is_whole else math.nan,
                "low": min(losses) if is_whole else math.nan,
                "high": max(losses) if is_whole else math.nan,
                "seeds": len(losses),
                "chosen": variants[str(values["label"])].setting == setting,
            }
        )
    return pd.DataFrame(rows)


def setting_text(names: Sequence[str], setting: Setting | None) -> str:
    """`0.001`; with several parameters `learning_rate=0.001 weight_decay=0.1`; empty for none."""
    if setting is None:
        return ""
    if len(names) == 1:
        return f"{setting[0]:g}"
    return " ".join(as_text(name, value) for name, value in zip(names, setting, strict=True))


def nuisance_name(results: SweepResults) -> str:
    """What was tuned, in words: `learning rate`, `learning rate and weight decay`."""
    words = [name.replace("_", " ") for name in _names(results)]
    return " and ".join(words)


def only_differing_in(results: SweepResults, name: str, level: float) -> list[str]:
    """The labels of the variants that have that level, and the baseline's level of every other parameter."""
    others = [other for other in results.parameters if other != name]
    rows = results.trials[results.trials[name] == level]
    for other in others:
        rows = rows[rows[other] == results.base_level(other)]
    return list(dict.fromkeys(rows["label"]))


def _names(results: SweepResults) -> tuple[str, ...]:
    return results.tuning.parameters if results.tuning else ()


def _extremes(values: pd.Series) -> set[float]:
    return {float(values.min()), float(values.max())}


def _setting(key: object) -> Setting:
    return tuple(map(float, key)) if isinstance(key, tuple) else (float(str(key)),)


def _losses(rows: pd.DataFrame) -> list[float | None]:
    return [
        float(loss) if outcome == FINISHED else None for loss, outcome in zip(rows[LOSS], rows["outcome"], strict=True)
    ]
