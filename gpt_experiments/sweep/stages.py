"""Which seeds a sweep trains of each variant: all at once, or in stages that depend on the losses so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from gpt_experiments.analysis.looks import Looked, Looks, look_at
from gpt_experiments.analysis.tuning import best_setting
from gpt_experiments.config import Variant
from gpt_experiments.sweep.definition import SweepDefinition
from gpt_experiments.sweep.nuisance import settings

Wanted = tuple[Variant, Sequence[int]]
"""A variant, and the seeds to train it with."""

Losses = Mapping[tuple[Variant, int], float | None]
"""The validation loss after the last step of each trial that has ended, nats per character; None where it has none."""


class Stages(Protocol):
    """Turns the variants that a method chooses into trials, in one stage or in several.

    Trials of the next stage are asked for when all that were asked for have ended. They depend on nothing but the
    losses, so a sweep that was interrupted goes on as it would have.
    """

    @property
    def most(self) -> int:
        """The most trials that a variant of the method can lead to."""
        ...

    @property
    def are_several(self) -> bool:
        """Whether another stage may follow those that have begun."""
        ...

    def begin(self, variant: Variant) -> list[Wanted]:
        """What the first stage trains of a variant that the method has chosen."""
        ...

    def go_on(self, losses: Losses) -> list[Wanted]:
        """What the next stage trains; nothing if the sweep is done."""
        ...


class AllSeeds:
    """A single stage: every variant with all seeds of the definition."""

    are_several = False

    def __init__(self, definition: SweepDefinition) -> None:
        self._seeds = definition.seeds

    @property
    def most(self) -> int:
        return len(self._seeds)

    def begin(self, variant: Variant) -> list[Wanted]:
        return [(variant, self._seeds)]

    def go_on(self, losses: Losses) -> list[Wanted]:
        return []


class UntilDecided:
    """A stage for each planned look: more seeds for the baseline, and for the variants that are not decided.

    See `analysis.looks` for when that is and why it misleads nobody.
    """

    are_several = True

    def __init__(self, definition: SweepDefinition) -> None:
        self._baseline, self._seeds, self._margin = definition.baseline_variant, definition.seeds, definition.margin
        self._variants: dict[Variant, int] = {}  # how many seeds each was asked for
        self._first = Looks(most=len(self._seeds), comparisons=1).seeds[0]

    @property
    def most(self) -> int:
        return len(self._seeds)

    def begin(self, variant: Variant) -> list[Wanted]:
        self._variants[variant] = self._first
        return [(variant, self._seeds[: self._first])]

    def go_on(self, losses: Losses) -> list[Wanted]:
        looked = self._look(losses)
        if looked.next_seeds is None:
            return []
        wanted: list[Wanted] = []
        for variant in self._variants:
            if variant == self._baseline or variant in looked.open:
                wanted.append((variant, self._seeds[self._variants[variant] : looked.next_seeds]))
                self._variants[variant] = looked.next_seeds
        return wanted

    def _look(self, losses: Losses) -> Looked:
        compared = {variant: asked for variant, asked in self._variants.items() if variant != self._baseline}
        differences = {
            variant: [self._difference(losses, variant, seed) for seed in self._seeds[:asked]]
            for variant, asked in compared.items()
        }
        return look_at(differences, most=self.most, margin=self._margin, ended=compared)

    def _difference(self, losses: Losses, variant: Variant, seed: int) -> float | None:
        at_level, at_base = losses[variant, seed], losses[self._baseline, seed]
        return None if at_level is None or at_base is None else at_level - at_base


class TunedStages:
    """Two stages: every variant is tuned over the nuisance parameters, and then compared.

    It is tuned with seeds of their own, so that what was lowest by luck does not count twice. It is compared with the
    definition's seeds: at the baseline's values of the nuisance parameters, and at its own best ones, if these are
    others.
    """

    def __init__(self, definition: SweepDefinition) -> None:
        self._seeds, self._tuned_with = definition.seeds, definition.tuned_with
        self._settings = settings(definition.nuisance)
        self._tuned: list[Variant] = []
        self._are_compared = False

    @property
    def most(self) -> int:
        return len(self._settings) * len(self._tuned_with) + 2 * len(self._seeds)

    @property
    def are_several(self) -> bool:
        return not self._are_compared

    def begin(self, variant: Variant) -> list[Wanted]:
        self._tuned.append(variant)
        return [(variant.with_values(setting), self._tuned_with) for setting in self._settings]

    def go_on(self, losses: Losses) -> list[Wanted]:
        if self._are_compared:
            return []
        self._are_compared = True
        return [
            (compared, self._seeds)
            for variant in self._tuned
            for compared in dict.fromkeys([variant, self._best(variant, losses)])
        ]

    def _best(self, variant: Variant, losses: Losses) -> Variant:
        """The variant at its best values; as it is where no trial that tuned it has a loss."""
        tried = {
            tuple(setting.values()): [losses.get((variant.with_values(setting), seed)) for seed in self._tuned_with]
            for setting in self._settings
        }
        best = best_setting(tried)
        return variant if best is None else variant.with_values(dict(zip(self._settings[0], best, strict=True)))


def make_stages(definition: SweepDefinition) -> Stages:
    """The stages that the definition asks for."""
    if definition.nuisance:
        return TunedStages(definition)
    return UntilDecided(definition) if definition.until_decided else AllSeeds(definition)
