"""Looking several times at a sweep that gets more seeds until its comparisons are decided, without more false verdicts.

The looks are planned: all comparisons of the sweep are judged when they have 4, 6, 9, ... seeds, up to the most. Each
look may spend a part of the 5 % chance of a false verdict, in proportion to the seeds that it adds: the spending
function of Lan and DeMets ("Discrete sequential boundaries for clinical trials", 1983) with the power 1 of Kim and
DeMets (1987). The parts sum to 5 %, so the chance that any interval at any look misses the truth is at most 5 %,
however the looks depend on each other, whichever comparisons go on, and whenever one stops looking.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeVar

from gpt_experiments.analysis.estimate import LEVEL, estimate
from gpt_experiments.analysis.verdict import DECIDED, Judged, Verdict

_FIRST: Final = 4  # seeds at the first look; three decide too little for what they spend
_GROWTH: Final = 1.5  # times as many at the next

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Looks:
    """When a family of comparisons is judged, and at which level.

    Args:
        most: seeds at the last look, at least 2.
        comparisons: how many are judged at each look.
    """

    most: int
    comparisons: int

    @property
    def seeds(self) -> tuple[int, ...]:
        """The number of seeds at each look."""
        planned, n = [], _FIRST
        while n < self.most:
            planned.append(n)
            n = math.ceil(n * _GROWTH)
        return (*planned, self.most)

    def level(self, look: int) -> float:
        """The chance of a false verdict that each comparison may spend at that look, the first being 0."""
        seeds = (0, *self.seeds)
        return LEVEL * (seeds[look + 1] - seeds[look]) / self.most / self.comparisons

    def share(self, seeds: int) -> float:
        """The part of the 5 % of a test with so many seeds: that of its look, or the least where a seed is missing."""
        parts = {now: (now - before) / self.most for before, now in pairwise((0, *self.seeds))}
        return parts.get(seeds, min(parts.values()))

    def spent(self, looks: int) -> float:
        """The chance of a false verdict that the first so many looks have spent, all comparisons together."""
        return LEVEL * self.seeds[looks - 1] / self.most if looks else 0.0


@dataclass(frozen=True, kw_only=True)
class Decision(Judged):
    """A comparison at the look that decided it, or at the latest one.

    Attributes:
        look: which look that is, the first being 1; 0 before the first.
    """

    look: int

    @property
    def verdict(self) -> Verdict:
        return super().verdict if self.look else "no verdict"


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What the looks at a family of comparisons have shown so far.

    Attributes:
        done: how many looks there were.
        decisions: by comparison; empty before the first look.
        next_seeds: how many seeds the open comparisons need for the next look; None if there is none.
    """

    looks: Looks
    done: int
    decisions: Mapping[Hashable, Decision]
    next_seeds: int | None

    @property
    def open(self) -> tuple[Hashable, ...]:
        """The comparisons that are not decided."""
        return tuple(key for key, decision in self.decisions.items() if decision.verdict not in DECIDED)


def look_at(
    differences: Mapping[Key, Sequence[float | None]],
    *,
    most: int,
    margin: float,
    ended: Mapping[Key, int],
) -> Looked:
    """Go through the planned looks, as far as the trials for them have ended.

    The result depends on nothing but the losses and the plan, so it is the same whenever it is asked for.

    Args:
        differences: for each comparison its paired differences of losses in the order in which seeds are trained, None
            where a trial failed; at most `most` of them count.
        ended: for how many of the first seeds each comparison's trials have ended, in whichever way.
    """
    looks = Looks(most=most, comparisons=max(1, len(differences)))
    decisions: dict[Hashable, Decision] = {}
    open_ones, done = list(differences), 0
    for index, seeds in enumerate(looks.seeds):
        if not open_ones or any(ended[key] < seeds for key in open_ones):
            break
        for key in open_ones:
            known = [value for value in differences[key][:seeds] if value is not None]
            difference = estimate(known) if known else estimate([math.nan])
            decisions[key] = Decision(difference=difference, level=looks.level(index), margin=margin, look=index + 1)
        open_ones = [key for key in open_ones if decisions[key].verdict not in DECIDED]
        done = index + 1
    is_over = done == len(looks.seeds) or not open_ones
    return Looked(looks=looks, done=done, decisions=decisions, next_seeds=None if is_over else looks.seeds[done])
