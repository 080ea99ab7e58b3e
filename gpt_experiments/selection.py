"""Which variant of a sweep is the best, and which of its trials: decided from results alone.

A model is kept as it was after the last step, so the validation loss there decides (`final_val_loss`), not the lowest
one on the way, whose weights nobody has any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from gpt_experiments.errors import TrackingError
from gpt_experiments.tracking import FinishedTrial
from gpt_experiments.tracking.sweep_cells import SweepCell

_MOST_TOLD: Final = 5


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The best variant of a sweep and its best trial.

    Attributes:
        trials: the variant's finished trials, the best one first.
        mean_val_loss: over the variant's finished seeds, after the last step, nats per character.
        n_seeds: how many those are.
        n_variants: how many variants had a finished trial to be compared with.
        noticed: what a reader should know of how it was chosen, a sentence each.
    """

    label: str
    trials: tuple[FinishedTrial, ...]
    mean_val_loss: float
    n_seeds: int
    n_variants: int
    noticed: tuple[str, ...]

    @property
    def trial(self) -> FinishedTrial:
        """The best trial."""
        return self.trials[0]


@dataclass(frozen=True)
class _Entrant:
    """A variant with its finished trials and the cells that have none."""

    label: str
    n_params: int
    trials: tuple[FinishedTrial, ...]
    unfinished: tuple[SweepCell, ...]

    @property
    def mean(self) -> float:
        return fmean(trial.final_val_loss for trial in self.trials)

    @property
    def mean_best(self) -> float:
        return fmean(trial.best_val_loss for trial in self.trials)


def choose_best(cells: Sequence[SweepCell]) -> Choice:
    """The variant with the lowest mean final validation loss over seeds, and its trial with the lowest.

    A variant of which a seed is not finished cannot win over one that is complete; where none is complete, the most
    finished seeds go first. Equal means go to fewer parameters, then to the label that sorts first.

    Raises:
        TrackingError: no trial is finished.
    """
    entrants = _entrants(cells)
    ranked = sorted((e for e in entrants if e.trials), key=_rank)
    if not ranked:
        raise TrackingError(f"none of the {len(cells)} trials is finished ({_reasons(entrants)}); run the sweep again")
    winner = ranked[0]
    complete = [entrant for entrant in ranked if not entrant.unfinished]
    noticed = _incomplete(entrants, winner) + _ties(ranked) + _lower_on_the_way(complete, winner)
    return Choice(
        label=winner.label,
        trials=tuple(sorted(winner.trials, key=lambda trial: (trial.final_val_loss, trial.seed))),
        mean_val_loss=winner.mean,
        n_seeds=len(winner.trials),
        n_variants=len(ranked),
        noticed=tuple(noticed),
    )


def _entrants(cells: Sequence[SweepCell]) -> list[_Entrant]:
    by_label: dict[str, list[SweepCell]] = {}
    for cell in cells:
        by_label.setdefault(cell.label, []).append(cell)
    return [
        _Entrant(
            label=label,
            n_params=group[0].n_params,
            trials=tuple(cell.trial for cell in group if cell.trial),
            unfinished=tuple(cell for cell in group if cell.trial is None),
        )
        for label, group in by_label.items()
    ]


def _rank(entrant: _Entrant) -> tuple[bool, int, float, int, str]:
    incomplete = bool(entrant.unfinished)
    return incomplete, -len(entrant.trials) if incomplete else 0, entrant.mean, entrant.n_params, entrant.label


def _incomplete(entrants: Sequence[_Entrant], winner: _Entrant) -> list[str]:
    """What is said of variants that lack a seed: those that would have won come first."""
    lacking = [entrant for entrant in entrants if entrant.unfinished and entrant is not winner]
    lacking.sort(key=lambda entrant: entrant.mean if entrant.trials else float("inf"))
    sentences = []
    if winner.unfinished:
        sentences.append(f"no variant is complete; of {winner.label} {_unfinished(winner)}")
    for entrant in lacking[:_MOST_TOLD]:
        lower = entrant.trials and entrant.mean < winner.mean
        means = f" with a lower mean of {entrant.mean:.4f} so far" if lower else ""
        sentences.append(f"{entrant.label}{means} cannot win: {_unfinished(entrant)}")
    if len(lacking) > _MOST_TOLD:
        sentences.append(f"{len(lacking) - _MOST_TOLD} more variants lack a seed and cannot win")
    return sentences


def _unfinished(entrant: _Entrant) -> str:
    return ", ".join(f"seed {cell.seed} {cell.problem}" for cell in entrant.unfinished)


def _ties(ranked: Sequence[_Entrant]) -> list[str]:
    winner, *others = ranked
    tied = [e for e in others if (e.mean, _rank(e)[:2]) == (winner.mean, _rank(winner)[:2])]
    if not tied:
        return []
    fewer = all(entrant.n_params > winner.n_params for entrant in tied)
    why = f"has the fewest parameters, {winner.n_params:,}" if fewer else "has no more parameters, and sorts first"
    labels = ", ".join(entrant.label for entrant in tied[:_MOST_TOLD])
    more = f" and {len(tied) - _MOST_TOLD} more" if len(tied) > _MOST_TOLD else ""
    return [f"{winner.label} ties with {labels}{more}; it wins because it {why}"]


def _lower_on_the_way(complete: Sequence[_Entrant], winner: _Entrant) -> list[str]:
    """What is said where the lowest losses on the way would have chosen another variant."""
    rival = min(complete, key=lambda entrant: entrant.mean_best, default=winner)
    if rival is winner or rival.mean_best >= winner.mean_best:
        return []
    return [
        f"{rival.label} was lower on the way (mean best validation loss {rival.mean_best:.4f}, {winner.label} "
        f"{winner.mean_best:.4f}), but models are kept from after the last step, so the loss there decides"
    ]


def _reasons(entrants: Sequence[_Entrant]) -> str:
    first = [f"{entrant.label}: {_unfinished(entrant)}" for entrant in entrants[:_MOST_TOLD]]
    return "; ".join(first) if first else "its plan is empty"
