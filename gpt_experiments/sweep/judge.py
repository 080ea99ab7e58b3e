"""Tells a sweep's pruner of all trials, of those that train here and of those that the store has already."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gpt_experiments.config import Variant
from gpt_experiments.errors import StoreAwayError
from gpt_experiments.records import EarlyStop, PlannedTrial
from gpt_experiments.sweep.methods import Pruning
from gpt_experiments.training.events import Evaluation, TrainingSummary

ValLosses = Callable[[str], Mapping[int, float]]
"""Reads the validation losses of a run, nats per character, by step."""


class Judge:
    """Decides whether running trials go on.

    The losses of stored runs are read when they are first needed: not at all if nothing has to be trained.
    """

    def __init__(self, pruning: Pruning, val_losses: ValLosses) -> None:
        self._pruning, self._val_losses = pruning, val_losses
        self._unread: list[PlannedTrial] = []

    def evaluated(self, planned: PlannedTrial, evaluation: Evaluation) -> EarlyStop | None:
        """Why a running trial should end after these losses; None lets it go on."""
        self._read()
        trial = planned.trial
        return self._pruning.evaluated(
            planned.variant, trial.seed, evaluation.step, evaluation.val_loss, steps=trial.training.steps
        )

    def ended(self, planned: PlannedTrial, summary: TrainingSummary | None) -> None:
        """Note how a trial has ended, now or before."""
        if planned.needs_training:
            best = None if summary is None else summary.best_val_loss
            self._pruning.ended(planned.variant, planned.trial.seed, best)
        else:
            self._unread.append(planned)

    def course_of_stopped(self, variant: Variant) -> dict[int, float] | None:
        """The mean losses on the way of a variant of which a trial was stopped; None if none was."""
        self._read()
        return self._pruning.course(variant) if self._pruning.has_stopped(variant) else None

    def _read(self) -> None:
        while self._unread:
            planned = self._unread[0]
            stored = planned.done or planned.stopped
            assert stored is not None
            try:
                val_losses = self._val_losses(stored.run_id)
            except StoreAwayError:
                return  # decided without them for now, because training goes on while the store is away
            del self._unread[0]
            self._pruning.learn(
                planned.variant,
                planned.trial.seed,
                val_losses,
                steps=planned.trial.training.steps,
                best_val_loss=planned.done.summary.best_val_loss if planned.done is not None else None,
            )
