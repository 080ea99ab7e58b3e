"""One at a time: the baseline, and every variant that differs from it in one hyperparameter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpt_experiments.config import Variant
from gpt_experiments.sweep.levels import Range
from gpt_experiments.sweep.methods.base import History, Method

if TYPE_CHECKING:
    from gpt_experiments.sweep.definition import SweepDefinition


class OneAtATime(Method):
    """Gives the variants in the order of the hyperparameters."""

    name = "one-at-a-time"
    combines_levels = False
    may_tune = True
    takes_pruner = False
    takes_trials = False

    def __init__(self, definition: SweepDefinition, history: History) -> None:
        variants = definition.one_at_a_time()
        self.planned = len(variants)
        self._waiting = iter(variants)

    def suggest(self) -> Variant | None:
        return next(self._waiting, None)

    @classmethod
    def count(cls, definition: SweepDefinition) -> int:
        baseline = definition.baseline_variant
        levels = {name: given for name, given in definition.levels.items() if not isinstance(given, Range)}
        return 1 + sum(level != baseline.value(name) for name, given in levels.items() for level in given)
