"""Grid: every combination of the levels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gpt_experiments import names
from gpt_experiments.config import Variant
from gpt_experiments.sweep.levels import Range, dividing_pairs
from gpt_experiments.sweep.methods.base import History, Method
from gpt_experiments.sweep.methods.space import Space, make_study

if TYPE_CHECKING:
    from gpt_experiments.sweep.definition import SweepDefinition


class Grid(Method):
    """Every combination once, in the order that Optuna's GridSampler shuffles them into.

    The sampler gives the i-th trial of a study the i-th combination, so the order is the same every time, and does not
    depend on which trials are under way. It gets no results: after that of the last combination it would stop the
    study, and Optuna raises an error if no optimisation loop runs.
    """

    name = "grid"
    may_tune = True

    def __init__(self, definition: SweepDefinition, history: History) -> None:
        import optuna

        levels = {name: list(given) for name, given in definition.levels.items() if not isinstance(given, Range)}
        valid = self.count_valid(definition)
        self.planned = min(valid, definition.trials or valid)
        self._space = Space(definition)
        self._study = make_study(optuna.samplers.GridSampler(levels, seed=names.DEFAULT_SEED))
        self._suggested = 0

    def suggest(self) -> Variant | None:
        if self._suggested == self.planned:
            return None
        self._suggested += 1
        while (variant := self._space.variant(self._study.ask(self._space.distributions))) is None:
            pass
        return variant

    @classmethod
    def count(cls, definition: SweepDefinition) -> int:
        return math.prod(len(given) for given in definition.levels.values() if not isinstance(given, Range))

    @classmethod
    def count_valid(cls, definition: SweepDefinition) -> int:
        if not definition.skip_indivisible:
            return cls.count(definition)
        heads, widths = definition.whole_numbers("n_head"), definition.whole_numbers("n_embed")
        return cls.count(definition) // (len(heads) * len(widths)) * dividing_pairs(heads, widths)
