"""Common beliefs in a report: what was found of each in words, then the numbers behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import pandas as pd

from gpt_experiments.analysis import Belief, Quantity
from gpt_experiments.report.document import Claim, Claims, Table
from gpt_experiments.rounding import rounded_interval, rounded_value

_MOST_ROWS: Final = 3  # of one belief that are shown without unfolding
_HEADS: Final = ("quantity", "estimate", "95 % interval", "would support it", "this sweep")


def belief_claims(found: Sequence[Belief]) -> Claims:
    """One block a belief; the file has one row a quantity."""
    return Claims(
        claims=[_claim(belief) for belief in found],
        table=beliefs_table(found),
        left=[_HEADS[0], _HEADS[3], _HEADS[4]],
    )


def beliefs_table(found: Sequence[Belief]) -> Table:
    """One row a quantity of a belief, unrounded."""
    data = pd.DataFrame(
        {
            "belief": belief.claim,
            "standing": belief.standing,
            "finding": belief.finding,
            "quantity": quantity.name,
            "unit": quantity.unit,
            "mean": quantity.estimate.mean if quantity.estimate else math.nan,
            "low": quantity.estimate.low if quantity.estimate else math.nan,
            "high": quantity.estimate.high if quantity.estimate else math.nan,
            "seeds": quantity.estimate.n if quantity.estimate else 0,
            "needs": quantity.needs,
            "p_adjusted": quantity.p_adjusted,
            "quantity_standing": quantity.standing,
        }
        for belief in found
        for quantity in belief.quantities
    )
    return Table(
        name="beliefs",
        caption="A loss is in nats per character, a difference is the mean over pairs of the same seed, and intervals "
        "are those of each number by itself. What a number says of a belief is decided at 5 % after correction for all "
        "the numbers of all beliefs.",
        shown=data,
    )


def _claim(belief: Belief) -> Claim:
    measured = [quantity for quantity in belief.quantities if quantity.estimate is not None]
    return Claim(
        text=belief.claim,
        standing=belief.standing,
        finding=belief.finding,
        numbers=pd.DataFrame([_row(quantity) for quantity in measured], columns=list(_HEADS)),
        key_rows=len(measured) if len(measured) <= _MOST_ROWS else 1,
    )


def _row(quantity: Quantity) -> tuple[str, ...]:
    found = quantity.estimate
    assert found is not None
    seconds = " s" if quantity.unit == "seconds" else ""
    says = {"supported": "supports it", "contradicted": "contradicts it"}.get(quantity.standing, "does not decide")
    estimate = rounded_value(found.mean, found.half_width, signed=True) + seconds
    interval = rounded_interval(found.low, found.high)
    return quantity.name, estimate, interval + (seconds if interval else ""), quantity.needs, says
