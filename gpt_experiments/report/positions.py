"""The picture of the loss by position, and what it says."""

from __future__ import annotations

import pandas as pd

from gpt_experiments.analysis import SweepResults, own_characters, same_characters
from gpt_experiments.figures import position_curves
from gpt_experiments.report.document import Picture
from gpt_experiments.report.pictures import comparable, with_level
from gpt_experiments.rounding import rounded, rounded_value


def position_picture(results: SweepResults) -> Picture | None:
    """Loss by position for each block_size; None where it was not recorded or no trials can be compared.

    Contexts are compared on the same characters where every trial has recorded the losses of single ones. Trials of
    0.1.0 have not; their contexts are drawn as each was measured, on windows of its own.
    """
    trials = comparable(results, "block_size") if "block_size" in results.varied else None
    if trials is None:
        trials = with_level(results.runs_of("baseline"), "block_size")
    pools, base = _on_the_same(results, trials)
    paired = not pools.empty
    if not paired:
        joined = results.positions.merge(trials, on="run_id")
        if joined.empty:
            return None
        means = joined.groupby(["level", "characters_seen"])["val_loss"].mean()
        pools = own_characters({float(str(level)): of.to_numpy() for level, of in means.groupby(level="level")})
    return Picture(
        name="loss-by-position",
        caption=" ".join(
            [_to_see(pools), *([_compared(pools, base)] if paired else []), _bands(paired, pools)]
        ).strip(),
        alt="Validation loss by the number of characters seen: " + _to_see(pools).removeprefix("What to see: "),
        figure=position_curves(pools, base=base),
    )


def _on_the_same(results: SweepResults, trials: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """Pools on the same characters, empty where a level has no trial that recorded them, and the level compared with.

    Each level counts with the seeds that all levels have, so that no seed is in one mean and not in another.
    """
    known = trials[trials["run_id"].isin(list(results.character_losses))]
    shared = known.groupby("seed")["level"].nunique()
    known = known[known["seed"].isin(shared[shared == trials["level"].nunique()].index)]
    base = results.base_level("block_size")
    if known.empty:
        return pd.DataFrame(), base
    losses = {
        float(str(level)): [results.character_losses[run_id] for run_id in rows["run_id"]]
        for level, rows in known.groupby("level")
    }
    base = base if base in losses else max(losses)
    return same_characters(losses, base), base


def _to_see(pools: pd.DataFrame) -> str:
    """How the loss falls along the longest context."""
    longest = pools[pools["level"] == pools["level"].max()]
    first, last = longest.iloc[0], longest.iloc[-1]
    falls = "falls" if last["high"] < first["low"] else "does not fall clearly"
    return (
        f"What to see: at block_size={longest['level'].iloc[0]:g} the loss {falls} with what the model has seen, from "
        f"{_value(first)} {_after(first)} to {_value(last)} {_after(last)}."
    )


def _value(row: pd.Series) -> str:
    return rounded(row["loss"], (row["high"] - row["low"]) / 2, signed=False)


def _after(row: pd.Series) -> str:
    """`after 65 to 128 characters`."""
    first, last = int(row["first"]), int(row["last"])
    return f"after {first}{f' to {last}' if last > first else ''} character{'' if last == 1 else 's'}"


def _compared(pools: pd.DataFrame, base: float) -> str:
    """What the other contexts lose or gain where the longest has seen most."""
    parts = []
    for level, rows in pools[pools["level"] != base].groupby("level"):
        row = rows.iloc[-1]
        half = (row["more"] - row["less"]) / 2
        settled = row["less"] > 0 or row["more"] < 0
        size = rounded_value(abs(row["difference"]), half) if settled else rounded(row["difference"], half)
        how = f"{size} {'worse' if row['difference'] > 0 else 'better'}" if settled else f"no different ({size})"
        parts.append(f"block_size={level:g} is {how}")
    if not parts:
        return ""
    last = pools.iloc[-1]
    where = f"{int(last['first'])} to {int(last['last'])}"
    return (
        f"On the characters that the longest context predicts from {where} before them, {' and '.join(parts)} against "
        f"block_size={base:g}. All curves are of the same characters of the text; where a curve is dashed, its context "
        "is too short to see so many."
    )


def _bands(paired: bool, pools: pd.DataFrame) -> str:
    if pools["low"].isna().all():
        return "There are too few positions to say how large the noise is."
    text = (
        "Bands are 95 % intervals of the noise of the text: how much other passages would move the mean over seeds. "
        "Seeds are not in them. Neighbouring positions are pooled until this noise is small beside the range."
    )
    if not paired:
        text += (
            " Each context was measured on windows of its own, so at one position two curves are of different "
            "characters; the noise is read off the scatter of neighbouring positions."
        )
    return text
