"""Nuisance parameters of a sweep: those that each variant is tuned over before the variants are compared."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from gpt_experiments import names
from gpt_experiments.config import BUDGETED
from gpt_experiments.errors import ConfigError, shown
from gpt_experiments.parameters import SHAPE, TRAINING, as_text
from gpt_experiments.sweep.levels import Level, check_levels
from gpt_experiments.sweep.methods import METHODS

if TYPE_CHECKING:
    from gpt_experiments.sweep.definition import SweepDefinition

NUISANCE: Final = tuple(name for name, declared in TRAINING.items() if declared.is_number and name != "steps")
"""The parameters that variants can be tuned over; steps are what they are given."""

MOST_SETTINGS: Final = 1_000
"""The most combinations of values that a variant is tuned over."""

MOST_TUNING_SEEDS: Final = 1_000
_FIRST_SEED: Final = names.DEFAULT_SEED + 1_000_000  # far from the seeds that variants are compared with


def tuning_seeds(count: int, others: Sequence[int]) -> tuple[int, ...]:
    """So many seeds, none of them among the others; the same ones, however many seeds a sweep compares with."""
    free = (seed for seed in itertools.count(_FIRST_SEED) if seed not in others)
    return tuple(itertools.islice(free, count))


def settings(nuisance: Mapping[str, Sequence[Level]]) -> list[dict[str, Level]]:
    """Every combination of the values, the lowest first."""
    rising = [sorted(values) for values in nuisance.values()]
    return [dict(zip(nuisance, values, strict=True)) for values in itertools.product(*rising)]


def check_nuisance(definition: SweepDefinition) -> None:
    """Raise a ConfigError for nuisance parameters that do not fit the definition, or a wrong number of tuning seeds."""
    _check_count(definition)
    if not definition.nuisance:
        return
    if not definition.rules.may_tune:
        fitting = " and ".join(known.name for known in METHODS.values() if known.may_tune)
        raise ConfigError(
            f"nuisance is only for the methods {fitting}, but the method is {definition.method}; choose one of them, "
            "or give the parameter levels",
            field="nuisance",
        )
    for other in ("until_decided", "own_seeds"):
        if getattr(definition, other):
            raise ConfigError(
                f"a sweep cannot have nuisance and {other} at once, because variants that are tuned are compared with "
                "the same given seeds; leave one of the two out",
                field="nuisance",
            )
    for name, values in definition.nuisance.items():
        _check_name(name, definition)
        _check_values(name, values, definition)
    count = math.prod(len(values) for values in definition.nuisance.values())
    if count > MOST_SETTINGS:
        raise ConfigError(
            f"each variant would be tuned over {count:,} combinations, but they may be at most {MOST_SETTINGS:,}; list "
            "fewer values",
            field="nuisance",
        )


def check_tuned_size(definition: SweepDefinition, variants: int, most: int) -> None:
    """Raise a ConfigError if tuning and comparing so many variants takes more than `most` trials."""
    if not definition.nuisance:
        return
    tuning = definition.tuning_seeds * math.prod(len(values) for values in definition.nuisance.values())
    compared = 2 * len(definition.seeds)
    if variants * (tuning + compared) > most:
        raise ConfigError(
            f"{variants:,} variants, each with {tuning:,} trials that tune it and up to {compared:,} that compare it, "
            f"are {variants * (tuning + compared):,} trials, but a sweep may have at most {most:,}; list fewer values, "
            "or take fewer seeds or fewer variants",
            field="nuisance",
        )


def _check_count(definition: SweepDefinition) -> None:
    count = definition.tuning_seeds
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST_TUNING_SEEDS:
        raise ConfigError(
            f"tuning_seeds must be a whole number from 1 to {MOST_TUNING_SEEDS:,}, but got {shown(count)}",
            field="tuning_seeds",
        )
    if count > 1 and not definition.nuisance:
        raise ConfigError(
            "tuning_seeds is given, but there is nothing to tune; add nuisance, as {learning_rate: [1e-4, 1e-3]}, or "
            "leave tuning_seeds out",
            field="tuning_seeds",
        )


def _check_name(name: str, definition: SweepDefinition) -> None:
    problem = ""
    if name in SHAPE:
        problem = f"{name} is a hyperparameter of the shape, which the sweep compares; give it levels"
    elif name == "steps" or (name in BUDGETED and definition.budget != "steps"):
        problem = (
            f"{name} cannot be tuned, because budget={definition.budget} sets it for each variant; leave it out"
            + ("" if name == "steps" else ", or choose budget=steps")
        )
    elif name not in NUISANCE:
        problem = f"nuisance can name {', '.join(NUISANCE)}, but got {shown(name)}"
    elif name in definition.levels:
        problem = f"{name} has levels, so it is compared, and cannot be tuned as well; remove it from one of the two"
    if problem:
        raise ConfigError(problem, field="nuisance")


def _check_values(name: str, values: Sequence[Level], definition: SweepDefinition) -> None:
    try:
        check_levels(name, tuple(values))
    except ConfigError as error:
        raise ConfigError(f"{name} {error}", field="nuisance") from None
    shared = definition.baseline_variant.value(name)
    if len(values) < 2:
        raise ConfigError(
            f"{name} has one value, so there is nothing to choose; list several, or set it under training",
            field="nuisance",
        )
    if shared not in values:
        raise ConfigError(
            f"{name} must also have the value of the baseline, at which every variant is compared too; add {shared:g}, "
            f"or set {as_text(name, sorted(values)[0])} or another of the values under training",
            field="nuisance",
        )
