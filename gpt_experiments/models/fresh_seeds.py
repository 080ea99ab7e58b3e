"""Trains variants on fresh seeds, or finds that this was done before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from gpt_experiments import names
from gpt_experiments.config import MARGIN, Budget, Trial, check_margin
from gpt_experiments.corpus import Corpus
from gpt_experiments.models.selection import Candidate
from gpt_experiments.parameters import check_whole_number
from gpt_experiments.records import FinishedTrial, Outcome, SweepListener
from gpt_experiments.sweep.resources import RunOptions, find_hardware
from gpt_experiments.sweep.runner import run_trials
from gpt_experiments.sweep.trial_list import TrialList
from gpt_experiments.tracking import Store
from gpt_experiments.tracking.confirming import mark_confirming
from gpt_experiments.tracking.finished import FinishedCells

DEFAULT_SEEDS: Final = 3
MOST_SEEDS: Final = 100  # their losses fit into a tag
DEFAULT_CONTENDERS: Final = 8
_MOST_CONTENDERS: Final = 1_000
# Far from the seeds of sweeps, and from one another: seeds that measure have never chosen, whatever their number was.
_FIRST_MEASURING: Final = 1_000_001
_FIRST_CHOOSING: Final = 2_000_001


@dataclass(frozen=True, kw_only=True)
class WantedCorpus:
    """The text that fresh trials must learn from.

    Attributes:
        of: what was trained on it, as `sweep quick`.
        source: where it came from, if that is recorded: a path, a URL.
    """

    of: str
    name: str
    digest: str
    source: str | None


@dataclass(frozen=True, kw_only=True)
class ConfirmOptions:
    """How the best model is confirmed.

    Args:
        seeds: fresh seeds to measure with, and as many others to choose with.
        contenders: the most variants to choose among.
        margin: nats per character; smaller differences do not matter.
        run: how trials are run.
        open_corpus: opens the text; raises a CorpusError where it is not at hand. It is called only if a trial is
            missing.
        display: shows the training.
        say: gets a sentence before training begins.

    Raises:
        ConfigError: a number is out of range.
    """

    run: RunOptions
    open_corpus: Callable[[WantedCorpus], Corpus]
    display: Callable[[], AbstractContextManager[SweepListener]]
    say: Callable[[str], None]
    seeds: int = DEFAULT_SEEDS
    contenders: int = DEFAULT_CONTENDERS
    margin: float = MARGIN

    def __post_init__(self) -> None:
        check_confirm(self.seeds, least=1)
        check_whole_number("contenders", self.contenders, 1, _MOST_CONTENDERS)
        check_margin(self.margin)


def check_confirm(seeds: int, *, least: int = 0) -> None:
    """Raise a ConfigError for a number of fresh seeds that is out of range."""
    check_whole_number("confirm", seeds, least, MOST_SEEDS)


def measuring_seeds(count: int, used: Iterable[int]) -> tuple[int, ...]:
    """The first `count` seeds to measure with that nobody has used: the same for every sweep with usual seeds."""
    return _unused(_FIRST_MEASURING, count, used)


def choosing_seeds(count: int, used: Iterable[int]) -> tuple[int, ...]:
    """The first `count` seeds to choose with that nobody has used."""
    return _unused(_FIRST_CHOOSING, count, used)


def _unused(first: int, count: int, used: Iterable[int]) -> tuple[int, ...]:
    taken = set(used)
    return tuple([seed for seed in range(first, first + count + len(taken)) if seed not in taken][:count])


class FreshTrials:
    """Trials of variants on seeds that their sweep has not used; each is an MLflow run without a parent.

    Attributes:
        trained: how many trials this process has trained.
        failures: why a trial has no result, by its cell.

    Args:
        confirmed: the run of the sweep or the trial that the trials confirm.
        steps, budget: how long they train, as a display says it.
    """

    def __init__(
        self,
        store: Store,
        options: ConfirmOptions,
        corpus: WantedCorpus,
        confirmed: str,
        *,
        steps: int,
        budget: Budget,
    ) -> None:
        self.trained = 0
        self.failures: dict[str, str] = {}
        self._store, self._options, self._wanted, self._confirmed = store, options, corpus, confirmed
        self._steps, self._budget = steps, budget
        self._corpus: Corpus | None = None
        self._cells = FinishedCells(store)

    def missing(self, candidate: Candidate, seeds: Sequence[int]) -> list[Trial]:
        """The trials that are not finished yet."""
        trials = {self._cell(trial): trial for trial in self._trials(candidate, seeds)}
        finished = self._finished(trials)
        return [trial for cell, trial in trials.items() if cell not in finished]

    def seconds(self, counts: Sequence[tuple[Candidate, int]]) -> float:
        """How long so many trials of each would take at the pace that the finished trials of each had."""
        each = [
            count * fmean(trial.summary.train_seconds + trial.summary.eval_seconds for trial in candidate.trials)
            for candidate, count in counts
        ]
        trials = sum(count for _, count in counts)
        return sum(each) / find_hardware(self._options.run, max(1, trials)).workers

    def train(self, name: str, wanted: Sequence[tuple[Candidate, Sequence[int]]]) -> None:
        """Train what is missing, and mark all of it as confirming.

        Raises:
            KeyboardInterrupt: it was interrupted; what is finished stays.
            ExperimentError: before anything starts, if the corpus, the device or the store cannot be used.
        """
        trials = {
            self._cell(trial): (trial, candidate.label)
            for candidate, seeds in wanted
            for trial in self._trials(candidate, seeds)
        }
        if any(cell not in self._finished(trials) for cell in trials):
            self._train(name, list(trials.values()))
        found = self._finished(trials)
        mark_confirming(self._store, [found[cell].run_id for cell in trials if cell in found], self._confirmed)

    def found(self, candidate: Candidate, seeds: Sequence[int]) -> dict[int, FinishedTrial]:
        """The finished trials of the variant, by seed."""
        cells = {trial.seed: self._cell(trial) for trial in self._trials(candidate, seeds)}
        finished = self._finished(cells.values())
        return {seed: finished[cell] for seed, cell in cells.items() if cell in finished}

    def why_missing(self, candidate: Candidate, seeds: Sequence[int]) -> str:
        """Sentences on the trials that have failed."""
        reasons = ((trial.seed, self.failures.get(self._cell(trial))) for trial in self.missing(candidate, seeds))
        return "; ".join(f"seed {seed} failed ({why or 'for a reason that is not known'})" for seed, why in reasons)

    def _train(self, name: str, trials: Sequence[tuple[Trial, str]]) -> None:
        if self._corpus is None:
            self._corpus = self._options.open_corpus(self._wanted)
        steps = self._steps if self._budget != "steps" else max(trial.training.steps for trial, _ in trials)
        tags = {names.CONFIRMS: self._confirmed}
        listed = TrialList(name=name, trials=trials, steps=steps, budget=self._budget, tags=tags)
        with self._options.display() as listener:
            summary = run_trials(listed, self._corpus, self._store, self._options.run, listener)
        if summary.interrupted:
            raise KeyboardInterrupt
        self.trained += summary.counts[Outcome.FINISHED]
        self.failures |= {record.planned.cell: record.reason or "" for record in summary.failed}
        self._cells = FinishedCells(self._store)  # what was not finished may be now

    def _finished(self, cells: Iterable[str]) -> Mapping[str, FinishedTrial]:
        """The finished trials, of these cells at least."""
        self._cells.ask(cells)
        return self._cells.by_cell

    def _trials(self, candidate: Candidate, seeds: Sequence[int]) -> list[Trial]:
        """Trials as the variant's own were trained: under another budget than steps, as long as they were."""
        trained = candidate.trials[0].variant
        return [Trial(shape=trained.shape, seed=seed, training=trained.training) for seed in seeds]

    def _cell(self, trial: Trial) -> str:
        return trial.cell(self._wanted.digest)
