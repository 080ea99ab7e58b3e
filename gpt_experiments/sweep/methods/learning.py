"""Methods that learn: they draw variants by what is known of others."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gpt_experiments import names
from gpt_experiments.config import Variant
from gpt_experiments.sweep.methods.base import History
from gpt_experiments.sweep.methods.random import Random

if TYPE_CHECKING:
    import optuna
    from optuna.samplers import BaseSampler

    from gpt_experiments.sweep.definition import SweepDefinition


class Learning(Random):
    """Draws by a sampler of Optuna's that learns how each variant did, whoever trained it."""

    is_adaptive = True

    def __init__(self, definition: SweepDefinition, history: History) -> None:
        # With a history the draws must be new ones.
        sampler = self._make_sampler(names.DEFAULT_SEED + len(history.values))
        left = max(0, definition.variants_to_try - len(history.variants))
        self._begin(definition, sampler, left=left, known={*history.values, *history.variants})
        self._asked: dict[Variant, optuna.Trial] = {}
        for variant, value in history.values.items():
            self._study.add_trial(self._space.ended_trial(variant, value))

    @abstractmethod
    def _make_sampler(self, seed: int) -> BaseSampler:
        """The sampler; one that keeps variants apart that train together."""

    def _note_asked(self, variant: Variant, trial: optuna.Trial) -> None:
        self._asked[variant] = trial

    def update(self, variant: Variant, value: float | None) -> None:
        """Learn the value of a variant that was suggested, or begun before; one without a value teaches nothing."""
        import optuna

        trial = self._asked.pop(variant, None)
        if trial is None:
            if value is not None:
                self._study.add_trial(self._space.ended_trial(variant, value))
        elif value is None:
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(trial, value)

    def learn_stopped(self, variant: Variant, course: Mapping[int, float]) -> None:
        """Tell Optuna of a pruned trial: TPE ranks it below all finished ones, GP makes nothing of it."""
        import optuna

        if not course:
            self.update(variant, None)
            return
        trial = self._asked.pop(variant, None)
        if trial is None:
            self._study.add_trial(self._space.ended_trial(variant, course[max(course)], course))
            return
        for part, value in course.items():
            trial.report(value, part)
        self._study.tell(trial, state=optuna.trial.TrialState.PRUNED)
