"""How a belief is judged by one sweep: its quantities, their tests, and what is said of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import pandas as pd

from gpt_experiments.analysis.estimate import LEVEL, Estimate, adjusted, estimate
from gpt_experiments.analysis.looks import Looks
from gpt_experiments.analysis.results import SweepResults
from gpt_experiments.rounding import rounded, rounded_value

Standing = Literal["supported", "contradicted", "undecided", "not tested"]

IN_PROSE: Final = 1
"""Digits of its half width to which a number in a sentence is rounded; the table beside it has one more."""

_FROM_STRONGEST: Final[tuple[Standing, ...]] = ("not tested", "contradicted", "undecided", "supported")
"""The first of these that a part of a belief has is the belief's own standing."""

_MOST_LACKING: Final = 2


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A number that a belief is about, and what it says.

    Attributes:
        name: what it is, as `loss at n_head=1 minus at n_head=4`.
        unit: `nats per character` or `seconds`.
        estimate: its mean over seeds; None where the sweep lacks a level.
        needs: what would support the belief, as `above 0`.
        p_adjusted: of its being at that bound, corrected for all quantities of all beliefs.
        standing: what this number alone says about the belief.
    """

    name: str
    unit: str
    estimate: Estimate | None
    needs: str
    p_adjusted: float
    standing: Standing


@dataclass(frozen=True, kw_only=True)
class Belief:
    """A belief and what the sweep says about it.

    Attributes:
        finding: in plain words what was found, or which levels are missing.
        quantities: the numbers behind it, the one that decides its standing first.
    """

    claim: str
    standing: Standing
    finding: str
    quantities: tuple[Quantity, ...]


@dataclass(frozen=True, kw_only=True)
class Test:
    """One quantity, one value for each seed; the belief holds if it is below `below`, or above `above` if that is set.

    Attributes:
        says: names the quantity.
        words: how the finding is said where the mean is negative, is zero to the digits shown, and is positive; `{}`
            stands for its size.
        values: one a seed; empty where the sweep lacks a level.
        lacks: the levels that it lacks.
        continues: whether the words go on with the sentence of the test before.
        doubt: what is added where the seeds do not settle on which side of 0 the quantity lies.
    """

    says: str
    words: tuple[str, str, str]
    values: pd.Series
    below: float | None = None
    above: float | None = None
    unit: str = "nats per character"
    lacks: str = ""
    continues: bool = False
    doubt: str = "which may be luck"

    @property
    def bound(self) -> float:
        """What the quantity is compared with."""
        bound = self.below if self.below is not None else self.above
        assert bound is not None
        return bound

    @property
    def needs(self) -> str:
        """`above 0`."""
        return f"{'below' if self.below is not None else 'above'} {self.bound:g}"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A belief as a sentence, and what it takes for it to hold: every one of its tests."""

    text: str
    tests: Callable[[SweepResults], list[Test]]


def _p_value(test: Test, looks: Looks | None) -> float:
    if not len(test.values):
        return math.nan
    p_value = estimate(test.values - test.bound).p_value
    return p_value if looks is None else min(1.0, p_value / looks.share(len(test.values)))


def judge(results: SweepResults, claims: Sequence[Claim]) -> list[Belief]:
    """Each claim with its standing.

    A belief is a statement about one or more mean differences over seeds, each tested two-sided against its bound by
    Student's t; p-values are corrected over all tests (Holm). It is supported when every part of it is, contradicted
    when one part is, and undecided otherwise; with one seed always undecided. Where seeds are added until comparisons
    are decided, a test may spend only what the look with its number of seeds may.
    """
    tests = [claim.tests(results) for claim in claims]
    flat = [test for group in tests for test in group]
    looks = Looks(most=results.most_seeds, comparisons=1) if results.until_decided else None
    p_values = [_p_value(test, looks) for test in flat]
    quantities = iter([_quantity(test, p) for test, p in zip(flat, adjusted(p_values), strict=True)])
    return [_one(claim, group, [next(quantities) for _ in group]) for claim, group in zip(claims, tests, strict=True)]


def _quantity(test: Test, p_adjusted: float) -> Quantity:
    found = estimate(test.values) if len(test.values) else None
    if found is None:
        standing: Standing = "not tested"
    elif math.isnan(p_adjusted) or p_adjusted >= LEVEL:
        standing = "undecided"
    else:
        standing = "supported" if (found.mean < test.bound) == (test.below is not None) else "contradicted"
    return Quantity(
        name=test.says, unit=test.unit, estimate=found, needs=test.needs, p_adjusted=p_adjusted, standing=standing
    )


def _one(claim: Claim, tests: list[Test], quantities: list[Quantity]) -> Belief:
    parts = [quantity.standing for quantity in quantities]
    standing = next(each for each in _FROM_STRONGEST if each in parts)
    if standing == "not tested":
        lacking = dict.fromkeys(test.lacks for test in tests if not len(test.values))
        more = "; and more" if len(lacking) > _MOST_LACKING else ""
        finding = f"The sweep lacks {'; '.join([*lacking][:_MOST_LACKING])}{more}."
    else:
        finding = _finding(tests, quantities)
        if any(quantity.estimate is not None and quantity.estimate.n < 2 for quantity in quantities):
            finding += " One seed cannot decide it."
    return Belief(
        claim=claim.text,
        standing=standing,
        finding=finding,
        quantities=tuple(sorted(quantities, key=lambda quantity: quantity.standing != standing)),
    )


def _finding(tests: list[Test], quantities: list[Quantity]) -> str:
    text = ""
    for test, quantity in zip(tests, quantities, strict=True):
        text += (", " if test.continues else ". ") if text else ""
        text += _said(test, quantity)
    return f"{text}."


def _said(test: Test, quantity: Quantity) -> str:
    """What was found of one quantity, and whether it may be luck."""
    found = quantity.estimate
    assert found is not None
    is_settled = quantity.standing != "undecided" or found.n < 2
    size = (
        rounded_value(abs(found.mean), found.half_width, digits=IN_PROSE)
        if is_settled
        else rounded(abs(found.mean), found.half_width, signed=False)
    )
    negative, zero, positive = test.words
    if not any(digit in size.split(" ±")[0] for digit in "123456789"):
        around = f"{zero}, give or take {rounded_value(found.half_width, found.half_width)}"
        return around if not is_settled and found.half_width > 0 and zero != positive else zero
    text = (negative if found.mean < 0 else positive).format(size)
    if is_settled:
        return text
    return f"{text} ({test.doubt if not test.bound else f'it is open whether that is {test.needs}'})"
