"""Common beliefs about the five hyperparameters, each tested on one sweep."""

from __future__ import annotations

import dataclasses
from typing import Final

import pandas as pd

from gpt_experiments.analysis.effects import paired
from gpt_experiments.analysis.estimate import estimate
from gpt_experiments.analysis.judging import IN_PROSE, Belief, Claim, Test, judge
from gpt_experiments.analysis.results import SweepResults, level_name
from gpt_experiments.rounding import rounded_value

MARGIN: Final = 0.01
"""Nats per character: a smaller difference counts as none in a belief that says so."""

MUCH: Final = 0.05
"""Nats per character: the least difference that counts as "much" in a belief."""


def beliefs(results: SweepResults) -> list[Belief]:
    """Every belief with its standing; see `judge`."""
    return judge(results, _CLAIMS)


def _difference(
    results: SweepResults, name: str, level: float, base: float, column: str = "final_val_loss"
) -> pd.Series:
    """`column` at `level` minus at `base`, one value a seed; empty where one of them is not there."""
    present = results.levels(name)
    if level not in present or base not in present:
        return pd.Series(dtype=float)
    table = paired(results, name, level, base, column)
    return table.mean(axis=1) if table.size else pd.Series(dtype=float)


def _compare(
    results: SweepResults,
    name: str,
    level: float,
    base: float,
    subject: str,
    other: str,
    *,
    below: float | None = None,
    above: float | None = None,
) -> Test:
    """The loss at a level minus that at another one.

    Args:
        subject, other: both in words, as `One head is` and `four`.
    """
    return Test(
        says=f"loss at {level_name(name, level)} minus at {level_name(name, base)}",
        words=(
            f"{subject} better than {other} by {{}}",
            f"{subject} as good as {other}",
            f"{subject} worse than {other} by {{}}",
        ),
        values=_difference(results, name, level, base),
        below=below,
        above=above,
        lacks=f"{level_name(name, level)} or {level_name(name, base)}",
    )


def _one_head(results: SweepResults) -> list[Test]:
    return [_compare(results, "n_head", 1, 4, "One head is", "four", above=0.0)]


def _eight_heads(results: SweepResults) -> list[Test]:
    return [_compare(results, "n_head", 8, 4, "Eight heads are", "four", above=-MARGIN)]


def _one_layer(results: SweepResults) -> list[Test]:
    return [_compare(results, "n_layer", 1, 4, "One layer is", "four", above=MUCH)]


def _diminishing_layers(results: SweepResults) -> list[Test]:
    early, late = _difference(results, "n_layer", 4, 1), _difference(results, "n_layer", 8, 4)
    first, second = _mean(early, signed=True), _mean(late, signed=True)
    gains = f"The loss changes by {first} from one layer to four, and by {second} from four to eight"
    return [
        Test(
            says="gain from four to eight layers minus the gain from one to four",
            words=(gains, gains, gains),
            values=(early - late).dropna(),
            below=0.0,
            lacks="n_layer=1, 4 or 8",
            doubt="which of the two is larger may be luck",
        )
    ]


def _wider(results: SweepResults) -> list[Test]:
    others = ("n_layer", "block_size", "dropout", "n_head")
    return [
        _compare(results, "n_embed", 32, 64, "A width of 32 is", "one of 64", above=0.0),
        _compare(results, "n_embed", 128, 64, "A width of 128 is", "one of 64", below=0.0),
        *[_range_difference(results, "n_embed", other, continues=other != others[0]) for other in others],
    ]


def _no_dropout(results: SweepResults) -> list[Test]:
    losses = results.finished
    trials = losses.assign(
        gap=losses["final_val_loss"] - losses["final_train_loss"],
        rise=losses["final_val_loss"] - losses["best_val_loss"],
    )
    with_gap = dataclasses.replace(results, trials=trials)
    without_dropout = trials[trials["dropout"] == 0]
    gap = "Without dropout the validation loss lies"
    rise = "Without dropout the loss rises by {} from its best to its last evaluation"
    return [
        Test(
            says="gap between validation and training loss at dropout=0 minus at dropout=0.1",
            words=(
                f"{gap} closer to the training loss than with 0.1, by {{}}",
                f"{gap} as close to the training loss as with 0.1",
                f"{gap} farther from the training loss than with 0.1, by {{}}",
            ),
            values=_difference(with_gap, "dropout", 0.0, 0.1, "gap"),
            above=0.0,
            lacks="dropout=0 or dropout=0.1",
        ),
        Test(
            says="rise of the validation loss from its best to its last evaluation at dropout=0",
            words=(rise, "Without dropout the loss is at its lowest at the last evaluation", rise),
            values=without_dropout.groupby("seed")["rise"].mean(),
            above=MARGIN,
            lacks="dropout=0",
        ),
    ]


def _much_dropout(results: SweepResults) -> list[Test]:
    return [_compare(results, "dropout", 0.3, 0.1, "A dropout of 0.3 is", "one of 0.1", above=0.0)]


def _longer_context(results: SweepResults) -> list[Test]:
    training = "Training with a context of 256 takes"
    return [
        _compare(results, "block_size", 32, 128, "A context of 32 is", "one of 128", above=0.0),
        _compare(results, "block_size", 256, 128, "A context of 256 is", "one of 128", below=0.0),
        Test(
            says="training time at block_size=256 minus at block_size=128",
            words=(
                f"{training} {{}} seconds less",
                f"{training} as long as with one of 128",
                f"{training} {{}} seconds more",
            ),
            values=_difference(results, "block_size", 256, 128, "train_seconds"),
            above=0.0,
            unit="seconds",
            lacks="block_size=256 or block_size=128",
        ),
    ]


def _order(results: SweepResults) -> list[Test]:
    return [
        _range_difference(results, "n_embed", "n_layer"),
        _range_difference(results, "n_layer", "n_head", continues=True),
    ]


def _range_difference(results: SweepResults, stronger: str, weaker: str, *, continues: bool = False) -> Test:
    """How much wider the losses spread over the levels of one hyperparameter than over those of another."""
    spread = [_spread(results, name) for name in (stronger, weaker)]
    words = f"{_IN_WORDS[weaker]} by {_mean(spread[1])}"
    if not continues:
        words = f"{_IN_WORDS[stronger].capitalize()} changes the loss by {_mean(spread[0])}, {words}"
    return Test(
        says=f"spread of the loss over the levels of {stronger} minus over those of {weaker}",
        words=(words, words, words),
        values=(spread[0] - spread[1]).dropna(),
        above=0.0,
        lacks=f"several levels of {stronger} or {weaker}",
        continues=continues,
        doubt="not surely less",
    )


_IN_WORDS: Final = {
    "n_head": "the number of heads",
    "n_layer": "the number of layers",
    "n_embed": "width",
    "dropout": "dropout",
    "block_size": "context",
}


def _mean(values: pd.Series, *, signed: bool = False) -> str:
    """The mean over seeds, to the digits that its noise allows; `?` where there is none."""
    if values.empty:
        return "?"
    found = estimate(values)
    return rounded_value(found.mean, found.half_width, digits=IN_PROSE, signed=signed)


def _spread(results: SweepResults, name: str) -> pd.Series:
    """Largest minus smallest mean difference to the baseline's level, one value a seed."""
    base = results.base_level(name)
    levels = [level for level in results.levels(name) if level != base]
    if not levels:
        return pd.Series(dtype=float)
    table = pd.concat([_difference(results, name, level, base) for level in levels], axis=1).dropna()
    table["base"] = 0.0
    return table.max(axis=1) - table.min(axis=1)


_CLAIMS: Final = (
    Claim(text="One head is worse than four.", tests=_one_head),
    Claim(text="Eight heads of size eight are no better than four of size sixteen.", tests=_eight_heads),
    Claim(text="One layer is much worse than four.", tests=_one_layer),
    Claim(text="Going from four to eight layers gains less than going from one to four.", tests=_diminishing_layers),
    Claim(text="Wider is better, and width is the strongest effect of all.", tests=_wider),
    Claim(text="Without dropout the model overfits.", tests=_no_dropout),
    Claim(text="A dropout of 0.3 hurts at this size and budget.", tests=_much_dropout),
    Claim(text="A longer context is better, at growing cost.", tests=_longer_context),
    Claim(text="The order of importance is n_embed, n_layer, n_head.", tests=_order),
)
