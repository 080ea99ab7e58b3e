"""The tables of a report from a sweep's results: rounded for readers, whole for the CSV files."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from gpt_experiments.analysis import (
    LOSS,
    Effect,
    Pretrained,
    SweepResults,
    estimate,
    level_name,
    power_table,
    variance_shares,
)
from gpt_experiments.analysis.power import COLUMNS
from gpt_experiments.report.document import Table
from gpt_experiments.rounding import rounded, rounded_interval, rounded_value

_MOST_ROWS = 40


def summary(results: SweepResults) -> Table:
    """One row a variant: losses (with intervals over seeds), size, cost."""
    data = results.by_variant.copy()
    estimates = {label: estimate(rows[LOSS]) for label, rows in results.finished.groupby("label")}
    data["val_loss_low"] = [estimates[label].low for label in data["label"]]
    data["val_loss_high"] = [estimates[label].high for label in data["label"]]
    data["bits_per_character"] = data[LOSS] / math.log(2)
    stopped = results.stopped["label"].value_counts()
    data["stopped_seeds"] = data["label"].map(stopped).fillna(0).astype(int)
    # Those with a seed that was stopped come last, without a rank.
    data = data.sort_values(by="stopped_seeds", key=lambda count: count > 0, kind="stable", ignore_index=True)
    rows = []
    for rank, row in enumerate(data.to_dict("records"), start=1):
        found = estimates[row["label"]]
        rows.append(
            {
                "#": "" if row["stopped_seeds"] else str(rank),
                "variant": row["label"],
                "seeds": str(row["n_seeds"]),
                "stopped": str(row["stopped_seeds"]),
                "parameters": f"{row['n_params']:,.0f}",
                "steps": f"{row['steps']:,.0f}",
                "validation loss": rounded(found.mean, found.half_width, signed=False),
                "best": rounded_value(row["best_val_loss"], found.half_width),
                "training loss": rounded_value(row["final_train_loss"], found.half_width),
                "gap": rounded_value(row["gap"], found.half_width, signed=True),
                "bits/char": f"{row['bits_per_character']:.3f}",
                "seconds": f"{row['train_seconds']:,.1f}",
                "tokens/s": f"{row['tokens_per_second']:,.0f}",
            }
        )
    shown = pd.DataFrame(rows)
    alike = [column for column in ("seeds", "steps") if shown[column].nunique() == 1]
    alike += [] if results.set_aside else ["stopped"]
    shown, cut, aside = shown.drop(columns=alike), "", ""
    if results.set_aside:
        aside = " Of those without a rank some seeds were stopped early, so the mean of the others is too low."
    if len(shown) > _MOST_ROWS:
        cut = f" The best {_MOST_ROWS - 10} and the worst 10 of {len(shown)} variants; the CSV file has all."
        shown = pd.concat([shown.head(_MOST_ROWS - 10), shown.tail(10)])
    return Table(
        name="summary",
        caption="Variants by validation loss after the last step, nats per character; means over seeds, ± half of the "
        f"95 % interval. Best: the lowest of all evaluations. Gap: validation minus training loss.{aside}{cut}",
        shown=shown,
        data=data,
        left=["variant"],
    )


def pretrained_table(models: Sequence[Pretrained], results: SweepResults) -> Table:
    """Pre-trained models, to be read beside the summary."""
    data = pd.DataFrame([dataclasses.asdict(model) for model in models]).drop(columns=["sample"])
    shown = pd.DataFrame(
        {
            "pre-trained model": model.label,
            "parameters": f"{model.n_params:,}",
            "validation loss": f"{model.val_loss:.4f}",
            "training loss": f"{model.train_loss:.4f}",
            "bits/char": f"{model.val_loss / math.log(2):.3f}",
        }
        for model in models
    )
    others = [model.label for model in models if model.corpus_digest != results.corpus_digest]
    note = f" Not comparable, because evaluated on another corpus: {', '.join(others)}." if others else ""
    return Table(
        name="pretrained",
        caption="Models that the sweep did not train, evaluated on the same splits; it is not known "
        f"which text they were trained on.{note}",
        shown=shown,
        data=data,
        left=["pre-trained model"],
    )


def trials(results: SweepResults) -> Table:
    """Every planned trial, mainly for the CSV file."""
    data = results.trials.drop(columns=["hardware"])
    shown = results.trials[["label", "seed", "outcome", "run_id"]].head(_MOST_ROWS).astype(str)
    cut = f" The first {_MOST_ROWS} of {len(data)}; the CSV file has all." if len(data) > _MOST_ROWS else ""
    return Table(
        name="trials",
        caption=f"The trials and their MLflow runs.{cut}",
        shown=shown,
        data=data,
        left=["label", "outcome", "run_id"],
    )


def effects_table(found: Sequence[Effect]) -> Table:
    """Each level against the baseline's, with the corrected verdict."""
    data = pd.DataFrame(
        {
            "hyperparameter": e.hyperparameter,
            "level": e.level,
            "base_level": e.base_level,
            "difference": e.difference.mean,
            "low": e.difference.low,
            "high": e.difference.high,
            "low_for_all": e.judged.low,
            "high_for_all": e.judged.high,
            "seeds": e.difference.n,
            "combinations": e.combinations,
            "better_in": e.better_in,
            "p_value": e.difference.p_value,
            "p_adjusted": e.p_adjusted,
            "verdict": e.verdict,
            "margin": e.judged.margin,
            "noise_from": e.noise_from,
            "look": e.look,
            "lost_seeds": e.lost_seeds,
        }
        for e in found
    )
    shown = pd.DataFrame(
        {
            "level": level_name(e.hyperparameter, e.level),
            "against": level_name(e.hyperparameter, e.base_level),
            "difference": rounded_value(e.difference.mean, e.difference.half_width, signed=True),
            "interval for all": rounded_interval(e.judged.low, e.judged.high),
            "seeds": str(e.difference.n),
            "combinations": str(e.combinations),
            "lower in": f"{e.better_in} of {e.combinations}",
            "p, corrected": "" if math.isnan(e.p_adjusted) else f"{e.p_adjusted:.2g}",
            "verdict": e.verdict + (" (less than the margin)" if _is_small(e) else ""),
        }
        for e in found
    )
    if any(e.look for e in found):
        shown.insert(
            list(shown.columns).index("verdict"), "look", ["" if e.look is None else str(e.look) for e in found]
        )
    if all(e.combinations == 1 for e in found):
        shown = shown.drop(columns=["combinations", "lower in"])
    lost = [level_name(e.hyperparameter, e.level) for e in found if e.lost_seeds]
    note = f" Seeds that lack a trial are left out of the pairs of {', '.join(lost)}." if lost else ""
    return Table(
        name="effects",
        caption="Validation loss at a level minus at the baseline's level, nats per character, paired by seed. The "
        f"intervals hold for all {len(found)} comparisons together: the chance that any of them misses the truth is "
        "at most 5 %. Worse: the interval lies above 0. Better: below. Equivalent: it holds 0 and lies within the "
        f"margin of {found[0].judged.margin:g} nats per character. Undecided: none of these.{note}",
        shown=shown,
        data=data,
        left=["level", "against", "verdict"],
    )


def _is_small(effect: Effect) -> bool:
    return effect.verdict in ("better", "worse") and effect.judged.is_within_margin


def power(results: SweepResults, found: Sequence[Effect]) -> Table:
    """How many seeds each comparison needs for differences of several sizes."""
    data = power_table(results, found)
    shown = pd.DataFrame(
        {
            "level": row["level"],
            "noise": f"{row['sd']:.2g}",
            **{f"for {size:g}": _seeds(row[column]) for column, size in COLUMNS.items()},
            "to show that there is none": _seeds(row["seeds_for_equivalence"]),
        }
        for row in data.to_dict("records")
    )
    return Table(
        name="power",
        caption="Seeds that each comparison needs to find a difference of that many nats per character with a chance "
        f"of 80 %, at one look and with the correction for {len(data)} comparisons. Noise: standard deviation over "
        "seeds of the paired difference. Last: seeds to show that there is no difference beyond "
        f"{results.margin:g}.",
        shown=shown,
        data=data,
        left=["level"],
    )


def _seeds(needed: float) -> str:
    return "over 1,000" if math.isnan(needed) else f"{needed:,.0f}"


def shares_table(results: SweepResults) -> Table:
    data = variance_shares(results)
    shown = data.assign(
        share=[f"{value:.2%}" for value in data["share"]],
        noise=["" if math.isnan(value) else f"{value:.2%}" for value in data["noise"]],
    ).rename(columns={"noise": "noise alone"})
    return Table(
        name="variance-shares",
        caption="Share of the variance of the loss, and what noise alone would stay below in 95 of 100 sweeps.",
        shown=shown,
        data=data,
        left=["term"],
    )


@dataclass(frozen=True, kw_only=True)
class Importance:
    """How much of the variance a hyperparameter explains by fANOVA, and the range over forests of other trials."""

    share: float
    low: float
    high: float


def importances_table(importances: Mapping[str, Importance], *, some_stopped: bool = False) -> Table:
    data = pd.DataFrame(
        {"hyperparameter": name, "importance": found.share, "low": found.low, "high": found.high}
        for name, found in importances.items()
    )
    shown = pd.DataFrame(
        {"hyperparameter": name, "importance": f"{found.share:.2f}", "range": f"{found.low:.2f} to {found.high:.2f}"}
        for name, found in importances.items()
    )
    first, others = data.iloc[0], data.iloc[1:]
    near = list(others.loc[others["high"] >= first["low"], "hyperparameter"])
    sure = f"but its range overlaps that of {', '.join(near)}" if near else "and its range overlaps no other"
    without = " Without the stopped trials: what makes losses very high is understated." if some_stopped else ""
    return Table(
        name="importances",
        caption=f"What to see: {first['hyperparameter']} explains most, {sure}. These are fANOVA importances "
        "(Hutter et al. 2014) from a random forest fitted to the trials, as Optuna computes them: an estimate of how "
        "much of the variance each hyperparameter explains, not a test. The range is over forests that are fitted to "
        f"trials drawn again.{without}",
        shown=shown,
        data=data,
        left=["hyperparameter"],
    )


def heads_table(results: SweepResults, label: str) -> Table | None:
    """What each head of a variant's first seed does; None where it was not measured."""
    runs = results.runs_of(label)
    data = results.heads[results.heads["run_id"] == runs["run_id"].iloc[0]] if len(runs) else results.heads.head(0)
    if data.empty:
        return None
    scores = [c for c in data.columns if c not in ("run_id", "layer", "head", "name", "repeat_length")]
    shown = data[["layer", "head"]].astype(int).astype(str)
    for score in scores:
        shown[score.replace("_", " ")] = ["" if math.isnan(value) else f"{value:.2f}" for value in data[score]]
    shown["what it does"] = data["name"].to_list()
    repeat = int(data["repeat_length"].iloc[0])
    short = (
        "" if repeat == 64 else f" Twice 64 characters exceed the context, so {repeat} were repeated." if repeat else ""
    )
    return Table(
        name=f"heads-{label.replace('=', '-').replace(' ', '-')}",
        caption=f"Attention heads of {label}, seed {runs['seed'].iloc[0]}. Same character and induction are multiples "
        "of what uniform attention would give; entropy is 1 for uniform attention; the others are shares of weight."
        f"{short}",
        shown=shown,
        data=data,
        left=["what it does"],
    )


def heads_over_seeds(results: SweepResults, label: str) -> Table | None:
    """How strong the strongest head of each seed is; None where fewer than two seeds were measured.

    Heads of different seeds have no common order, so the strongest of each is compared.
    """
    data = results.heads[results.heads["run_id"].isin(results.runs_of(label)["run_id"])]
    seeds = data["run_id"].nunique()
    if seeds < 2:
        return None
    scores = [c for c in data.columns if c not in ("run_id", "layer", "head", "name", "repeat_length", "entropy")]
    strongest = data.groupby("run_id")[scores].max()
    rows = pd.DataFrame(
        {"score": score.replace("_", " "), "mean": of.mean(), "lowest": of.min(), "highest": of.max(), "seeds": len(of)}
        for score, of in ((score, strongest[score].dropna()) for score in scores)
        if len(of)
    )
    if rows.empty:
        return None
    shown = rows.assign(seeds=rows["seeds"].astype(str))
    for column in ("mean", "lowest", "highest"):
        shown[column] = [f"{value:.2f}" for value in rows[column]]
    return Table(
        name=f"heads-over-seeds-{label.replace('=', '-').replace(' ', '-')}",
        caption=f"The strongest head of {label} by each score, over {seeds} seeds: what the table of one seed shows "
        "holds for the variant where lowest and highest are close.",
        shown=shown,
        data=rows,
        left=["score"],
    )


def setup(results: SweepResults) -> Table:
    baseline = " ".join(level_name(name, results.base_level(name)) for name in results.parameters)
    rows = {
        "method": results.method,
        "budget": results.budget,
        **({} if results.pruner is None else {"pruner": results.pruner}),
        "baseline": baseline,
        "corpus": f"{results.corpus}, {results.vocab_size} characters, SHA-256 {results.corpus_digest[:16]}...",
        **results.training,
        "seeds": ", ".join(map(str, results.planned_seeds)),
        "hardware": ", ".join(sorted(results.finished["hardware"].unique())),
    }
    shown = pd.DataFrame({"what": list(rows), "value": list(map(str, rows.values()))})
    return Table(name="setup", caption="How every trial was trained.", shown=shown, left=["what", "value"])
