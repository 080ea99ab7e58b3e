"""What an adaptive method begins with: the variants that its sweep has already, and what is known of its space."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

from gpt_experiments.config import Trial, Variant, own_seed, setup_at_budget
from gpt_experiments.corpus import Corpus
from gpt_experiments.parameters import TrainingSetup
from gpt_experiments.records import FinishedTrial, Outcome
from gpt_experiments.sweep.definition import SweepDefinition
from gpt_experiments.sweep.methods import History
from gpt_experiments.sweep.methods.space import Space
from gpt_experiments.tracking.plan_rows import PlanRow


def trials_of(
    definition: SweepDefinition, corpus: Corpus, variant: Variant, seeds: Iterable[int] | None = None
) -> list[Trial]:
    """The variant's trials in that sweep, one for each of the seeds; without them, for each of the definition's."""
    training = setup_at_budget(
        variant, definition.baseline_variant, vocab_size=corpus.vocab_size, budget=definition.budget
    )
    return [
        Trial(shape=variant.shape, seed=own_seed(variant, seed) if definition.own_seeds else seed, training=training)
        for seed in seeds or definition.seeds
    ]


def read_history(
    definition: SweepDefinition, corpus: Corpus, finished: Mapping[str, FinishedTrial], earlier_plan: Any
) -> History:
    """The history of a sweep whose method is adaptive; an empty one for the other methods, which do not need it.

    The variants of the earlier plan come first, so that a sweep that is run again keeps its variants and continues
    those that were begun. Other finished variants follow, the earliest trained first. Variants outside the present
    space, or trained in another way, do not count.

    Args:
        finished: finished runs by cell, newest first.
        earlier_plan: the rows of the plan that the sweep has left, as JSON; None where there is none.
    """
    if not definition.rules.is_adaptive:
        return History()
    space = Space(definition)
    found = dict.fromkeys(space.nearest(trial.variant) for trial in reversed(list(finished.values())))
    values: dict[Variant, float] = {}
    for variant in filter(space.holds, found):
        cells = [trial.cell(corpus.digest) for trial in trials_of(definition, corpus, variant)]
        if all(cell in finished for cell in cells):
            values[variant] = sum(finished[cell].summary.best_val_loss for cell in cells) / len(cells)
    begun = filter(space.holds, _variants_of(earlier_plan, definition.training))
    return History(variants=tuple(dict.fromkeys([*begun, *values]))[: definition.trials], values=values)


def _variants_of(plan: Any, training: TrainingSetup) -> Iterable[Variant]:
    """The variants of a plan, except those that only failed; damaged rows are left out."""
    variants: dict[Variant, None] = {}
    for row in plan if isinstance(plan, list) else []:
        with contextlib.suppress(KeyError, TypeError, ValueError):  # a ConfigError is a ValueError
            planned = PlanRow.from_json(row, training)
            if planned.outcome != Outcome.FAILED:
                variants[planned.variant] = None
    return variants
