"""The results of a sweep, as data frames, and of a trial: what statistics, figures and reports are made from."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gpt_experiments.config import MARGIN, Budget, Variant, check_margin
from gpt_experiments.errors import ConfigError
from gpt_experiments.parameters import HYPERPARAMETERS, as_text
from gpt_experiments.records import RunFacts
from gpt_experiments.training.events import Evaluation

LOSS: Final = "final_val_loss"
"""Variants are compared by the validation loss after the last step, whose weights the checkpoint holds."""

FINISHED: Final = "finished"
STOPPED: Final = "stopped"
SET_ASIDE: Final = "set aside"
"""The outcome, in comparisons alone, of a finished trial whose variant has a stopped one."""


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What a sweep that tunes its variants has beside the trials at the baseline's values of the nuisance parameters.

    Attributes:
        parameters: the nuisance parameters.
        trials: those that tuned, each with a seed of the tuning: as `SweepResults.trials`, with a column for each of
            the nuisance parameters, which are no part of the `label`.
        elsewhere: those that are compared at other values than the baseline's, in the same form.
    """

    parameters: tuple[str, ...]
    trials: pd.DataFrame
    elsewhere: pd.DataFrame


@dataclass(frozen=True, kw_only=True)
class SweepResults:
    """A sweep as its tracking store remembers it; losses in nats per character.

    Attributes:
        trials: one row a planned trial: `label`, the `parameters`, `seed`, `run_id`, `outcome` (`finished`,
            `stopped`, `failed`, `missing`), `reason` of a stop or a failure, `n_params`, `steps`, `tokens`, `flops`,
            and of finished trials `final_train_loss`, `final_val_loss`, `best_val_loss`, `train_seconds`,
            `tokens_per_second`, `hardware`.
        curves: `run_id`, `step`, `train_loss`, `val_loss`.
        positions: `run_id`, `characters_seen`, `val_loss`.
        heads: `run_id`, `layer`, `head`, the scores and the `name` of each attention head.
        samples: the sample text of each run.
        character_losses: of some runs the losses of the validation split's characters (characters,), in their order:
            those that differ from the baseline in block_size at most.
        training: the setup of the baseline, as names and values.
        parameters: the five hyperparameters, and any parameter of the training that has levels too.
        variants_wanted: how many variants the sweep was to try at most; None for all.
        margin: a difference of losses below that counts as none, nats per character.
        until_decided: whether seeds are added at planned looks until every comparison is decided.
        most_seeds: the most that a variant may get in such a sweep.
        own_seeds: whether each size of model has seeds of its own; `seed` is then that of the definition.
        tuning: what a sweep has that tunes its variants; `trials` are then those at the baseline's values of the
            nuisance parameters, which are none of the `parameters`.
        left_out: sentences on what could not be read of the sweep.
        pruner: what stops the sweep's trials early; None lets all end.
    """

    name: str
    run_id: str
    method: str
    budget: Budget
    baseline: Variant
    training: Mapping[str, str]
    corpus: str
    corpus_digest: str
    vocab_size: int
    trials: pd.DataFrame
    curves: pd.DataFrame
    positions: pd.DataFrame
    heads: pd.DataFrame
    samples: Mapping[str, str]
    parameters: tuple[str, ...] = HYPERPARAMETERS
    variants_wanted: int | None = None
    margin: float = MARGIN
    until_decided: bool = False
    most_seeds: int = 1
    own_seeds: bool = False
    tuning: Tuning | None = None
    left_out: tuple[str, ...] = ()
    pruner: str | None = None
    character_losses: Mapping[str, NDArray[np.float16]] = field(default_factory=dict)

    @cached_property
    def stopped(self) -> pd.DataFrame:
        """The rows of `trials` that a pruner has stopped; nothing is measured of them."""
        return self.trials[self.trials["outcome"] == STOPPED]

    @cached_property
    def compared(self) -> SweepResults:
        """The same for comparisons: a variant of which a seed was stopped has no finished trials here.

        Those that went on were chosen by their losses, so their mean would be too low.
        """
        if self.stopped.empty:
            return self
        is_biased = self.trials["label"].isin(set(self.stopped["label"])) & (self.trials["outcome"] == FINISHED)
        return dataclasses.replace(
            self, trials=self.trials.assign(outcome=self.trials["outcome"].mask(is_biased, SET_ASIDE))
        )

    @cached_property
    def without_stopped(self) -> SweepResults:
        """The same without the rows of stopped trials."""
        return dataclasses.replace(self, trials=self.trials[self.trials["outcome"] != STOPPED])

    @cached_property
    def set_aside(self) -> list[str]:
        """The labels of the variants with both finished and stopped trials."""
        aside = self.compared.trials[self.compared.trials["outcome"] == SET_ASIDE]
        return sorted(set(aside["label"]))

    @cached_property
    def finished(self) -> pd.DataFrame:
        """The rows of `trials` that have losses."""
        return self.trials[self.trials["outcome"] == FINISHED]

    @cached_property
    def planned_seeds(self) -> list[int]:
        """Every seed that a variant is to be trained with."""
        return sorted(map(int, self.trials["seed"].unique()))

    @cached_property
    def finished_seeds(self) -> list[int]:
        """The seeds that at least one finished trial has."""
        return sorted(map(int, self.finished["seed"].unique()))

    @cached_property
    def varied(self) -> list[str]:
        """The parameters that have more than one level among the finished trials."""
        return [name for name in self.parameters if self.finished[name].nunique() > 1]

    def levels(self, name: str) -> list[float]:
        """The levels of a hyperparameter among the finished trials, rising."""
        return sorted(self.finished[name].unique())

    def base_level(self, name: str) -> float:
        return float(self.baseline.value(name))

    @cached_property
    def is_factorial(self) -> bool:
        """Whether at least two hyperparameters vary and all their combinations are there, each equally often.

        It is not if trials were stopped, even where all of a level were: what is left was chosen by its losses.
        """
        if len(self.varied) < 2 or not self.stopped.empty:
            return False
        counts = self.finished.groupby(self.varied, observed=True).size()
        combinations = list(itertools.product(*(self.levels(name) for name in self.varied)))
        return len(counts) == len(combinations) and counts.nunique() == 1

    @cached_property
    def varies_one_at_a_time(self) -> bool:
        """Whether no finished variant differs from the baseline in more than one hyperparameter."""
        baseline = pd.Series({name: self.base_level(name) for name in self.parameters})
        return bool((self.finished[list(self.parameters)].ne(baseline).sum(axis=1) <= 1).all())

    @cached_property
    def by_variant(self) -> pd.DataFrame:
        """One row a variant with finished trials, best first: means over its seeds, and `n_seeds`, `loss_sd`.

        `loss_sd` is the sample standard deviation of the loss over seeds, NaN of a single one.
        """
        grouped = self.finished.groupby(["label", *self.parameters], sort=False)
        measured = ["n_params", "steps", "tokens", "flops", "train_seconds", "tokens_per_second"]
        losses = ["final_train_loss", "final_val_loss", "best_val_loss"]
        means = grouped[[*measured, *losses]].mean()
        means["n_seeds"] = grouped.size()
        means["loss_sd"] = grouped[LOSS].std()
        means["gap"] = means["final_val_loss"] - means["final_train_loss"]
        return means.reset_index().sort_values([LOSS, "n_params", "label"], ignore_index=True)

    def with_margin(self, margin: float) -> SweepResults:
        """The same results with another margin.

        Raises:
            ConfigError: it is not positive, or the sweep was trained until it was decided with another.
        """
        check_margin(margin)
        if self.until_decided and margin != self.margin:
            raise ConfigError(
                f"the sweep was trained until it was decided with a margin of {self.margin:g}, so its verdicts hold "
                f"for that one alone, but got {margin:g}; leave out --margin",
                field="margin",
            )
        return dataclasses.replace(self, margin=margin)

    def runs_of(self, label: str) -> pd.DataFrame:
        """The finished trials of a variant, by seed."""
        return self.finished[self.finished["label"] == label].sort_values("seed")


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A pre-trained model that was evaluated as a run of its own; losses in nats per character."""

    label: str
    run_id: str
    n_params: int
    train_loss: float
    val_loss: float
    corpus_digest: str
    sample: str


@dataclass(frozen=True, kw_only=True)
class TrialResults:
    """A trial as its run remembers it, finished or not.

    Attributes:
        label, name: the variant's label, and the name of the run.
        status: MLflow's, as FINISHED.
        reason: why it ended early, in one line; empty where it did not, or does not say.
        sweep: the name of the sweep that trained it; None of a trial on its own.
        evaluations: its losses, nats per character, by rising step; NaN where one is missing or not finite.
        metrics: its last finite value of every metric.
        heads: `layer`, `head`, the scores and the `name` of each attention head; empty where they cannot be read.
        sample: None where it cannot be read.
        left_out: sentences on what could not be read.
    """

    run_id: str
    label: str
    name: str
    status: str
    sweep: str | None
    facts: RunFacts
    evaluations: tuple[Evaluation, ...]
    metrics: Mapping[str, float]
    heads: pd.DataFrame
    sample: str | None
    left_out: tuple[str, ...]
    reason: str = ""


def level_name(name: str, level: float) -> str:
    """`n_head=8`, `dropout=0.1`."""
    return as_text(name, level)
