"""The rules of a sweep definition's single fields; what they must be together, the definition checks itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gpt_experiments.config import SEED_STREAM, check_margin
from gpt_experiments.errors import ConfigError, shown
from gpt_experiments.sweep import levels as level_rules
from gpt_experiments.sweep.levels import Level, Range
from gpt_experiments.sweep.methods import METHODS, PRUNERS
from gpt_experiments.sweep.methods.base import Method
from gpt_experiments.sweep.seeds import MOST_SEEDS_LOOKED_AT, check_count

if TYPE_CHECKING:
    from gpt_experiments.sweep.definition import SweepDefinition

NO_PRUNER: Final = "none"
"""What a file or a command says where no trial is to be stopped early."""

MOST_VARIANTS: Final = 5_000
MOST_NAME: Final = 100


def check_levels(name: str, levels: tuple[Level, ...] | Range, method: type[Method]) -> None:
    """Raise a ConfigError for a level that no variant can have, a repeated one, or a range that does not fit."""
    if isinstance(levels, Range) and not method.accepts_ranges:
        fitting = _methods_with("accepts_ranges")
        raise ConfigError(f"a range is only for the methods {fitting}; {method.name} needs a list of levels")
    level_rules.check_levels(name, levels)


def check_texts(definition: SweepDefinition) -> None:
    """Check the name, which names a run and a folder, and how long it and the description are."""
    name = definition.name
    if not name.isprintable() or not name.strip() or any(char in name for char in "/\\"):
        raise ConfigError(
            f"name must be one line of text without slashes, but got {shown(name)}; it names a folder", field="name"
        )
    for field_name, text, most in (("name", name, MOST_NAME), ("description", definition.description, 2_000)):
        if len(text) > most:
            raise ConfigError(
                f"{field_name} may have at most {most:,} characters, but has {len(text):,}; shorten it",
                field=field_name,
            )


def check_trials(definition: SweepDefinition) -> None:
    if not isinstance(definition.skip_indivisible, bool):
        raise ConfigError(
            f"skip_indivisible must be true or false, but got {shown(definition.skip_indivisible)}",
            field="skip_indivisible",
        )
    method = definition.rules
    for name, fits in (("trials", method.takes_trials), ("skip_indivisible", method.combines_levels)):
        if getattr(definition, name) and not fits:
            able = _methods_with("takes_trials")
            raise ConfigError(f"{name} is only for {able}; {method.name} always takes every level", field=name)
    if definition.trials is not None:
        check_count("trials", definition.trials, MOST_VARIANTS)
    elif method.needs_trials:
        raise ConfigError(f"trials is missing; {definition.method} needs the number of variants to try", field="method")


def check_verdicts(definition: SweepDefinition) -> None:
    check_margin(definition.margin)
    for name in ("until_decided", "own_seeds"):
        value = getattr(definition, name)
        if not isinstance(value, bool):
            raise ConfigError(f"{name} must be true or false, but got {shown(value)}", field=name)
    if definition.own_seeds and definition.method != "grid":
        raise ConfigError(
            f"own_seeds is only for grid; {definition.method} compares trials of the same seed", field="own_seeds"
        )
    if definition.own_seeds and max(definition.seeds) >= SEED_STREAM:
        raise ConfigError(
            f"with own_seeds a seed must be below {SEED_STREAM:,}, but got {max(definition.seeds):,}", field="seeds"
        )
    if definition.until_decided and definition.method != "one-at-a-time":
        raise ConfigError(
            "until_decided is only for one-at-a-time, which compares each variant with the baseline; "
            f"{definition.method} does not: choose a number of seeds instead",
            field="until_decided",
        )
    if definition.until_decided and len(definition.seeds) < 2:
        raise ConfigError(
            f"until_decided needs at least 2 seeds, because one decides nothing, but got {len(definition.seeds)}; "
            f"{MOST_SEEDS_LOOKED_AT} are usual",
            field="seeds",
        )


def check_pruner(definition: SweepDefinition) -> None:
    if definition.pruner is None:
        return
    method, setup = definition.rules, definition.training
    if definition.pruner not in PRUNERS:
        known = ", ".join(PRUNERS)
        raise ConfigError(f"pruner must be one of {known}, but got {shown(definition.pruner)}", field="pruner")
    if not method.takes_pruner:
        raise ConfigError(
            f"a pruner is only for {_methods_with('takes_pruner')}; {method.name} compares every variant with the "
            "baseline, so each must be trained to its end; choose another method, or choose pruner=none",
            field="pruner",
        )
    if setup.eval_interval >= setup.steps:
        raise ConfigError(
            f"pruner={definition.pruner} stops trials after an evaluation before their last step, but with "
            f"eval_interval={setup.eval_interval} there is none in {setup.steps:,} steps; lower eval_interval, or "
            "choose pruner=none",
            field="pruner",
        )


def _methods_with(ability: str) -> str:
    """`grid, random and tpe`: the methods that have it."""
    *most, last = (method.name for method in METHODS.values() if getattr(method, ability))
    return f"{', '.join(most)} and {last}"
