"""Which hyperparameters the loss of a sweep's trials depends on most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

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
    import optuna

    spaces: dict[str, BaseDistribution] = {
        name: optuna.distributions.CategoricalDistribution(sorted({values[name] for values in variants}))
        for name in varied
    }
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    study.add_trials(
        [
            optuna.trial.create_trial(params=dict(values), distributions=spaces, value=loss)
            for values, loss in zip(variants, losses, strict=True)
        ]
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=names.DEFAULT_SEED)
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
