"""TPE: combinations that look promising after the results so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpt_experiments import names
from gpt_experiments.config import Variant
from gpt_experiments.sweep.methods.base import History
from gpt_experiments.sweep.methods.random import Random

if TYPE_CHECKING:
    import optuna

    from gpt_experiments.sweep.definition import SweepDefinition


class TPE(Random):
    """Draws by the tree-structured Parzen estimator (Bergstra et al. 2011), as Optuna implements it."""

    name = "tpe"
    is_adaptive = True

    def __init__(self, definition: SweepDefinition, history: History) -> None:
        import optuna

        # With a history the draws must be new ones; the liar keeps variants apart that train together.
        sampler = optuna.samplers.TPESampler(seed=names.DEFAULT_SEED + len(history.values), constant_liar=True)
        left = max(0, definition.variants_to_try - len(history.variants))
        self._begin(definition, sampler, left=left, known={*history.values, *history.variants})
        self._asked: dict[Variant, optuna.Trial] = {}
        for variant, value in history.values.items():
            self._study.add_trial(self._space.ended_trial(variant, value))

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
