"""Which variant to try next: the one module that knows Optuna."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Protocol

from gpt_experiments.config import Variant
from gpt_experiments.sweep.definition import DEFAULT_SEED, Range, SweepDefinition

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

_REPEATS_BEFORE_GIVING_UP: Final = 1000  # asks in a row that bring nothing new: the space is as good as exhausted


class Search(Protocol):
    """Asked for variants, told their values.

    Attributes:
        planned: how many variants it will give at most.
    """

    planned: int

    def ask(self) -> Variant | None:
        """A variant not given before, or None when there is none left."""
        ...

    def tell(self, variant: Variant, value: float | None) -> None:
        """The variant's mean best validation loss, nats per character; None if a trial of it failed."""
        ...


def make_search(
    definition: SweepDefinition, values: Mapping[Variant, float], begun: Collection[Variant] = ()
) -> Search:
    """The search that the definition's method names.

    Only TPE needs to know what there is: the other methods give the same variants in the same order every time.

    Args:
        values: variants of the definition's space whose values are known, to learn from.
        begun: variants that the sweep has already; they count, and are not given again.
    """
    if definition.method == "one-at-a-time":
        return FixedSearch(definition.one_at_a_time())
    if definition.method == "grid":
        return GridSearch(definition)
    if definition.method == "random":
        return SampledSearch(definition, {}, ())
    return SampledSearch(definition, values, begun)


class FixedSearch:
    """Gives the variants of a list."""

    def __init__(self, variants: list[Variant]) -> None:
        self.planned = len(variants)
        self._waiting = iter(variants)

    def ask(self) -> Variant | None:
        """The next of the list."""
        return next(self._waiting, None)

    def tell(self, variant: Variant, value: float | None) -> None:
        """A list does not learn."""


class GridSearch:
    """Every combination of the levels once, in the order that Optuna's GridSampler shuffles them into.

    The sampler gives the i-th trial of a study the i-th cell, so the order is the same every time, and does not depend
    on which trials are under way. It is told nothing: telling it of the last cell would make it stop a study that no
    optimisation loop runs, which Optuna answers with an error.
    """

    def __init__(self, definition: SweepDefinition) -> None:
        import optuna

        levels = {name: list(given) for name, given in definition.levels.items() if not isinstance(given, Range)}
        cells = definition.count_dividing(math.prod(len(given) for given in levels.values()))
        self.planned = min(cells, definition.trials or cells)
        self._space = Space(definition)
        self._study = _make_study(optuna.samplers.GridSampler(levels, seed=DEFAULT_SEED))
        self._given = 0

    def ask(self) -> Variant | None:
        """The next cell of the grid."""
        if self._given == self.planned:
            return None
        self._given += 1
        while (variant := self._space.variant(self._study.ask(self._space.distributions))) is None:
            pass
        return variant

    def tell(self, variant: Variant, value: float | None) -> None:
        """A grid does not learn."""


class SampledSearch:
    """Draws variants at random, or by TPE (Bergstra et al. 2011) from what it has been told; none is given twice."""

    def __init__(
        self, definition: SweepDefinition, values: Mapping[Variant, float], begun: Collection[Variant]
    ) -> None:
        import optuna

        assert definition.trials is not None
        self._space = Space(definition)
        self._seen = {*values, *begun}
        self._left = max(0, definition.trials - len(begun))
        self.planned = self._left
        self._asked: dict[Variant, optuna.Trial] = {}
        sampler: BaseSampler
        if definition.method == "random":
            sampler = optuna.samplers.RandomSampler(seed=DEFAULT_SEED)
        else:
            # With what was done before the draws must be new ones; the liar keeps parallel asks apart.
            sampler = optuna.samplers.TPESampler(seed=DEFAULT_SEED + len(values), constant_liar=True)
        self._study = _make_study(sampler)
        for variant, value in values.items():
            self._study.add_trial(self._space.ended_trial(variant, value))

    def ask(self) -> Variant | None:
        """A variant that was neither given nor done before."""
        import optuna

        if self._left == 0:
            return None
        for _ in range(_REPEATS_BEFORE_GIVING_UP):
            trial = self._study.ask(self._space.distributions)
            variant = self._space.variant(trial)
            if variant is not None and variant not in self._seen:
                self._seen.add(variant)
                self._asked[variant] = trial
                self._left -= 1
                return variant
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return None

    def tell(self, variant: Variant, value: float | None) -> None:
        """Learn the value of a variant that was given, or begun before; a failed one teaches nothing."""
        import optuna

        trial = self._asked.pop(variant, None)
        if trial is None:
            if value is not None:
                self._study.add_trial(self._space.ended_trial(variant, value))
        elif value is None:
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(trial, value)


class Space:
    """The definition's levels as Optuna's distributions, and Optuna's parameters as variants."""

    def __init__(self, definition: SweepDefinition) -> None:
        from optuna.distributions import CategoricalDistribution

        self._baseline = definition.baseline
        self.distributions: dict[str, BaseDistribution] = {
            name: _range_distribution(name, levels)
            if isinstance(levels, Range)
            else CategoricalDistribution(list(levels))
            for name, levels in definition.levels.items()
        }

    def variant(self, trial: optuna.Trial) -> Variant | None:
        """The baseline with the trial's parameters; None if its width is not divisible by its number of heads."""
        parameters: dict[str, Any] = trial.params
        heads, width = (parameters.get(name, getattr(self._baseline, name)) for name in ("n_head", "n_embed"))
        if width % heads:  # only where the definition leaves such pairs out
            return None
        return dataclasses.replace(self._baseline, **parameters)

    def ended_trial(self, variant: Variant, value: float) -> optuna.trial.FrozenTrial:
        """The variant as a trial from which Optuna learns.

        Raises:
            ValueError: the levels do not allow the variant.
        """
        import optuna

        params = {name: getattr(variant, name) for name in self.distributions}
        return optuna.create_trial(params=params, distributions=self.distributions, value=value)

    def holds(self, variant: Variant) -> bool:
        """Whether the levels allow the variant."""
        varied = {name: getattr(variant, name) for name in self.distributions}
        if dataclasses.replace(self._baseline, **varied) != variant:
            return False
        try:
            self.ended_trial(variant, 0.0)
        except ValueError:  # Optuna's way to say no
            return False
        return True


def _range_distribution(name: str, levels: Range) -> BaseDistribution:
    from optuna.distributions import FloatDistribution, IntDistribution

    if name == "dropout":
        return FloatDistribution(levels.low, _highest(levels), log=levels.log, step=levels.step)
    numbers = levels.whole_numbers()
    return IntDistribution(numbers[0], numbers[-1], log=levels.log, step=numbers.step)


def _highest(levels: Range) -> float:
    """The range's last value, which a step that does not divide it leaves below `high`."""
    if levels.step is None:
        return levels.high
    low, high, step = (Decimal(str(value)) for value in (levels.low, levels.high, levels.step))
    return float(low + (high - low) // step * step)


def _make_study(sampler: BaseSampler) -> optuna.Study:
    import optuna

    logging.getLogger("optuna").setLevel(logging.WARNING)  # "A new study created in memory" says nothing to a user
    return optuna.create_study(sampler=sampler, direction="minimize")


def importances(
    variants: Sequence[Mapping[str, Any]], losses: Sequence[float], names: Sequence[str]
) -> dict[str, float]:
    """How much of the variance of the loss each named hyperparameter explains, largest first; they sum to 1.

    fANOVA (Hutter, Hoos and Leyton-Brown 2014) on a random forest fitted to the trials, as Optuna computes it, with a
    fixed seed.

    Args:
        variants: values by hyperparameter, one for each of `losses`.
    """
    import optuna

    spaces: dict[str, BaseDistribution] = {
        name: optuna.distributions.CategoricalDistribution(sorted({values[name] for values in variants}))
        for name in names
    }
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    study.add_trials(
        [
            optuna.trial.create_trial(params=dict(values), distributions=spaces, value=loss)
            for values, loss in zip(variants, losses, strict=True)
        ]
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=DEFAULT_SEED)
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
