"""A sweep's levels as Optuna sees them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from gpt_experiments.config import Variant
from gpt_experiments.parameters import PARAMETERS
from gpt_experiments.sweep.levels import Level, Range

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

    from gpt_experiments.sweep.definition import SweepDefinition


class Space:
    """The definition's levels as Optuna's distributions, and Optuna's parameters as variants.

    Args:
        ordered: Optuna sees a list of levels as the whole numbers from 0 on, in rising order; else as categories.
    """

    def __init__(self, definition: SweepDefinition, *, ordered: bool = False) -> None:
        self._baseline = definition.baseline_variant
        lists = {name: given for name, given in definition.levels.items() if not isinstance(given, Range)}
        self._scales = {name: sorted(given) for name, given in lists.items() if ordered}
        self.distributions: dict[str, BaseDistribution] = {
            name: _range_distribution(name, given) if isinstance(given, Range) else _list_distribution(given, ordered)
            for name, given in definition.levels.items()
        }

    def variant(self, trial: optuna.Trial) -> Variant | None:
        """The baseline with the trial's parameters; None if its width is not divisible by its number of heads."""
        parameters: dict[str, Any] = {
            name: self._scales[name][value] if name in self._scales else value for name, value in trial.params.items()
        }
        heads, width = (parameters.get(name, self._baseline.value(name)) for name in ("n_head", "n_embed"))
        if width % heads:  # only where the definition leaves such pairs out
            return None
        return self._baseline.with_values(parameters)

    def ended_trial(
        self, variant: Variant, value: float, course: Mapping[int, float] | None = None
    ) -> optuna.trial.FrozenTrial:
        """The variant as a trial from which Optuna learns.

        Args:
            course: the values on the way of a variant that was stopped, by how far it had come; None of a whole one.

        Raises:
            ValueError: the levels do not allow the variant.
        """
        import optuna

        params = {name: variant.value(name) for name in self.distributions}
        params |= {name: scale.index(params[name]) for name, scale in self._scales.items()}
        return optuna.create_trial(
            state=optuna.trial.TrialState.COMPLETE if course is None else optuna.trial.TrialState.PRUNED,
            params=params,
            distributions=self.distributions,
            value=value,
            intermediate_values=dict(course or {}),
        )

    def nearest(self, variant: Variant) -> Variant:
        """The baseline with the variant's values of the parameters that vary in this space."""
        return self._baseline.with_values({name: variant.value(name) for name in self.distributions})

    def holds(self, variant: Variant) -> bool:
        """Whether the levels allow the variant."""
        if self.nearest(variant) != variant:
            return False
        try:
            self.ended_trial(variant, 0.0)
        except ValueError:  # how Optuna refuses a variant
            return False
        return True


def _list_distribution(levels: Sequence[Level], ordered: bool) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, IntDistribution

    return IntDistribution(0, len(levels) - 1) if ordered else CategoricalDistribution(list(levels))


def _range_distribution(name: str, levels: Range) -> BaseDistribution:
    from optuna.distributions import FloatDistribution, IntDistribution

    if PARAMETERS[name].kind is float:
        return FloatDistribution(levels.low, _highest(levels), log=levels.log, step=levels.step)
    numbers = levels.whole_numbers()
    return IntDistribution(numbers[0], numbers[-1], log=levels.log, step=numbers.step)


def _highest(levels: Range) -> float:
    """The range's last value; it is below `high` if the step does not divide the range."""
    if levels.step is None:
        return levels.high
    low, high, step = (Decimal(str(value)) for value in (levels.low, levels.high, levels.step))
    return float(low + (high - low) // step * step)


def make_study(sampler: BaseSampler, pruner: BasePruner | None = None) -> optuna.Study:
    """A study in memory that looks for the lowest value; it always has the same name, by which Hyperband deals."""
    import optuna

    logging.getLogger("optuna").setLevel(logging.WARNING)  # "A new study created in memory" means nothing to a user
    return optuna.create_study(sampler=sampler, pruner=pruner, study_name="sweep", direction="minimize")
