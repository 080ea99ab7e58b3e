"""What a sweep is: its method, levels, training setup and seeds, validated before anything starts."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from gpt_experiments.config import HYPERPARAMETERS, Budget, TrainingSetup, Trial, Variant
from gpt_experiments.errors import ConfigError

Method = Literal["one-at-a-time", "grid", "random", "tpe"]
Level = int | float
METHODS: Final[tuple[Method, ...]] = get_args(Method)
BUDGETS: Final[tuple[Budget, ...]] = get_args(Budget)

DEFAULT_SEED: Final = 1337
_MOST_VALUES: Final = 10_000  # of one range; it is enumerated to check what divides what


@dataclass(frozen=True, kw_only=True)
class Range:
    """Levels from `low` to `high`, both included: every `step`, or anywhere between, evenly on a log scale if `log`.

    Raises:
        ConfigError: the bounds are in the wrong order, or step and log do not fit them.
    """

    low: Level
    high: Level
    step: Level | None = None
    log: bool = False

    def __post_init__(self) -> None:
        for name in ("low", "high", "step"):
            value = getattr(self, name)
            number = not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)
            if not number and not (name == "step" and value is None):
                raise ConfigError(f"{name} must be a finite number, but got {value!r}")
        if not isinstance(self.log, bool):
            raise ConfigError(f"log must be true or false, but got {self.log!r}")
        if self.low >= self.high:
            raise ConfigError(f"low must be below high, but got low={self.low} and high={self.high}")
        if self.step is not None and self.step <= 0:
            raise ConfigError(f"step must be positive, but got {self.step}")
        if self.log and (self.step is not None or self.low <= 0):
            raise ConfigError("log goes with a positive low and without a step")

    def whole_numbers(self) -> range:
        """The values of a hyperparameter that is a whole number."""
        return range(int(self.low), int(self.high) + 1, int(self.step or 1))


@dataclass(frozen=True, kw_only=True)
class SweepDefinition:
    """A named set of trials.

    Args:
        method: `one-at-a-time` changes one hyperparameter of the baseline at a time; `grid` takes every combination;
            `random` draws combinations; `tpe` lets Optuna's TPE choose them by what it has seen.
        levels: for each hyperparameter that is varied, its levels, or for random and tpe a Range.
        budget: what every variant spends as much of as the baseline does: optimisation steps, training tokens, or
            floating-point operations.
        seeds: each variant is trained once with each; at least one, none twice.
        trials: how many variants to try; None takes all there are.

    Raises:
        ConfigError: a level breaks a rule, alone or together with others that it can meet.
    """

    name: str
    method: Method
    levels: Mapping[str, tuple[Level, ...] | Range]
    description: str = ""
    baseline: Variant = field(default_factory=Variant)
    training: TrainingSetup = field(default_factory=TrainingSetup)
    budget: Budget = "steps"
    seeds: tuple[int, ...] = (DEFAULT_SEED,)
    trials: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "seeds", check_seeds(self.seeds))
        _check_trials(self)
        for name, levels in self.levels.items():
            check_levels(name, levels, self.method)
        self._check_combinations()

    @property
    def learns(self) -> bool:
        """Whether the variants depend on the results of those before them."""
        return self.method == "tpe"

    @property
    def longest_context(self) -> int:
        """The largest block_size that a variant can have."""
        levels = self.levels.get("block_size", ())
        longest = levels.high if isinstance(levels, Range) else max(levels, default=0)
        return max(self.baseline.block_size, int(longest))

    def one_at_a_time(self) -> list[Variant]:
        """The baseline, then each hyperparameter's other levels, in the order of the hyperparameters."""
        variants, baseline = [self.baseline], dataclasses.asdict(self.baseline)
        for name in HYPERPARAMETERS:
            levels = self.levels.get(name, ())
            assert not isinstance(levels, Range)
            variants += [Variant(**(baseline | {name: level})) for level in levels]
        return list(dict.fromkeys(variants))

    def with_overrides(
        self,
        *,
        steps: int | None = None,
        seeds: int | None = None,
        trials: int | None = None,
        budget: Budget | None = None,
    ) -> SweepDefinition:
        """The definition with other steps, another number of seeds, another number of variants, another budget.

        Raises:
            ConfigError: a value is out of range, or the method takes no number of trials.
        """
        changes: dict[str, Any] = {}
        if steps is not None:
            changes["training"] = dataclasses.replace(self.training, steps=steps)
        if seeds is not None:
            changes["seeds"] = first_seeds(seeds)
        if trials is not None:
            changes["trials"] = trials
        if budget is not None:
            changes["budget"] = budget
        return dataclasses.replace(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        """The definition as a file would give it, every default written out; a file of it gives the same definition."""
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
        }

    def _check_combinations(self) -> None:
        """Every width must be divisible by every number of heads that it can meet."""
        heads, widths = _values(self, "n_head"), _values(self, "n_embed")
        if self.method == "one-at-a-time":
            pairs: Iterator[tuple[int, int]] = iter(
                [(h, self.baseline.n_embed) for h in heads] + [(self.baseline.n_head, w) for w in widths]
            )
        else:
            pairs = itertools.product(heads, widths)
        for n_head, n_embed in pairs:
            if n_embed % n_head:
                raise ConfigError(
                    f"n_embed={n_embed} is not divisible by n_head={n_head}, and {self.method} lets them meet; "
                    "remove one of the two levels"
                )


def first_seeds(count: int) -> tuple[int, ...]:
    """The first `count` seeds: 1337, 1338, ...

    Raises:
        ConfigError: the count is not a whole number of at least 1.
    """
    _require_count("seeds", count)
    return tuple(range(DEFAULT_SEED, DEFAULT_SEED + count))


def check_seeds(seeds: Any) -> tuple[int, ...]:
    """The seeds of a list or tuple.

    Raises:
        ConfigError: there is none, one that a trial cannot have, or one that stands there twice.
    """
    if not isinstance(seeds, list | tuple) or not seeds:
        raise ConfigError(f"seeds must be a number of seeds or a list of them, as [1, 2, 3], but got {seeds!r}")
    for i, seed in enumerate(seeds):
        Trial(variant=Variant(), seed=seed)
        if seed in seeds[:i]:
            raise ConfigError(f"seed {seed} stands here twice; keep one")
    return tuple(seeds)


def check_levels(name: str, levels: tuple[Level, ...] | Range, method: Method) -> None:
    """Raise a ConfigError for a level that no variant can have, a repeated one, or a range that does not fit."""
    if isinstance(levels, Range):
        if method not in ("random", "tpe"):
            raise ConfigError(f"a range goes with the methods random and tpe; {method} needs a list of levels")
        if name != "dropout":
            for bound in ("low", "high", "step"):
                if isinstance(getattr(levels, bound), float):
                    raise ConfigError(f"{bound} must be a whole number, but got {getattr(levels, bound)!r}")
            if len(levels.whole_numbers()) > _MOST_VALUES:
                raise ConfigError(f"a range may have at most {_MOST_VALUES:,} values; give a larger step")
        tried: tuple[Level, ...] = (levels.low, levels.high)
    else:
        tried = levels
    if not tried:
        raise ConfigError("has no levels; list at least one, or leave it out")
    for level in tried:
        check_level(name, level)
    for i, level in enumerate(tried):
        if level in tried[:i]:
            raise ConfigError(f"level {level!r} stands here twice; keep one")


def check_level(name: str, level: Level) -> None:
    """Raise a ConfigError for a value that the hyperparameter cannot have whatever the others are."""
    # A width that any number of heads divides, and one head that divides any width: only the value itself can be wrong.
    others: dict[str, dict[str, Any]] = {"n_head": {"n_embed": level}, "n_embed": {"n_head": 1}}
    Variant(**{name: level, **others.get(name, {})})


def _check_trials(definition: SweepDefinition) -> None:
    if definition.trials is None:
        if definition.method in ("random", "tpe"):
            raise ConfigError(f"trials is missing; {definition.method} needs the number of variants to try")
        return
    if definition.method == "one-at-a-time":
        raise ConfigError("trials goes with grid, random and tpe; one-at-a-time always takes every level")
    _require_count("trials", definition.trials)


def _require_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} must be a whole number of at least 1, but got {value!r}")


def _values(definition: SweepDefinition, name: str) -> list[int]:
    levels = definition.levels.get(name)
    if levels is None:
        return [getattr(definition.baseline, name)]
    return list(levels.whole_numbers()) if isinstance(levels, Range) else [int(level) for level in levels]
