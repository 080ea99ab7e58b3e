"""What differs between two sweeps: which variants both have, and their losses, paired by variant and seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gpt_experiments.analysis.comparison import (
    FactsComparison,
    HeadDifference,
    compare_facts,
    compare_heads,
)
from gpt_experiments.analysis.estimate import Estimate, estimate
from gpt_experiments.analysis.results import LOSS, SweepResults
from gpt_experiments.analysis.verdict import Judged, Verdict, judge_all
from gpt_experiments.parameters import as_text
from gpt_experiments.records import Facts, RunFacts


@dataclass(frozen=True, kw_only=True)
class SeedPair:
    """The finished trials of one variant and seed in two sweeps; losses are those of the last step."""

    seed: int
    run_a: str
    run_b: str
    loss_a: float
    loss_b: float

    @property
    def is_one_run(self) -> bool:
        """Whether both sweeps have the same run, as a trial that is finished is not trained again."""
        return self.run_a == self.run_b


@dataclass(frozen=True, kw_only=True)
class VariantPair:
    """A variant that both sweeps have, with at least one common seed.

    Attributes:
        label_a, label_b: its label in each sweep; they differ where the baselines do.
        judged: validation loss in B minus that in A, nats per character, paired by seed, with the verdict.
    """

    label_a: str
    label_b: str
    seeds: tuple[SeedPair, ...]
    judged: Judged

    @property
    def difference(self) -> Estimate:
        return self.judged.difference

    @property
    def p_adjusted(self) -> float:
        """Its p-value, corrected for all variants; NaN where there is one seed."""
        return self.judged.p_adjusted

    @property
    def label(self) -> str:
        return self.label_a if self.label_a == self.label_b else f"{self.label_a} (B: {self.label_b})"

    @property
    def mean_a(self) -> float:
        """Mean validation loss in A over the common seeds."""
        return sum(pair.loss_a for pair in self.seeds) / len(self.seeds)

    @property
    def mean_b(self) -> float:
        """Mean validation loss in B over the common seeds."""
        return sum(pair.loss_b for pair in self.seeds) / len(self.seeds)

    @property
    def is_one_run(self) -> bool:
        """Whether both sweeps have the same runs of it."""
        return all(pair.is_one_run for pair in self.seeds)

    @property
    def verdict(self) -> Verdict:
        """Whether B is better or worse than A in this variant."""
        return self.judged.verdict


@dataclass(frozen=True, kw_only=True)
class PairedTrials:
    """The finished trials of two sweeps.

    Attributes:
        variants: those of both, the largest difference first.
        only_a, only_b: the labels of those with finished trials in one sweep alone.
        unpaired: the labels of those that both have, but with no common seed.
        overall: the mean difference over all variants of both, one value for each seed that all of them have in both.
    """

    variants: tuple[VariantPair, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    unpaired: tuple[str, ...]
    overall: Estimate | None


def pair_trials(a: SweepResults, b: SweepResults) -> PairedTrials:
    """Pair the finished trials of two sweeps.

    A variant is the same in both if the five hyperparameters are, and every parameter that either sweep varies. Other
    parameters of the training, such as the number of steps, may differ: that is then what is compared.
    """
    keys = list(dict.fromkeys([*a.parameters, *b.parameters]))
    of_a, of_b = _by_variant(a, keys), _by_variant(b, keys)
    pairs: list[tuple[str, str, list[SeedPair]]] = []
    unpaired = []
    for key in of_a.keys() & of_b.keys():
        seeds = _seed_pairs(of_a[key], of_b[key])
        labels = [str(rows["label"].iloc[0]) for rows in (of_a[key], of_b[key])]
        if seeds:
            pairs.append((labels[0], labels[1], seeds))
        else:
            unpaired.append(labels[0])
    return PairedTrials(
        variants=_with_estimates(pairs),
        only_a=_labels(of_a, of_a.keys() - of_b.keys()),
        only_b=_labels(of_b, of_b.keys() - of_a.keys()),
        unpaired=tuple(sorted(unpaired)),
        overall=_overall([seeds for _, _, seeds in pairs]),
    )


_Key = tuple[Any, ...]


def _by_variant(results: SweepResults, keys: Sequence[str]) -> dict[_Key, pd.DataFrame]:
    """The finished trials of each variant."""
    constant = {name: results.baseline.value(name) for name in keys if name not in results.finished}
    rows = results.finished.assign(**constant)
    return {key: group for key, group in rows.groupby(list(keys), sort=False)}


def _labels(variants: dict[_Key, pd.DataFrame], keys: Iterable[_Key]) -> tuple[str, ...]:
    return tuple(sorted(str(variants[key]["label"].iloc[0]) for key in keys))


def _seed_pairs(a: pd.DataFrame, b: pd.DataFrame) -> list[SeedPair]:
    both = a.merge(b, on="seed", suffixes=("_a", "_b")).sort_values("seed")
    return [
        SeedPair(
            seed=int(row["seed"]),
            run_a=row["run_id_a"],
            run_b=row["run_id_b"],
            loss_a=float(row[f"{LOSS}_a"]),
            loss_b=float(row[f"{LOSS}_b"]),
        )
        for row in both.to_dict("records")
    ]


def _with_estimates(pairs: Sequence[tuple[str, str, list[SeedPair]]]) -> tuple[VariantPair, ...]:
    estimates = [estimate([pair.loss_b - pair.loss_a for pair in seeds]) for _, _, seeds in pairs]
    found = [
        VariantPair(label_a=label_a, label_b=label_b, seeds=tuple(seeds), judged=judged)
        for (label_a, label_b, seeds), judged in zip(pairs, judge_all(estimates), strict=True)
    ]
    return tuple(sorted(found, key=lambda pair: (-abs(pair.difference.mean), pair.label)))


def _overall(variants: Sequence[Sequence[SeedPair]]) -> Estimate | None:
    """The mean over variants of each seed that all of them have; None where there is no such seed."""
    by_seed = [{pair.seed: pair.loss_b - pair.loss_a for pair in seeds} for seeds in variants]
    common = set.intersection(*map(set, by_seed)) if by_seed else set()
    values = [sum(of_variant[seed] for of_variant in by_seed) / len(by_seed) for seed in sorted(common)]
    return estimate(values) if values else None


def facts_of_sweep(results: SweepResults, trials: Sequence[RunFacts]) -> RunFacts:
    """What a sweep's results depend on.

    Args:
        trials: the facts of its finished trials; where they differ, all that they say is given.
    """
    levels = {
        name: ", ".join(f"{level:g}" for level in sorted(set(results.trials[name]))) for name in results.parameters
    }
    parameters: dict[str, str | None] = {
        "method": results.method,
        "budget": results.budget,
        "pruner": results.pruner or "none",
        "baseline": " ".join(as_text(name, results.baseline.value(name)) for name in results.parameters),
        **results.training,
        **levels,
        "seeds": ", ".join(map(str, results.planned_seeds)),
    }
    return RunFacts(
        parameters=parameters,
        code=_merged([facts.code for facts in trials]),
        versions=_merged([facts.versions for facts in trials]),
        hardware=_merged([facts.hardware for facts in trials]),
        corpus=_merged([facts.corpus for facts in trials]),
    )


def _merged(sides: Sequence[Facts]) -> dict[str, str | None]:
    """For each name all that is said; None where nobody says anything."""
    merged: dict[str, str | None] = {}
    for name in dict.fromkeys(name for facts in sides for name in facts):
        said = [facts.get(name) for facts in sides]
        known = sorted({text for text in said if text is not None})
        merged[name] = "; ".join([*known, *(["not recorded in some"] if None in said else [])]) if known else None
    return merged


@dataclass(frozen=True, kw_only=True)
class HeadOfVariant:
    """A difference of a head's score, and the variant and seed of the two models."""

    label: str
    seed: int
    head: HeadDifference


@dataclass(frozen=True, kw_only=True)
class SweepDiff:
    """What differs between two sweeps.

    Attributes:
        heads: every score of every head of the variants that both have, of the first common seed, the largest
            difference first.
        notes: sentences on what can be compared, and what cannot.
        left_out: sentences on what could not be read.
    """

    a: SweepResults
    b: SweepResults
    facts: FactsComparison
    trials: PairedTrials
    heads: tuple[HeadOfVariant, ...]
    notes: tuple[str, ...]
    left_out: tuple[str, ...]

    def samples(self, pair: VariantPair) -> tuple[str | None, str | None]:
        """What the two models of a variant's first common seed wrote; None where that cannot be read."""
        first = pair.seeds[0]
        return self.a.samples.get(first.run_a), self.b.samples.get(first.run_b)


def compare_sweeps(
    a: SweepResults, b: SweepResults, trials_a: Sequence[RunFacts], trials_b: Sequence[RunFacts]
) -> SweepDiff:
    """Compare two sweeps.

    Args:
        trials_a, trials_b: the facts of their finished trials.
    """
    facts = compare_facts(facts_of_sweep(a, trials_a), facts_of_sweep(b, trials_b))
    trials = pair_trials(a, b)
    return SweepDiff(
        a=a,
        b=b,
        facts=facts,
        trials=trials,
        heads=tuple(_heads(a, b, trials)),
        notes=tuple(_notes(a, b, trials)),
        left_out=(*(f"of A: {sentence}" for sentence in a.left_out), *(f"of B: {sentence}" for sentence in b.left_out)),
    )


def _heads(a: SweepResults, b: SweepResults, trials: PairedTrials) -> list[HeadOfVariant]:
    found = []
    for pair in trials.variants:
        first = pair.seeds[0]
        if not first.is_one_run:
            of_a, of_b = a.heads[a.heads["run_id"] == first.run_a], b.heads[b.heads["run_id"] == first.run_b]
            found += [HeadOfVariant(label=pair.label, seed=first.seed, head=head) for head in compare_heads(of_a, of_b)]
    return sorted(found, key=lambda each: -each.head.size)


def _notes(a: SweepResults, b: SweepResults, trials: PairedTrials) -> list[str]:
    shared = sum(pair.is_one_run for variant in trials.variants for pair in variant.seeds)
    total = sum(len(variant.seeds) for variant in trials.variants)
    notes = []
    if a.run_id == b.run_id:
        notes.append("A and B are one sweep.")
    elif shared:
        notes.append(
            f"{shared} of {total} pairs of trials are one run, because a trial that is finished is not trained again."
        )
    if a.corpus_digest != b.corpus_digest:
        notes.append("The two learnt from different texts, so their losses cannot be compared.")
    for side, results in (("A", a), ("B", b)):
        if not results.stopped.empty:
            notes.append(
                f"{len(results.stopped)} of {len(results.trials)} trials of {side} were stopped early; their variants "
                "are left out."
            )
    if not trials.variants:
        notes.append("No variant has a finished trial of the same seed in both.")
    return notes
