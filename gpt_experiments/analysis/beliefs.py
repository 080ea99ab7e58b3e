"""Common beliefs about the five hyperparameters, each tested on one sweep."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import pandas as pd

from gpt_experiments.analysis.effects import paired
from gpt_experiments.analysis.estimate import LEVEL, Estimate, adjusted, estimate
from gpt_experiments.analysis.results import SweepResults, level_name

Standing = Literal["supported", "contradicted", "undecided", "not tested"]

MARGIN: Final = 0.01
"""Nats per character: a smaller difference counts as none in a belief that says so."""

MUCH: Final = 0.05
"""Nats per character: the least difference that counts as "much" in a belief."""


@dataclass(frozen=True, kw_only=True)
class Belief:
    """A belief and what the sweep says about it; `evidence` has the deciding number, or what is missing."""

    claim: str
    standing: Standing
    evidence: str


@dataclass(frozen=True, kw_only=True)
class _Test:
    """One quantity, one value for each seed; the belief holds if it is below `below`, or above `above` if that is set.

    Attributes:
        says: names the quantity in a sentence.
        values: one a seed; empty where the sweep lacks a level.
        lacks: the levels that it lacks.
    """

    says: str
    values: pd.Series
    below: float | None = None
    above: float | None = None
    unit: str = "nats per character"
    lacks: str = ""


@dataclass(frozen=True, kw_only=True)
class _Claim:
    text: str
    tests: Callable[[SweepResults], list[_Test]]


def beliefs(results: SweepResults) -> list[Belief]:
    """Every belief with its standing.

    A belief is a statement about one or more mean differences over seeds, each tested two-sided against its bound by
    Student's t; p-values are corrected over all tests (Holm). It is supported when every part of it is, contradicted
    when one part is, and undecided otherwise; with one seed always undecided.
    """
    tests = [claim.tests(results) for claim in _CLAIMS]
    flat = [test for group in tests for test in group]
    estimates = {id(test): estimate(test.values) for test in flat if len(test.values)}
    p_values = {
        id(test): estimate(test.values - _bound(test)).p_value if len(test.values) else math.nan for test in flat
    }
    corrected = dict(zip(p_values, adjusted(list(p_values.values())), strict=True))
    return [_judge(claim, group, estimates, corrected) for claim, group in zip(_CLAIMS, tests, strict=True)]


def _bound(test: _Test) -> float:
    bound = test.below if test.below is not None else test.above
    assert bound is not None
    return bound


def _judge(claim: _Claim, tests: list[_Test], estimates: dict[int, Estimate], p_values: dict[int, float]) -> Belief:
    lacking = [test.lacks for test in tests if not len(test.values)]
    if lacking:
        return Belief(claim=claim.text, standing="not tested", evidence=f"The sweep lacks {'; '.join(lacking)}.")
    parts = [_part(test, estimates[id(test)], p_values[id(test)]) for test in tests]
    evidence = " ".join(_sentence(test, estimates[id(test)]) for test in tests)
    if min(estimates[id(test)].n for test in tests) < 2:
        evidence += " One seed cannot decide it."
    if "contradicted" in parts:
        standing: Standing = "contradicted"
    else:
        standing = "supported" if set(parts) == {"supported"} else "undecided"
    return Belief(claim=claim.text, standing=standing, evidence=evidence)


def _part(test: _Test, found: Estimate, p_value: float) -> Standing:
    if math.isnan(p_value) or p_value >= LEVEL:
        return "undecided"
    is_below = found.mean < _bound(test)
    return "supported" if is_below == (test.below is not None) else "contradicted"


def _sentence(test: _Test, found: Estimate) -> str:
    interval = "" if math.isnan(found.low) else f" (95 % interval {found.low:+.4f} to {found.high:+.4f})"
    bound = _bound(test)
    required = f"; required: {'below' if test.below is not None else 'above'} {bound:g}" if bound else ""
    return f"{test.says} {found.mean:+.4f} {test.unit}{interval}{required}."


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
    *,
    below: float | None = None,
    above: float | None = None,
) -> _Test:
    return _Test(
        says=f"Loss at {level_name(name, level)} minus at {level_name(name, base)}:",
        values=_difference(results, name, level, base),
        below=below,
        above=above,
        lacks=f"{level_name(name, level)} or {level_name(name, base)}",
    )


def _one_head(results: SweepResults) -> list[_Test]:
    return [_compare(results, "n_head", 1, 4, above=0.0)]


def _eight_heads(results: SweepResults) -> list[_Test]:
    return [_compare(results, "n_head", 8, 4, above=-MARGIN)]


def _one_layer(results: SweepResults) -> list[_Test]:
    return [_compare(results, "n_layer", 1, 4, above=MUCH)]


def _diminishing_layers(results: SweepResults) -> list[_Test]:
    early, late = _difference(results, "n_layer", 1, 4), _difference(results, "n_layer", 4, 8)
    return [
        _Test(
            says="Gain from four to eight layers minus the gain from one to four:",
            values=(late - early).dropna(),
            below=0.0,
            lacks="n_layer=1, 4 or 8",
        )
    ]


def _wider(results: SweepResults) -> list[_Test]:
    return [
        _compare(results, "n_embed", 32, 64, above=0.0),
        _compare(results, "n_embed", 128, 64, below=0.0),
        *[_range_difference(results, "n_embed", other) for other in ("n_head", "n_layer", "dropout", "block_size")],
    ]


def _no_dropout(results: SweepResults) -> list[_Test]:
    losses = results.finished
    trials = losses.assign(
        gap=losses["final_val_loss"] - losses["final_train_loss"],
        rise=losses["final_val_loss"] - losses["best_val_loss"],
    )
    with_gap = dataclasses.replace(results, trials=trials)
    without_dropout = trials[trials["dropout"] == 0]
    return [
        _Test(
            says="Gap between validation and training loss at dropout=0 minus at dropout=0.1:",
            values=_difference(with_gap, "dropout", 0.0, 0.1, "gap"),
            above=0.0,
            lacks="dropout=0 or dropout=0.1",
        ),
        _Test(
            says="Rise of the validation loss from its best to its last evaluation at dropout=0:",
            values=without_dropout.groupby("seed")["rise"].mean(),
            above=MARGIN,
            lacks="dropout=0",
        ),
    ]


def _much_dropout(results: SweepResults) -> list[_Test]:
    return [_compare(results, "dropout", 0.3, 0.1, above=0.0)]


def _longer_context(results: SweepResults) -> list[_Test]:
    seconds = _difference(results, "block_size", 256, 128, "train_seconds")
    return [
        _compare(results, "block_size", 32, 128, above=0.0),
        _compare(results, "block_size", 256, 128, below=0.0),
        _Test(
            says="Training time at block_size=256 minus at block_size=128:",
            values=seconds,
            above=0.0,
            unit="seconds",
            lacks="block_size=256 or block_size=128",
        ),
    ]


def _order(results: SweepResults) -> list[_Test]:
    return [_range_difference(results, "n_embed", "n_layer"), _range_difference(results, "n_layer", "n_head")]


def _range_difference(results: SweepResults, stronger: str, weaker: str) -> _Test:
    """How much wider the losses spread over the levels of one hyperparameter than over those of another."""
    spread = [_spread(results, name) for name in (stronger, weaker)]
    return _Test(
        says=f"Spread over the levels of {stronger} minus over those of {weaker}:",
        values=(spread[0] - spread[1]).dropna(),
        above=0.0,
        lacks=f"several levels of {stronger} or {weaker}",
    )


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
    _Claim(text="One head is worse than four.", tests=_one_head),
    _Claim(text="Eight heads of size eight are no better than four of size sixteen.", tests=_eight_heads),
    _Claim(text="One layer is much worse than four.", tests=_one_layer),
    _Claim(text="Going from four to eight layers gains less than going from one to four.", tests=_diminishing_layers),
    _Claim(text="Wider is better, and width is the strongest effect of all.", tests=_wider),
    _Claim(text="Without dropout the model overfits.", tests=_no_dropout),
    _Claim(text="A dropout of 0.3 hurts at this size and budget.", tests=_much_dropout),
    _Claim(text="A longer context is better, at growing cost.", tests=_longer_context),
    _Claim(text="The order of importance is n_embed, n_layer, n_head.", tests=_order),
)
