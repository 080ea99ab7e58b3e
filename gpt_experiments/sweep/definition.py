"""What a sweep is: its method, levels, training setup and seeds, validated before anything starts."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, get_args

from gpt_experiments import names
from gpt_experiments.analysis.verdict import MARGIN, check_margin
from gpt_experiments.config import BUDGETED, SEED_STREAM, Budget, Variant, setup_at_budget
from gpt_experiments.errors import ConfigError, shown
from gpt_experiments.parameters import (
    PARAMETERS,
    TRAINING,
    Shape,
    TrainingSetup,
    check_batch,
    check_value,
    check_weights,
)
from gpt_experiments.sweep import levels as level_rules
from gpt_experiments.sweep.levels import Level, Range, check_divisible, dividing_pairs
from gpt_experiments.sweep.methods import METHODS, PRUNERS
from gpt_experiments.sweep.methods.base import Method
from gpt_experiments.sweep.nuisance import check_nuisance, check_tuned_size, settings, tuning_seeds

__all__ = [
    "Level",
    "Range",
    "SweepDefinition",
    "check_levels",
    "check_seeds",
    "first_seeds",
]  # levels are part of what a definition is

LEVELED: Final = tuple(name for name, declared in PARAMETERS.items() if declared.is_number)
"""The parameters that may have levels; the study is about the first five."""

BUDGETS: Final[tuple[Budget, ...]] = get_args(Budget)

NO_PRUNER: Final = "none"
"""What a file or a command says where no trial is to be stopped early."""

MOST_SEEDS: Final = 1_000
MOST_SEEDS_LOOKED_AT: Final = 12
"""The most seeds of a sweep that trains until it is decided, if nobody says another number."""
MOST_VARIANTS: Final = 5_000
MOST_CELLS: Final = 100_000
"""The cells of a grid of which `trials` takes only some."""
MOST_TRIALS: Final = 10_000
MOST_NAME: Final = 100


@dataclass(frozen=True, kw_only=True)
class SweepDefinition:
    """A named set of trials.

    Args:
        method: `one-at-a-time` changes one hyperparameter of the baseline at a time; `grid` takes every combination;
            `random` draws combinations; `tpe` and `gp` let Optuna choose them by what it has seen.
        levels: for each parameter that is varied, its levels, or for random, tpe and gp a Range.
        budget: what is equal for every variant: optimisation steps, training tokens, or floating-point operations.
        seeds: each variant is trained once with each; at least one, none twice.
        trials: how many variants to try; None takes all there are.
        margin: a difference of losses below that counts as none in a verdict, nats per character.
        until_decided: whether a variant gets more seeds, at planned looks, only until its comparison with the baseline
            is decided; `seeds` are then the most, in that order. For one-at-a-time.
        own_seeds: whether each size of model (what is in DRAWS) trains with seeds of its own, so that what a seed does
            to a size is not taken for what the size does. For grid.
        pruner: what stops trials early whose losses are high, one of PRUNERS; None lets every trial end.
        skip_indivisible: leave out the combinations whose n_embed is not divisible by their n_head; without it they are
            an error.
        nuisance: parameters of the training that each variant is tuned over, with the values to try. A variant is then
            compared at its best values, and at the baseline's.
        tuning_seeds: how many seeds each combination of these values is tried with.

    Raises:
        ConfigError: a value breaks a rule, alone or together with others that it can meet, or the plan is too large;
            `field` of the error says which field it is about, where it is not the levels.
    """

    name: str
    method: str
    levels: Mapping[str, tuple[Level, ...] | Range]
    description: str = ""
    baseline: Shape = field(default_factory=Shape)
    training: TrainingSetup = field(default_factory=TrainingSetup)
    budget: Budget = "steps"
    seeds: tuple[int, ...] = (names.DEFAULT_SEED,)
    trials: int | None = None
    pruner: str | None = None
    skip_indivisible: bool = False
    margin: float = MARGIN
    until_decided: bool = False
    own_seeds: bool = False
    nuisance: Mapping[str, tuple[Level, ...]] = field(default_factory=dict)
    tuning_seeds: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "seeds", check_seeds(self.seeds))
        _check_texts(self)
        if self.method not in METHODS:
            known = ", ".join(METHODS)
            raise ConfigError(f"method must be one of {known}, but got {shown(self.method)}", field="method")
        _check_trials(self)
        _check_verdicts(self)
        for name, levels in self.levels.items():
            if name not in LEVELED:
                raise ConfigError(f"levels can be given for {', '.join(LEVELED)}, but got {shown(name)}")
            check_levels(name, levels, self.rules)
            if name in BUDGETED and self.budget != "steps":
                raise ConfigError(
                    f"{name} has levels, but with budget={self.budget} the budget sets it for each variant; choose "
                    "budget=steps, or leave those levels out"
                )
        check_nuisance(self)
        self._check_combinations()
        _check_pruner(self)
        self._check_size()

    @property
    def baseline_variant(self) -> Variant:
        """The baseline with its training."""
        return Variant(shape=self.baseline, training=self.training)

    @property
    def rules(self) -> type[Method]:
        """The method's class, which knows its rules."""
        return METHODS[self.method]

    @property
    def variants_to_try(self) -> int:
        """How many variants to try, for a method that needs the number."""
        assert self.trials is not None
        return self.trials

    @property
    def tuned_with(self) -> tuple[int, ...]:
        """The seeds that variants are tuned with, none of them among `seeds`; empty if nothing is tuned."""
        return tuning_seeds(self.tuning_seeds, self.seeds) if self.nuisance else ()

    @property
    def longest_context(self) -> int:
        """The largest block_size that a variant can have."""
        levels = self.levels.get("block_size", ())
        longest = levels.high if isinstance(levels, Range) else max(levels, default=0)
        return max(self.baseline.block_size, int(longest))

    def one_at_a_time(self) -> list[Variant]:
        """The baseline, then each parameter's other levels, in the order of the parameters."""
        baseline = self.baseline_variant
        variants = [baseline]
        for name in PARAMETERS:
            levels = self.levels.get(name, ())
            assert not isinstance(levels, Range)
            variants += [baseline.with_values({name: level}) for level in levels]
        return list(dict.fromkeys(variants))

    def with_overrides(
        self,
        *,
        steps: int | None = None,
        seeds: int | None = None,
        trials: int | None = None,
        budget: Budget | None = None,
        margin: float | None = None,
        until_decided: bool = False,
        max_seeds: int | None = None,
        pruner: str | None = None,
    ) -> SweepDefinition:
        """The definition with other values of these fields; `seeds` and `max_seeds` are numbers of seeds.

        The definition's own seeds come first; if more are asked for, the lowest unused ones from 1337 on follow.

        Raises:
            ConfigError: a value is out of range, or the method takes no number of variants.
        """
        changes: dict[str, Any] = {}
        if steps is not None:
            changes["training"] = dataclasses.replace(self.training, steps=steps)
        if until_decided:
            if seeds is not None:
                raise ConfigError(
                    f"--until-decided chooses the seeds itself, so --seeds {seeds} has no meaning; give --max-seeds"
                )
            changes["until_decided"], seeds = True, MOST_SEEDS_LOOKED_AT if max_seeds is None else max_seeds
        elif max_seeds is not None:
            raise ConfigError("--max-seeds is for --until-decided alone; give --seeds, or both of these")
        elif seeds is not None:
            changes["until_decided"] = False
        if margin is not None:
            changes["margin"] = margin
        if seeds is not None:
            changes["seeds"] = _so_many_seeds(self.seeds, seeds)
        if trials is not None:
            changes["trials"] = trials
        if budget is not None:
            changes["budget"] = budget
        if pruner is not None:
            changes["pruner"] = None if pruner == NO_PRUNER else pruner
        return dataclasses.replace(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        """The fields of a file that gives the same definition, with every default written out."""
        levels = {
            name: {
                key: value
                for key, value in dataclasses.asdict(given).items()
                if value is not None and value is not False
            }
            if isinstance(given, Range)
            else list(given)
            for name, given in self.levels.items()
        }
        return {
            "name": self.name,
            **({"description": self.description} if self.description else {}),
            "method": self.method,
            "baseline": dataclasses.asdict(self.baseline),
            "levels": levels,
            "training": dataclasses.asdict(self.training),
            "budget": self.budget,
            "seeds": len(self.seeds) if self.seeds == first_seeds(len(self.seeds)) else list(self.seeds),
            **({} if self.trials is None else {"trials": self.trials}),
            **({} if self.pruner is None else {"pruner": self.pruner}),
            **({"skip_indivisible": True} if self.skip_indivisible else {}),
            **({"until_decided": True} if self.until_decided else {}),
            **({"own_seeds": True} if self.own_seeds else {}),
            **({} if self.margin == MARGIN else {"margin": self.margin}),
            **(self._tuning_as_dict() if self.nuisance else {}),
        }

    def _tuning_as_dict(self) -> dict[str, Any]:
        return {
            "nuisance": {name: list(values) for name, values in self.nuisance.items()},
            "tuning_seeds": self.tuning_seeds,
        }

    def require_steps(self, vocab_size: int) -> None:
        """Make sure that no variant takes more steps at the budget than a trial may have.

        Raises:
            ConfigError: one does.
        """
        smallest = [self._smallest()] if self.rules.combines_levels else self.one_at_a_time()
        for variant in smallest:
            if "batch_size" in self.nuisance:
                variant = variant.with_values({"batch_size": min(self.whole_numbers("batch_size"))})
            setup_at_budget(variant, self.baseline_variant, vocab_size=vocab_size, budget=self.budget)

    def _smallest(self) -> Variant:
        """The variant with the cheapest step, assuming that its heads divide its width."""
        least = {name: min(self.whole_numbers(name)) for name in ("n_layer", "n_embed", "block_size", "batch_size")}
        most = {name: max(self.whole_numbers(name)) for name in ("steps", "eval_interval", "warmup_steps")}
        return self.baseline_variant.with_values({"n_head": 1, **least, **most})

    def whole_numbers(self, name: str) -> Sequence[int]:
        """The values that a whole-number parameter can have."""
        levels = self.levels.get(name, self.nuisance.get(name))
        if levels is None:
            return [self.baseline_variant.value(name)]
        return levels.whole_numbers() if isinstance(levels, Range) else [int(level) for level in levels]

    def _check_combinations(self) -> None:
        """Every width must be divisible by every number of heads that it can meet, and no variant be too large."""
        heads, widths, layers = (self.whole_numbers(name) for name in ("n_head", "n_embed", "n_layer"))
        if not self.rules.combines_levels:
            check_divisible(heads, [self.baseline.n_embed], self.method, may_skip=False)
            check_divisible([self.baseline.n_head], widths, self.method, may_skip=False)
            check_weights(max(layers), self.baseline.n_embed)
            check_weights(self.baseline.n_layer, max(widths))
        else:
            if not self.skip_indivisible:
                check_divisible(heads, widths, self.method, may_skip=True)
            elif not dividing_pairs(heads, widths):
                raise ConfigError("no n_embed is divisible by any n_head; change one of the two", field="levels")
            check_weights(max(layers), max(widths))
        check_batch(max(self.whole_numbers("batch_size")), self.longest_context)
        self._check_training()

    def _check_training(self) -> None:
        """Check the training parameters together, at the values that are most likely to conflict."""
        varied = [name for name in TRAINING if name in self.levels]
        worst = {name: self._bounds(name)[0 if name in ("eval_interval", "learning_rate") else 1] for name in varied}
        alone = [{name: value} for name, value in worst.items()]
        for values in [worst] if self.rules.combines_levels else [{}, *alone]:
            for setting in settings(self.nuisance):
                self.baseline_variant.with_values({**values, **setting})

    def _bounds(self, name: str) -> tuple[Level, Level]:
        levels = self.levels[name]
        return (levels.low, levels.high) if isinstance(levels, Range) else (min(levels), max(levels))

    def _check_size(self) -> None:
        """Check that the plan is small enough to run, before any list of that length is made."""
        cells = self.rules.count(self)
        most = MOST_VARIANTS if self.trials is None else MOST_CELLS
        if cells > most:
            raise ConfigError(
                f"this {self.method} has {cells:,} variants, but may have at most {most:,}; leave out levels, or "
                "choose the method random, which draws as many variants as `trials` says",
                field="levels",
            )
        variants = min(self.rules.count_valid(self), self.trials or cells)
        check_tuned_size(self, variants, MOST_TRIALS)
        if variants * len(self.seeds) > MOST_TRIALS:
            raise ConfigError(
                f"{variants:,} variants with {len(self.seeds):,} seeds are {variants * len(self.seeds):,} trials, but "
                f"a sweep may have at most {MOST_TRIALS:,}; take fewer seeds or fewer variants",
                field="seeds",
            )


def check_levels(name: str, levels: tuple[Level, ...] | Range, method: type[Method]) -> None:
    """Raise a ConfigError for a level that no variant can have, a repeated one, or a range that does not fit."""
    if isinstance(levels, Range) and not method.accepts_ranges:
        fitting = _methods_with("accepts_ranges")
        raise ConfigError(f"a range is only for the methods {fitting}; {method.name} needs a list of levels")
    level_rules.check_levels(name, levels)


def first_seeds(count: int) -> tuple[int, ...]:
    """The first `count` seeds: 1337, 1338, ...

    Raises:
        ConfigError: the count is not a whole number from 1 to 1,000.
    """
    return _so_many_seeds((), count)


def _so_many_seeds(given: Sequence[int], count: int) -> tuple[int, ...]:
    """The first `count` of the given seeds, then as many others from 1337 on as are missing."""
    _check_count("seeds", count, MOST_SEEDS)
    others = (seed for seed in itertools.count(names.DEFAULT_SEED) if seed not in given)
    return tuple(itertools.islice(itertools.chain(given, others), count))


def check_seeds(seeds: Any) -> tuple[int, ...]:
    """The seeds of a list or tuple.

    Raises:
        ConfigError: there is none, one that a trial cannot have, a repeated one, or more than 1,000.
    """
    if not isinstance(seeds, list | tuple) or not seeds:
        raise ConfigError(
            f"seeds must be a number of seeds or a list of them, as [1, 2, 3], but got {shown(seeds)}", field="seeds"
        )
    if len(seeds) > MOST_SEEDS:
        raise ConfigError(f"seeds may be at most {MOST_SEEDS:,}, but are {len(seeds):,}; list fewer", field="seeds")
    seen: set[int] = set()
    for seed in seeds:
        check_value("seed", seed)
        if seed in seen:
            raise ConfigError(f"seed {seed} is listed twice; keep one", field="seeds")
        seen.add(seed)
    return tuple(seeds)


def _check_texts(definition: SweepDefinition) -> None:
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


def _check_trials(definition: SweepDefinition) -> None:
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
        _check_count("trials", definition.trials, MOST_VARIANTS)
    elif method.needs_trials:
        raise ConfigError(f"trials is missing; {definition.method} needs the number of variants to try", field="method")


def _check_verdicts(definition: SweepDefinition) -> None:
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


def _check_pruner(definition: SweepDefinition) -> None:
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


def _check_count(name: str, value: Any, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} must be a whole number of at least 1, but got {shown(value)}", field=name)
    if value > most:
        raise ConfigError(f"{name} must be at most {most:,}, but got {shown(value)}; give a smaller one", field=name)
