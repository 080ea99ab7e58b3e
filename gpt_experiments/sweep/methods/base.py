"""What a method is: it chooses a sweep's variants."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from gpt_experiments.config import Variant

if TYPE_CHECKING:
    from gpt_experiments.sweep.definition import SweepDefinition


@dataclass(frozen=True, kw_only=True)
class History:
    """What an adaptive method knows before it chooses for the first time.

    Attributes:
        variants: those that the sweep consists of already, at most as many as it is to try.
        values: mean best validation loss, nats per character, of every variant of the space whose trials are all
            finished, no matter which sweep trained them.
    """

    variants: tuple[Variant, ...] = ()
    values: Mapping[Variant, float] = field(default_factory=dict)


class Method(ABC):
    """Chooses variants one by one, and learns their results.

    A method that is not adaptive chooses the same variants in the same order every time, and is asked for all of them
    before anything trains. An adaptive one is asked again whenever a worker is free.

    Class attributes:
        name: what a sweep file calls it.
        is_adaptive: whether what it chooses depends on results.
        accepts_ranges: whether levels may be a range.
        combines_levels: whether levels of several hyperparameters meet in one variant.
        may_tune: whether a definition may name nuisance parameters, over which each of its variants is tuned.
        takes_pruner: whether a definition may name a pruner, which stops trials whose losses are high.
        takes_trials, needs_trials: whether a definition may, or must, say how many variants to try.

    Attributes:
        planned: how many variants it will suggest at most.
    """

    name: ClassVar[str]
    is_adaptive: ClassVar[bool] = False
    accepts_ranges: ClassVar[bool] = False
    combines_levels: ClassVar[bool] = True
    may_tune: ClassVar[bool] = False
    takes_pruner: ClassVar[bool] = True
    takes_trials: ClassVar[bool] = True
    needs_trials: ClassVar[bool] = False

    planned: int

    @abstractmethod
    def __init__(self, definition: SweepDefinition, history: History) -> None: ...

    @abstractmethod
    def suggest(self) -> Variant | None:
        """A variant that was not suggested before, or None when there is none left."""

    def update(self, variant: Variant, value: float | None) -> None:  # noqa: B027  # a grid does not learn
        """Learn a variant's mean best validation loss; None where a trial of it has failed."""

    def learn_stopped(self, variant: Variant, course: Mapping[int, float]) -> None:  # noqa: B027  # nor from this
        """Learn of a variant of which a trial was stopped.

        Args:
            course: its mean validation loss, nats per character, after each part of training that all its trials have
                completed, counted as `pruning.Pruning` does.
        """

    @classmethod
    @abstractmethod
    def count(cls, definition: SweepDefinition) -> int:
        """How many variants there are to choose from, including those with widths that are not divisible.

        For a method that needs the number of variants to try, it is that number.
        """

    @classmethod
    def count_valid(cls, definition: SweepDefinition) -> int:
        """How many of those are left without the indivisible ones, if the definition skips these."""
        return cls.count(definition)
