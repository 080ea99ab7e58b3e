"""Chooses the best variant of a sweep, and its best trial, from their results alone.

A checkpoint holds the weights after the last step, so the validation loss there decides (`final_val_loss`). The weights
of the lowest loss during training are not kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from gpt_experiments.config import Variant
from gpt_experiments.errors import TrackingError
from gpt_experiments.records import FinishedTrial, StoredTrial

_MOST_NAMED: Final = 5


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The best variant of a sweep and its best trial.

    Attributes:
        trials: the variant's finished trials, the best one first.
        mean_val_loss: over the variant's finished seeds, after the last step, nats per character.
        n_seeds: how many those are.
        n_variants: how many variants had a finished trial to be compared with.
        notices: what a reader should know of how it was chosen, a sentence each.
        eligible: the variants that could have won, the winner first: those that lack no seed, or where none is complete
            those with the most.
    """

    label: str
    trials: tuple[FinishedTrial, ...]
    mean_val_loss: float
    n_seeds: int
    n_variants: int
    notices: tuple[str, ...]
    eligible: tuple[Candidate, ...]

    @property
    def trial(self) -> FinishedTrial:
        """The best trial."""
        return self.trials[0]


@dataclass(frozen=True)
class Candidate:
    """A variant with its finished trials and those that are not, by seed."""

    label: str
    variant: Variant
    n_params: int
    trials: tuple[FinishedTrial, ...]
    unfinished: tuple[StoredTrial, ...]

    @property
    def mean(self) -> float:
        """The mean final validation loss over its finished seeds."""
        return fmean(trial.summary.final_val_loss for trial in self.trials)

    @property
    def mean_best(self) -> float:
        return fmean(trial.summary.best_val_loss for trial in self.trials)


def choose_best(trials: Sequence[StoredTrial]) -> Choice:
    """The variant with the lowest mean final validation loss over seeds, and its trial with the lowest.

    A variant with an unfinished seed cannot win over a complete one; if none is complete, the most finished seeds go
    first. Equal means go to fewer parameters, then to the label that sorts first.

    Raises:
        TrackingError: no trial is finished.
    """
    candidates = _candidates(trials)
    ranked = sorted((e for e in candidates if e.trials), key=_rank)
    if not ranked:
        raise TrackingError(
            f"none of the {len(trials)} trials is finished ({_reasons(candidates)}); run the sweep again"
        )
    winner = ranked[0]
    complete = [candidate for candidate in ranked if not candidate.unfinished]
    notices = _incomplete(candidates, winner) + _ties(ranked) + _lower_on_the_way(complete, winner)
    return Choice(
        label=winner.label,
        trials=tuple(sorted(winner.trials, key=lambda trial: (trial.summary.final_val_loss, trial.seed))),
        mean_val_loss=winner.mean,
        n_seeds=len(winner.trials),
        n_variants=len(ranked),
        notices=tuple(notices),
        eligible=tuple(candidate for candidate in ranked if _rank(candidate)[:2] == _rank(winner)[:2]),
    )


def _candidates(trials: Sequence[StoredTrial]) -> list[Candidate]:
    by_label: dict[str, list[StoredTrial]] = {}
    for trial in sorted(trials, key=lambda trial: trial.seed):
        by_label.setdefault(trial.label, []).append(trial)
    return [
        Candidate(
            label=label,
            variant=group[0].variant,
            n_params=group[0].n_params,
            trials=tuple(trial.finished for trial in group if trial.finished),
            unfinished=tuple(trial for trial in group if not trial.finished),
        )
        for label, group in by_label.items()
    ]


def _rank(candidate: Candidate) -> tuple[bool, int, float, int, str]:
    incomplete = bool(candidate.unfinished)
    return incomplete, -len(candidate.trials) if incomplete else 0, candidate.mean, candidate.n_params, candidate.label


def _incomplete(candidates: Sequence[Candidate], winner: Candidate) -> list[str]:
    """Sentences on variants that lack a seed; those that would have won come first."""
    lacking = [candidate for candidate in candidates if candidate.unfinished and candidate is not winner]
    lacking.sort(key=lambda candidate: candidate.mean if candidate.trials else float("inf"))
    sentences = []
    if winner.unfinished:
        sentences.append(f"no variant is complete; {winner.label} is the best, of which {_unfinished(winner)}")
    for candidate in lacking[:_MOST_NAMED]:
        lower = candidate.trials and candidate.mean < winner.mean
        means = f" with a lower mean of {candidate.mean:.4f} so far" if lower else ""
        sentences.append(f"{candidate.label}{means} cannot win: {_unfinished(candidate)}")
    if len(lacking) > _MOST_NAMED:
        sentences.append(f"{len(lacking) - _MOST_NAMED} more variants lack a seed and cannot win")
    return sentences


def _unfinished(candidate: Candidate) -> str:
    return ", ".join(f"seed {trial.seed} {_state(trial)}" for trial in candidate.unfinished)


def _state(trial: StoredTrial) -> str:
    if trial.stop is not None:
        return f"was stopped at step {trial.stop.step:,} by the {trial.stop.pruner} pruner"
    if trial.has_failed:
        return f"failed ({trial.reason})" if trial.reason else "failed"
    return f"has no result ({trial.reason})" if trial.reason else "is not trained yet"


def _ties(ranked: Sequence[Candidate]) -> list[str]:
    winner, *others = ranked
    tied = [e for e in others if (e.mean, _rank(e)[:2]) == (winner.mean, _rank(winner)[:2])]
    if not tied:
        return []
    fewer = all(candidate.n_params > winner.n_params for candidate in tied)
    why = (
        f"has the fewest parameters, {winner.n_params:,}"
        if fewer
        else "has no more parameters, and its name sorts first"
    )
    labels = ", ".join(candidate.label for candidate in tied[:_MOST_NAMED])
    more = f" and {len(tied) - _MOST_NAMED} more" if len(tied) > _MOST_NAMED else ""
    return [f"{winner.label} ties with {labels}{more}; it wins because it {why}"]


def _lower_on_the_way(complete: Sequence[Candidate], winner: Candidate) -> list[str]:
    """A sentence if the lowest losses during training would have chosen another variant."""
    rival = min(complete, key=lambda candidate: candidate.mean_best, default=winner)
    if rival is winner or rival.mean_best >= winner.mean_best:
        return []
    return [
        f"{rival.label} was lower during training (mean best validation loss {rival.mean_best:.4f}, {winner.label} "
        f"{winner.mean_best:.4f}), but the saved models are those after the last step, so the loss there decides"
    ]


def _reasons(candidates: Sequence[Candidate]) -> str:
    first = [f"{candidate.label}: {_unfinished(candidate)}" for candidate in candidates[:_MOST_NAMED]]
    return "; ".join(first) if first else "its plan is empty"
