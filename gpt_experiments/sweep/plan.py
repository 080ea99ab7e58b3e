"""Which trials a sweep consists of, in which order, and which of them a finished run answers already."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gpt_experiments.config import TRAINING_VERSION, Trial, Variant, setup_at_budget
from gpt_experiments.corpus import Corpus
from gpt_experiments.sweep.cost import rough_cost
from gpt_experiments.sweep.definition import SweepDefinition
from gpt_experiments.sweep.search import Search
from gpt_experiments.tracking import FinishedTrial


@dataclass(frozen=True, kw_only=True)
class PlannedTrial:
    """A trial of a sweep, and the finished run that answers it, if there is one."""

    trial: Trial
    label: str
    cell: str
    n_params: int
    done: FinishedTrial | None


def sweep_key(definition: SweepDefinition, corpus: Corpus) -> str:
    """The sweep's identity: 16 hexadecimal digits.

    Levels, seeds and the number of trials are not part of it, so that a sweep that is extended goes on in its run.
    """
    identity = {
        "name": definition.name,
        "method": definition.method,
        "baseline": dataclasses.asdict(definition.baseline),
        "training": dataclasses.asdict(definition.training),
        "budget": definition.budget,
        "corpus": corpus.digest,
        "version": TRAINING_VERSION,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


class Schedule:
    """Hands out a sweep's trials, and tells the search how each variant did.

    A search that does not learn from results is asked for everything at once: what is done comes first, then the most
    expensive trials, so that no long one is left to run alone at the end. One that learns is asked variant by variant.

    Args:
        finished: finished runs by cell.
        done: variants that the search has been told of already, and does not give again.
    """

    def __init__(
        self,
        definition: SweepDefinition,
        corpus: Corpus,
        finished: Mapping[str, FinishedTrial],
        search: Search,
        done: Iterable[Variant] = (),
    ) -> None:
        self._definition, self._corpus, self._finished, self._search = definition, corpus, finished, search
        self._values: dict[Variant, list[float | None]] = {}  # of variants under way, one for each seed that ended
        self._queue: deque[PlannedTrial] = deque()
        self.planned: list[PlannedTrial] = []
        self.total = search.planned * len(definition.seeds)  # of a search that learns: at most
        if definition.learns:
            for variant in done:
                self._plan(variant)
            self.total += len(self.planned)
        else:
            while self._ask():
                pass
            ordered = sorted(self._queue, key=lambda p: -rough_cost(p.trial, corpus.vocab_size))
            self._queue = deque(sorted(ordered, key=lambda p: p.done is None))

    def next(self) -> PlannedTrial | None:
        """The next trial, or None when all have been handed out."""
        if not self._queue and self._definition.learns:
            self._ask()
        return self._queue.popleft() if self._queue else None

    def ended(self, planned: PlannedTrial, best_val_loss: float | None) -> None:
        """Note a trial's best validation loss, None if it failed; a variant's value is the mean over its seeds."""
        variant = planned.trial.variant
        values = self._values.get(variant)
        if values is None:  # the search knew it before
            return
        values.append(best_val_loss)
        if len(values) == len(self._definition.seeds):
            known = [value for value in values if value is not None]
            self._search.tell(variant, sum(known) / len(known) if len(known) == len(values) else None)
            del self._values[variant]

    def _ask(self) -> bool:
        variant = self._search.ask()
        if variant is None:
            return False
        self._values[variant] = []
        self._plan(variant)
        return True

    def _plan(self, variant: Variant) -> None:
        """Queue one trial of the variant for each seed."""
        definition = self._definition
        training = setup_at_budget(
            definition.training,
            variant,
            definition.baseline,
            vocab_size=self._corpus.vocab_size,
            budget=definition.budget,
        )
        for seed in definition.seeds:
            planned = plan_trial(
                Trial(variant=variant, seed=seed, training=training),
                variant.label(definition.baseline),
                self._corpus,
                self._finished,
            )
            self.planned.append(planned)
            self._queue.append(planned)


def plan_trial(trial: Trial, label: str, corpus: Corpus, finished: Mapping[str, FinishedTrial]) -> PlannedTrial:
    """The trial with its cell, its size, and the finished run of that cell if there is one."""
    cell = trial.cell(corpus.digest)
    n_params = trial.model_config(corpus.vocab_size).n_params
    return PlannedTrial(trial=trial, label=label, cell=cell, n_params=n_params, done=finished.get(cell))
