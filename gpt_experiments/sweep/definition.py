"""What a sweep is: its method, levels, training setup and seeds, validated before anything starts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, get_args

from gpt_experiments import names
from gpt_experiments.config import BUDGETED, MARGIN, Budget, Variant, setup_at_budget
from gpt_experiments.errors import ConfigError, shown
from gpt_experiments.parameters import (
    PARAMETERS,
    TRAINING,
    Shape,
    TrainingSetup,
    check_batch,
    check_weights,
)
from gpt_experiments.sweep.levels import Level, Range, check_divisible, dividing_pairs
from gpt_experiments.sweep.methods import METHODS
from gpt_experiments.sweep.methods.base import Method
from gpt_experiments.sweep.nuisance import check_nuisance, check_tuned_size, settings, tuning_seeds
from gpt_experiments.sweep.rules import (
    MOST_VARIANTS,
    NO_PRUNER,
    check_levels,
    check_pruner,
    check_texts,
    check_trials,
    check_verdicts,
)
from gpt_experiments.sweep.seeds import MOST_SEEDS_LOOKED_AT, check_seeds, first_seeds, so_many_seeds

LEVELED: Final = tuple(name for name, declared in PARAMETERS.items() if declared.is_number)
"""The parameters that may have levels; the study is about the first five."""

BUDGETS: Final[tuple[Budget, ...]] = get_args(Budget)

MOST_CELLS: Final = 100_000
"""The cells of a grid of which `trials` takes only some."""
MOST_TRIALS: Final = 10_000


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
        check_texts(self)
        if self.method not in METHODS:
            known = ", ".join(METHODS)
            raise ConfigError(f"method must be one of {known}, but got {shown(self.method)}", field="method")
        check_trials(self)
        check_verdicts(self)
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
        check_pruner(self)
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
    def looks(self) -> str | None:
        """What the planned looks depend on, as the options that ask for them; None where there is one look."""
        return f"--margin {self.margin:g} --max-seeds {len(self.seeds)}" if self.until_decided else None

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
            changes["seeds"] = so_many_seeds(self.seeds, seeds)
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
