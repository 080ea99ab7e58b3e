"""Early stopping: which running trials are not worth their last steps, as Optuna's pruners decide it.

Every trial is one trial to the pruner, so several seeds of one variant are several. Trials are compared by the share of
their training that they have behind them, so that they may have different numbers of steps: the evaluations of the
baseline divide training into equal parts, and an evaluation that lies near the end of a part counts as made there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, Final

from gpt_experiments import names
from gpt_experiments.config import Variant
from gpt_experiments.records import EarlyStop
from gpt_experiments.sweep.methods.space import make_study

if TYPE_CHECKING:
    import optuna
    from optuna.pruners import BasePruner
    from optuna.trial import FrozenTrial

    from gpt_experiments.sweep.definition import SweepDefinition

PRUNERS: Final = ("median", "halving", "hyperband")
"""The pruners by their names in a sweep file."""

_FEWEST: Final = 4  # trials, of which a median says something
_KEPT: Final = 2  # halving: one of so many goes on
_EARLIEST: Final = 8  # no trial is stopped before one part in so many of its training
_FARTHEST: Final = 0.25  # parts, between an evaluation and the end of the part that it counts for


class Pruning:
    """Keeps the losses of all trials of a sweep, and finds those to stop; without a stopped trial it changes nothing.

    The last evaluation stops nothing: its trial is trained. What is stopped depends on which trials were evaluated
    before, so with several workers it may differ from one run of a sweep to the next.
    """

    def __init__(self, definition: SweepDefinition) -> None:
        import optuna

        assert definition.pruner is not None
        self.name = definition.pruner
        self._parts = definition.training.steps / definition.training.eval_interval
        sampler = optuna.samplers.RandomSampler(seed=names.DEFAULT_SEED)  # it has nothing to draw
        self._pruner = _make_pruner(definition.pruner, self._parts)
        self._study = make_study(sampler, self._pruner)
        self._trials: dict[tuple[Variant, int], optuna.Trial] = {}
        self._stopped: set[tuple[Variant, int]] = set()

    def evaluated(self, variant: Variant, seed: int, step: int, val_loss: float, *, steps: int) -> EarlyStop | None:
        """Note a running trial's validation loss, nats per character; returns why it should end now, None if not.

        Args:
            steps: of the trial's whole training.
        """
        if (variant, seed) in self._stopped or not self._note(variant, seed, step, val_loss, steps):
            return None
        trial = self._trials[variant, seed]
        if not trial.should_prune():
            return None
        self._stopped.add((variant, seed))
        value, limit, against, trials = self._compared(trial.number)
        return EarlyStop(
            pruner=self.name, step=step, steps=steps, val_loss=value, limit=limit, against=against, trials=trials
        )

    def ended(self, variant: Variant, seed: int, best_val_loss: float | None) -> None:
        """Note how a trial that was trained here has ended; a stopped or a failed one has no loss."""
        from optuna.trial import TrialState

        trial = self._trial(variant, seed)
        if best_val_loss is not None:
            self._stopped.discard((variant, seed))  # the request came too late
            self._study.tell(trial, best_val_loss)
        else:
            state = TrialState.PRUNED if (variant, seed) in self._stopped else TrialState.FAIL
            self._study.tell(trial, state=state)

    def learn(
        self, variant: Variant, seed: int, val_losses: Mapping[int, float], *, steps: int, best_val_loss: float | None
    ) -> None:
        """Learn of a trial that ended before.

        Args:
            val_losses: nats per character, by step.
            best_val_loss: None of a trial that was stopped.
        """
        if (variant, seed) in self._trials:
            return
        for step, val_loss in sorted(val_losses.items()):
            if self._note(variant, seed, step, val_loss, steps):
                self._trials[variant, seed].should_prune()  # halving notes there how far the trial has come
        if best_val_loss is None:
            self._stopped.add((variant, seed))
        self.ended(variant, seed, best_val_loss)

    def has_stopped(self, variant: Variant) -> bool:
        """Whether a trial of the variant was stopped."""
        return any(stopped == variant for stopped, _ in self._stopped)

    def course(self, variant: Variant) -> dict[int, float]:
        """The variant's mean validation loss over its seeds after each part of training that all of them completed."""
        of_seeds = [
            self._frozen(trial.number).intermediate_values for (of, _), trial in self._trials.items() if of == variant
        ]
        shared = set.intersection(*map(set, of_seeds)) if of_seeds else set()
        return {part: fmean(losses[part] for losses in of_seeds) for part in sorted(shared)}

    def _note(self, variant: Variant, seed: int, step: int, val_loss: float, steps: int) -> bool:
        """Report the loss to Optuna, if it is the first after a part of training other than the last."""
        trial, part = self._trial(variant, seed), self._part(step, steps)
        if part is None or part in self._frozen(trial.number).intermediate_values:
            return False
        trial.report(val_loss, part)
        return True

    def _part(self, step: int, steps: int) -> int | None:
        """How many parts of the training are complete after that step; None if no other trial is compared there."""
        position = step / steps * self._parts
        part = round(position)
        return part if part >= 1 and step < steps and abs(position - part) <= _FARTHEST else None

    def _trial(self, variant: Variant, seed: int) -> optuna.Trial:
        if (variant, seed) not in self._trials:
            self._trials[variant, seed] = self._study.ask()
        return self._trials[variant, seed]

    def _frozen(self, number: int) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[number]

    def _compared(self, number: int) -> tuple[float, float, str, int]:
        """What a pruned trial was compared with: its loss, the highest that goes on, of which trials, how many."""
        trial = self._frozen(number)
        if self.name == "median":
            return _against_median(trial, self._study)
        rivals = self._study.get_trials(deepcopy=False)
        if self.name == "hyperband":
            pruner: Any = self._pruner
            bracket = pruner._get_bracket_id(self._study, trial)  # no public name says which trials compete
            rivals = [rival for rival in rivals if pruner._get_bracket_id(self._study, rival) == bracket]
        return _against_best(trial, rivals)


def _make_pruner(name: str, parts: float) -> BasePruner:
    """The pruner of that name; its resource is a part of training, as long as from one evaluation to the next.

    It stops nothing before an eighth of the training: losses there say little of the last ones.
    """
    import optuna

    first = max(1, math.ceil(parts / _EARLIEST))
    if name == "median":
        return optuna.pruners.MedianPruner(_FEWEST, first, n_min_trials=_FEWEST)
    if name == "halving":
        return optuna.pruners.SuccessiveHalvingPruner(first, _KEPT)
    return optuna.pruners.HyperbandPruner(first, max(first, math.floor(parts)), _KEPT)


def _against_median(trial: FrozenTrial, study: optuna.Study) -> tuple[float, float, str, int]:
    from optuna.trial import TrialState

    part = trial.last_step
    assert part is not None
    trained = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    losses = [other.intermediate_values[part] for other in trained if part in other.intermediate_values]
    return min(trial.intermediate_values.values()), median(losses), f"the median of {len(losses)} trials", len(losses)


def _against_best(trial: FrozenTrial, rivals: list[FrozenTrial]) -> tuple[float, float, str, int]:
    rung = max((key for key in trial.system_attrs if key.startswith("completed_rung_")), key=lambda key: int(key[15:]))
    losses = sorted(rival.system_attrs[rung] for rival in rivals if rung in rival.system_attrs)
    kept = max(1, len(losses) // _KEPT)
    best = f"the best {kept} of {len(losses)} trials" if kept > 1 else f"the best of {len(losses)} trials"
    return trial.system_attrs[rung], losses[kept - 1], best, len(losses)
