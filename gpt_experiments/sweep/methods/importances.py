"""Which hyperparameters the loss of a sweep's trials depends on most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpt_experiments import names

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def importances(
    variants: Sequence[Mapping[str, Any]], losses: Sequence[float], varied: Sequence[str]
) -> dict[str, float]:
    """How much of the variance of the loss each named hyperparameter explains, largest first; they sum to 1.

    fANOVA (Hutter, Hoos and Leyton-Brown 2014) on a random forest fitted to the trials, as Optuna computes it, with a
    fixed seed.

    Args:
        variants: values by hyperparameter, one for each of `losses`.
    """
    return _importances(variants, losses, _spaces(variants, varied), names.DEFAULT_SEED)


def importance_ranges(
    variants: Sequence[Mapping[str, Any]], losses: Sequence[float], varied: Sequence[str], *, repeats: int = 8
) -> dict[str, tuple[float, float]]:
    """The least and the largest importance of each hyperparameter over forests that see other trials.

    Each forest has a seed of its own, and is fitted to as many trials, drawn with replacement (bootstrap). What it says
    that depends on the choice of trials, or on the forest, differs between them.
    """
    rng = np.random.default_rng(names.DEFAULT_SEED)
    spaces = _spaces(variants, varied)
    found: list[dict[str, float]] = []
    while len(found) < repeats:
        drawn = rng.integers(len(losses), size=len(losses))
        of_drawn = [losses[i] for i in drawn]
        if max(of_drawn) > min(of_drawn):
            found.append(_importances([variants[i] for i in drawn], of_drawn, spaces, names.DEFAULT_SEED + len(found)))
    return {name: (min(each[name] for each in found), max(each[name] for each in found)) for name in varied}


def _spaces(variants: Sequence[Mapping[str, Any]], varied: Sequence[str]) -> dict[str, BaseDistribution]:
    import optuna

    return {
        name: optuna.distributions.CategoricalDistribution(sorted({values[name] for values in variants}))
        for name in varied
    }


def _importances(
    variants: Sequence[Mapping[str, Any]], losses: Sequence[float], spaces: dict[str, BaseDistribution], seed: int
) -> dict[str, float]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    study.add_trials(
        [
            optuna.trial.create_trial(params=dict(values), distributions=spaces, value=loss)
            for values, loss in zip(variants, losses, strict=True)
        ]
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
