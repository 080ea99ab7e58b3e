"""Verdicts on differences of losses: better, worse, equivalent or undecided, read off one interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from gpt_experiments.analysis.estimate import LEVEL, Estimate
from gpt_experiments.config import MARGIN

Verdict = Literal["better", "worse", "equivalent", "undecided", "no verdict"]

DECIDED: Final[tuple[Verdict, ...]] = ("better", "worse", "equivalent")


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A difference of losses with its verdict.

    The verdict is read off one interval, which misses the true difference with probability `level`: worse if it lies
    above 0, better if below, equivalent if it lies within the margin on both sides and holds 0. That is the test of
    two one-sided tests (Schuirmann 1987) and the two-sided t test at once. If the levels of a family of comparisons
    sum to 5 %, the chance of any false verdict in it is at most 5 %, whatever is true of each (Bonferroni).

    Attributes:
        difference: nats per character.
        level: the chance that its interval misses the truth.
        margin: a difference smaller than that counts as none, nats per character.
    """

    difference: Estimate
    level: float
    margin: float = MARGIN

    @property
    def half_width(self) -> float:
        """Half of the width of the interval that decides; NaN where the noise is not known."""
        return self.difference.half_width_at(self.level)

    @property
    def low(self) -> float:
        """The lower end of the interval that decides."""
        return self.difference.mean - self.half_width

    @property
    def high(self) -> float:
        """The upper end of the interval that decides."""
        return self.difference.mean + self.half_width

    @property
    def p_adjusted(self) -> float:
        """The p-value of no difference, corrected for the family: below 5 % where the interval excludes 0."""
        return min(1.0, self.difference.p_value * LEVEL / self.level)  # NaN stays NaN

    @property
    def is_within_margin(self) -> bool:
        """Whether the interval lies within the margin; a better or worse level may be one by less than that."""
        return -self.margin < self.low and self.high < self.margin

    @property
    def verdict(self) -> Verdict:
        if math.isnan(self.half_width):
            return "no verdict"
        if self.p_adjusted < LEVEL:
            return "better" if self.difference.mean < 0 else "worse"
        return "equivalent" if self.is_within_margin else "undecided"


def judge_all(differences: Sequence[Estimate], margin: float = MARGIN) -> list[Judged]:
    """Verdicts on a family of comparisons that is looked at once; those of unknown noise take no part in it."""
    tested = sum(not math.isnan(each.se) for each in differences)
    return [Judged(difference=each, level=LEVEL / max(1, tested), margin=margin) for each in differences]
