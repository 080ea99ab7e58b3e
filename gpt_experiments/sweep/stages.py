"""Which seeds a sweep trains of each variant: all at once, or in stages that depend on the losses so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from gpt_experiments.config import Variant
from gpt_experiments.sweep.definition import SweepDefinition

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
        """Whether another stage may follow the first."""
        ...

    def begin(self, variant: Variant) -> list[Wanted]:
        """What the first stage trains of a variant that the method has chosen."""
        ...

    def go_on(self, losses: Losses) -> list[Wanted]:
        """What the next stage trains; nothing if the sweep is done."""
        ...


class AllSeeds:
    """A single stage: every variant with all seeds of the definition."""

    def __init__(self, definition: SweepDefinition) -> None:
        self._seeds = definition.seeds

    @property
    def most(self) -> int:
        return len(self._seeds)

    @property
    def are_several(self) -> bool:
        return False

    def begin(self, variant: Variant) -> list[Wanted]:
        return [(variant, self._seeds)]

    def go_on(self, losses: Losses) -> list[Wanted]:
        return []


def make_stages(definition: SweepDefinition) -> Stages:
    """The stages that the definition asks for."""
    return AllSeeds(definition)
