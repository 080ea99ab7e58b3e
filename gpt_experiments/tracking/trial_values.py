"""Whether a trial's run holds the numbers that make it one: somebody may have edited them in MLflow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Final

from mlflow.entities import Run

from gpt_experiments.config import FIRST_FIELDS, HYPERPARAMETERS, Variant
from gpt_experiments.tracking import names

MEASURED: Final = (
    names.FINAL_TRAIN_LOSS,
    names.FINAL_VAL_LOSS,
    names.BEST_VAL_LOSS,
    names.TRAIN_SECONDS,
    names.TOKENS_PER_SECOND,
)
"""The metrics that every finished trial has."""

_TYPES: Final[Mapping[str, Callable[[str], Any]]] = {
    **{name: float if name == "dropout" else int for name in HYPERPARAMETERS},
    "seed": int,
    "steps": int,
    "batch_size": int,
}
_OPTIONAL: Final = frozenset(["steps", "batch_size"])
_INFINITE: Final = 1e300  # MLflow stores an infinite value as 1.8e308


def variant_of(texts: Mapping[str, str]) -> Variant:
    """The variant that a run's parameters name; a hyperparameter that is younger than the run has its default.

    Raises:
        KeyError, ValueError: a hyperparameter is missing, is no number, or breaks a rule.
    """
    defaults = dataclasses.asdict(Variant())
    there = [name for name in defaults if name in texts or name in FIRST_FIELDS]
    return Variant(**{name: type(defaults[name])(texts[name]) for name in there})


def is_finite(value: float) -> bool:
    """Whether a metric is a number; MLflow stores an infinite one as the largest that its database can hold."""
    return abs(value) < _INFINITE  # a NaN fails this


def problem_of(run: Run) -> str | None:
    """What is wrong with a finished trial's run, as `has steps='abc'`; None where it is whole."""
    for name, parse in _TYPES.items():
        if name not in run.data.params:
            if name in _OPTIONAL or name not in {*FIRST_FIELDS, "seed"}:
                continue
            return f"lacks the parameter {name}"
        try:
            parse(run.data.params[name])
        except ValueError:
            return f"has {name}={run.data.params[name][:20]!r}"
    for name in MEASURED:
        if name not in run.data.metrics:
            return f"lacks the metric {name}"
        if not is_finite(run.data.metrics[name]):
            return f"has {name}={_shown(run.data.metrics[name])}"
    return None


def _shown(value: float) -> str:
    if value != value:
        return "nan"
    return "inf" if value > 0 else "-inf"
