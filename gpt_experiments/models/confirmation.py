"""Chooses the best of a sweep's contenders with fresh seeds, and measures it with others, which did not choose it.

`benchmarks/champion.md` says why: a loss that has chosen is too low by as much as luck helped, and choosing by the
sweep's seeds and fresh ones together, then measuring with further ones, has no such bias and loses the least.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from gpt_experiments.analysis.contenders import SeedNoise, VariantLosses, contenders
from gpt_experiments.analysis.contest import Contest, contest
from gpt_experiments.analysis.estimate import Estimate, estimate
from gpt_experiments.config import Budget
from gpt_experiments.errors import TrackingError
from gpt_experiments.models.fresh_seeds import (
    ConfirmOptions,
    FreshTrials,
    WantedCorpus,
    choosing_seeds,
    measuring_seeds,
)
from gpt_experiments.models.selection import Candidate
from gpt_experiments.parameters import PARAMETERS
from gpt_experiments.records import FinishedTrial
from gpt_experiments.tracking import Store


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is confirmed: the best of a sweep, or the variant of one trial.

    Attributes:
        name: as `sweep quick`.
        title: what a display calls its training.
        run_id: of the sweep, or of the trial.
        candidates: the variants that could have won, the winner first.
        used_seeds: every seed that it has used.
        steps, budget: how long the baseline trained, and what was equal for every variant.
        is_choice: whether the sweep's losses have chosen the first candidate.
    """

    name: str
    title: str
    run_id: str
    candidates: Sequence[Candidate]
    used_seeds: frozenset[int]
    corpus: WantedCorpus
    steps: int
    budget: Budget
    is_choice: bool


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One of the variants among which fresh seeds choose; means in nats per character.

    Attributes:
        sweep_mean: over the sweep's seeds.
        fresh: the loss of each fresh seed that chose.
        mean: over all of these together; NaN where a fresh seed failed, so that it cannot be chosen.
    """

    label: str
    n_params: int
    sweep_mean: float
    fresh: Mapping[int, float]
    mean: float


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """A variant that was confirmed.

    Attributes:
        candidate: the variant, with the sweep's trials of it.
        contenders: among which it was chosen, the chosen one first; it alone where there was no other.
        left_out: how many more could be as good as the sweep's best, but were too many.
        noise: by which the contenders were found; None where one trial was named.
        losses: of the fresh seeds that measured, which had no part in the choice.
        trials: their runs, by seed.
        lead: over the second by the seeds that chose; None where there is none.
        smaller: a contender with fewer parameters that is equivalent by the fresh seeds, if there is one.
        champion: the losses of the champion's variant on the same seeds, if those were found out too.
        trained: how many trials were trained for it now.
        messages: what was done, a sentence each.
    """

    candidate: Candidate
    contenders: tuple[Contender, ...]
    left_out: int
    noise: SeedNoise | None
    losses: Mapping[int, float]
    trials: Mapping[int, FinishedTrial]
    is_choice: bool
    margin: float
    lead: Contest | None
    smaller: Contender | None
    champion: Mapping[int, float] | None
    trained: int
    messages: tuple[str, ...]

    @property
    def measured(self) -> Estimate:
        """The mean over the fresh seeds that measured."""
        return estimate([*self.losses.values()])

    @property
    def optimism(self) -> float:
        """By how much the sweep's mean was lower than the measured one, nats per character."""
        return self.measured.mean - self.candidate.mean

    @property
    def median(self) -> FinishedTrial:
        """The trial of the median loss among those that measured; of an even number the lower one."""
        ranked = sorted(self.trials.values(), key=lambda trial: (trial.summary.final_val_loss, trial.seed))
        return ranked[(len(ranked) - 1) // 2]


def confirm(subject: Subject, champion: Candidate | None, store: Store, options: ConfirmOptions) -> Confirmation:
    """Train what is missing, choose, and measure.

    Args:
        champion: the champion's variant, to be measured with the same seeds; None where that is not needed.

    Raises:
        KeyboardInterrupt: it was interrupted; the same call goes on.
        TrackingError: no contender has a result for every fresh seed, or the store fails.
        CorpusError: trials are missing, and the text is not at hand.
    """
    return _Confirming(subject, champion, store, options).run()


class _Confirming:
    """One invocation; sentences are said as they come, and kept."""

    def __init__(self, subject: Subject, champion: Candidate | None, store: Store, options: ConfirmOptions) -> None:
        self._subject, self._champion, self._options = subject, champion, options
        self._fresh = FreshTrials(
            store, options, subject.corpus, subject.run_id, steps=subject.steps, budget=subject.budget
        )
        self._measuring = measuring_seeds(options.seeds, subject.used_seeds)
        self._choosing = choosing_seeds(options.seeds, subject.used_seeds)
        self._messages: list[str] = []

    def run(self) -> Confirmation:
        candidates, left_out, noise = self._contenders()
        missing = [self._fresh.missing(one, self._choosing) if len(candidates) > 1 else [] for one in candidates]
        if any(missing):
            self._say_cost(candidates, [len(trials) for trials in missing])
            self._fresh.train(
                f"{self._subject.title} (fresh seeds to choose)", [(one, self._choosing) for one in candidates]
            )
        ranked, given_up = self._ranked(candidates)
        for place, (candidate, _) in enumerate(ranked):
            if self._is_measured(candidate, is_told=any(missing) or place > 0):
                return self._confirmed(ranked[place:], left_out, noise)
            given_up.append(f"{candidate.label}: {self._fresh.why_missing(candidate, self._measuring)}")
            self._say(f"{candidate.label} cannot win: {self._fresh.why_missing(candidate, self._measuring)}")
        raise TrackingError(
            f"{self._subject.name} cannot be confirmed: no variant has a result for every fresh seed "
            f"({'; '.join(given_up[:3])}); give --confirm 0 to register the sweep's best as it is"
        )

    def _contenders(self) -> tuple[list[Candidate], int, SeedNoise | None]:
        """The variants to choose among, best first, how many more there are, and the noise by which they were found."""
        by_label = {candidate.label: candidate for candidate in self._subject.candidates}
        if not self._subject.is_choice:
            return [*by_label.values()], 0, None
        numbers = [name for name, declared in PARAMETERS.items() if declared.is_number]
        found = contenders(
            [
                VariantLosses(
                    label=one.label,
                    n_params=one.n_params,
                    losses={trial.seed: trial.summary.final_val_loss for trial in one.trials},
                    values={name: one.variant.value(name) for name in numbers},
                )
                for one in by_label.values()
            ],
            most=self._options.contenders,
        )
        self._say(_found(found.labels, found.left_out, found.noise, len(by_label)))
        return [by_label[label] for label in found.labels], found.left_out, found.noise

    def _ranked(self, candidates: Sequence[Candidate]) -> tuple[list[tuple[Candidate, Contender]], list[str]]:
        """The contenders with their results, the lowest mean first; and why others can no longer win."""
        if len(candidates) == 1:
            (one,) = candidates
            alone = Contender(label=one.label, n_params=one.n_params, sweep_mean=one.mean, fresh={}, mean=one.mean)
            return [(one, alone)], []
        complete, given_up = [], []
        for one in candidates:
            fresh = {
                seed: trial.summary.final_val_loss for seed, trial in self._fresh.found(one, self._choosing).items()
            }
            if len(fresh) < len(self._choosing):
                given_up.append(f"{one.label}: {self._fresh.why_missing(one, self._choosing)}")
                self._say(f"{one.label} cannot win: {self._fresh.why_missing(one, self._choosing)}")
                continue
            mean = fmean([*(trial.summary.final_val_loss for trial in one.trials), *fresh.values()])
            contender = Contender(label=one.label, n_params=one.n_params, sweep_mean=one.mean, fresh=fresh, mean=mean)
            complete.append((one, contender))
        complete.sort(key=lambda pair: (pair[1].mean, pair[1].n_params, pair[1].label))
        return complete, given_up

    def _is_measured(self, candidate: Candidate, *, is_told: bool) -> bool:
        """Train the variant with the seeds that measure, the champion's too; returns whether all have a result.

        Args:
            is_told: whether what it costs was said before.
        """
        wanted = [(candidate, self._measuring)]
        if self._champion is not None:
            wanted.append((self._champion, self._champions_seeds()))
        missing = [len(self._fresh.missing(one, seeds)) for one, seeds in wanted]
        if not is_told:
            self._say_measuring_cost([one for one, _ in wanted], missing)
        self._fresh.train(f"{self._subject.title} (fresh seeds to measure)", wanted)
        return len(self._fresh.found(candidate, self._measuring)) == len(self._measuring)

    def _champions_seeds(self) -> tuple[int, ...]:
        """The seeds that measure, but for those that the champion's own trial has used."""
        assert self._champion is not None
        used = {trial.seed for trial in self._champion.trials}
        return tuple(seed for seed in self._measuring if seed not in used)

    def _confirmed(
        self, ranked: Sequence[tuple[Candidate, Contender]], left_out: int, noise: SeedNoise | None
    ) -> Confirmation:
        (candidate, winner), others = ranked[0], [contender for _, contender in ranked[1:]]
        trials = self._fresh.found(candidate, self._measuring)
        champion = self._champion and {
            seed: trial.summary.final_val_loss
            for seed, trial in self._fresh.found(self._champion, self._champions_seeds()).items()
        }
        margin = self._options.margin
        equivalent = [
            other
            for other in others
            if other.n_params < winner.n_params
            and (between := contest(winner.fresh, other.fresh, margin)) is not None
            and between.is_equivalent
        ]
        return Confirmation(
            candidate=candidate,
            contenders=(winner, *others),
            left_out=left_out,
            noise=noise,
            losses={seed: trial.summary.final_val_loss for seed, trial in trials.items()},
            trials=trials,
            is_choice=self._subject.is_choice,
            margin=margin,
            lead=contest(_all_losses(ranked[0]), _all_losses(ranked[1]), margin) if others else None,
            smaller=min(equivalent, key=lambda other: (other.n_params, other.mean), default=None),
            champion=champion or None,
            trained=self._fresh.trained,
            messages=tuple(self._messages),
        )

    def _say_cost(self, candidates: Sequence[Candidate], missing: Sequence[int]) -> None:
        """Say what choosing and then measuring will cost."""
        measuring = [(candidates[0], len(self._measuring))]
        if self._champion is not None:
            measuring.append((self._champion, len(self._fresh.missing(self._champion, self._champions_seeds()))))
        seconds = self._fresh.seconds([*zip(candidates, missing, strict=True), *measuring])
        champion = f" and {measuring[1][1]} of the champion" if len(measuring) > 1 else ""
        self._say(
            f"{sum(missing) + sum(count for _, count in measuring)} trials to train, {_duration(seconds)}: "
            f"{sum(missing)} with {_seeds(self._choosing)} to choose, then {len(self._measuring)} of the chosen "
            f"variant{champion} with {_seeds(self._measuring)} to measure"
        )

    def _say_measuring_cost(self, candidates: Sequence[Candidate], missing: Sequence[int]) -> None:
        if not any(missing):
            self._say("all trials on fresh seeds are finished already: nothing is trained")
            return
        seconds = self._fresh.seconds([*zip(candidates, missing, strict=True)])
        self._say(
            f"{sum(missing)} trial{'s' if sum(missing) > 1 else ''} to train, {_duration(seconds)}, with "
            f"{_seeds(self._measuring)} to measure"
        )

    def _say(self, sentence: str) -> None:
        self._messages.append(sentence)
        self._options.say(sentence)


def _all_losses(of: tuple[Candidate, Contender]) -> dict[int, float]:
    candidate, contender = of
    return {**{trial.seed: trial.summary.final_val_loss for trial in candidate.trials}, **contender.fresh}


def _found(labels: Sequence[str], left_out: int, noise: SeedNoise, variants: int) -> str:
    """The sentence on which variants could be the best."""
    known = {
        "paired seeds": "pooled over its variants, without what a seed does to all of them",
        "seeds": "pooled over its variants",
        "factorial": "what interactions of three and more hyperparameters leave, since it has one seed",
        "guess": "a guess, since it has one seed",
    }[noise.source]
    by = f"with noise of {noise.sd:.4f} nats per character ({known})"
    if len(labels) == 1 and not left_out:
        return f"no other variant of {variants} could be the best by this sweep, {by}"
    more = f", and {left_out} more, which are left out: --contenders takes more" if left_out else ""
    return (
        f"{len(labels) + left_out} of {variants} variants could be the best by this sweep, {by}: "
        f"{', '.join(labels)}{more}"
    )


def _seeds(seeds: Sequence[int]) -> str:
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    if seeds[-1] - seeds[0] == len(seeds) - 1:
        return f"seeds {seeds[0]} to {seeds[-1]}"
    return f"seeds {', '.join(map(str, seeds))}"


def _duration(seconds: float) -> str:
    """A rough duration, at the pace of earlier trials."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"about {minutes} min" if minutes < 90 else f"about {minutes / 60:.1f} h"
