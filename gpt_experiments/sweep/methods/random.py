"""Random: combinations drawn one by one, none twice."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, ClassVar, Final

from gpt_experiments import names
from gpt_experiments.config import Variant
from gpt_experiments.sweep.methods.base import History, Method
from gpt_experiments.sweep.methods.space import Space, make_study

if TYPE_CHECKING:
    import optuna
    from optuna.samplers import BaseSampler

    from gpt_experiments.sweep.definition import SweepDefinition

_REPEATS_BEFORE_GIVING_UP: Final = 1000  # draws in a row without a new variant: the space counts as exhausted


class Random(Method):
    """Draws evenly over the levels.

    Class attributes:
        orders_levels: whether Optuna sees a list of levels as steps of a scale, not as categories.
    """

    name = "random"
    accepts_ranges = True
    needs_trials = True
    orders_levels: ClassVar[bool] = False

    def __init__(self, definition: SweepDefinition, history: History) -> None:
        import optuna

        sampler = optuna.samplers.RandomSampler(seed=names.DEFAULT_SEED)
        self._begin(definition, sampler, left=definition.variants_to_try, known=())

    def _begin(
        self, definition: SweepDefinition, sampler: BaseSampler, *, left: int, known: Collection[Variant]
    ) -> None:
        """Draw `left` variants from the sampler, none of those that are known."""
        self.planned = self._left = left
        self._space, self._study = Space(definition, ordered=self.orders_levels), make_study(sampler)
        self._seen = set(known)

    def suggest(self) -> Variant | None:
        import optuna

        if self._left == 0:
            return None
        for repeats in range(_REPEATS_BEFORE_GIVING_UP):
            trial = self._ask(repeats)
            variant = self._space.variant(trial)
            if variant is not None and variant not in self._seen:
                self._seen.add(variant)
                self._note_asked(variant, trial)
                self._left -= 1
                return variant
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return None

    def _ask(self, repeats: int) -> optuna.Trial:
        """Draw once; `repeats` draws in a row gave no new variant."""
        return self._study.ask(self._space.distributions)

    def _note_asked(self, variant: Variant, trial: optuna.Trial) -> None:
        """Keep nothing: this method gets no results."""

    @classmethod
    def count(cls, definition: SweepDefinition) -> int:
        return definition.variants_to_try
