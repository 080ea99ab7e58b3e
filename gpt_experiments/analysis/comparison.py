"""What differs between two trials: what their results depend on, their losses, their attention heads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from gpt_experiments import names
from gpt_experiments.analysis.results import TrialResults
from gpt_experiments.parameters import PARAMETERS, SHAPE
from gpt_experiments.records import RunFacts
from gpt_experiments.training.events import Evaluation


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing in which two runs differ, as each of them says it; None where one does not say.

    Attributes:
        group: what it is about: `parameters`, `code`, `versions`, `hardware` or `corpus`.
    """

    group: str
    name: str
    a: str | None
    b: str | None


@dataclass(frozen=True, kw_only=True)
class FactsComparison:
    """What two runs depend on.

    Attributes:
        alike: how many things are the same.
        unknown: the names of those that neither run says.
    """

    differing: tuple[Difference, ...]
    alike: int
    unknown: tuple[str, ...]

    def of(self, group: str) -> tuple[Difference, ...]:
        """The differences of one group."""
        return tuple(difference for difference in self.differing if difference.group == group)


def compare_facts(a: RunFacts, b: RunFacts) -> FactsComparison:
    """Compare everything that two results depend on, in the order in which `a` has it."""
    differing: list[Difference] = []
    alike, unknown = 0, []
    theirs = b.groups()
    for group, facts in a.groups().items():
        others = theirs[group]
        for name in dict.fromkeys([*facts, *others]):
            one, other = facts.get(name), others.get(name)
            if one is None and other is None:
                unknown.append(name)
            elif _are_alike(name, one, other):
                alike += 1
            else:
                differing.append(Difference(group=group, name=name, a=one, b=other))
    return FactsComparison(differing=tuple(differing), alike=alike, unknown=tuple(unknown))


def _are_alike(name: str, one: str | None, other: str | None) -> bool:
    """Whether two texts say the same; a parameter's value may be written in several ways."""
    if one == other or one is None or other is None or name not in PARAMETERS:
        return one == other
    try:
        return bool(PARAMETERS[name].parse(one) == PARAMETERS[name].parse(other))
    except ValueError:  # somebody edited one of them
        return False


@dataclass(frozen=True, kw_only=True)
class LossPair:
    """The losses of two trials at one step; NaN where one is not known or not finite."""

    a: Evaluation
    b: Evaluation

    @property
    def step(self) -> int:
        return self.a.step

    @property
    def train_difference(self) -> float:
        """Training loss of B minus that of A, nats per character."""
        return self.b.train_loss - self.a.train_loss

    @property
    def val_difference(self) -> float:
        """Validation loss of B minus that of A, nats per character."""
        return self.b.val_loss - self.a.val_loss

    @property
    def is_identical(self) -> bool:
        """Whether both losses are the same numbers, bit for bit."""
        return _same(self.a.train_loss, self.b.train_loss) and _same(self.a.val_loss, self.b.val_loss)


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


@dataclass(frozen=True, kw_only=True)
class CurveComparison:
    """The losses of two trials.

    Attributes:
        pairs: those at the steps at which both were evaluated, rising.
        only_a, only_b: the other steps.
    """

    pairs: tuple[LossPair, ...]
    only_a: tuple[int, ...]
    only_b: tuple[int, ...]

    @property
    def parted(self) -> LossPair | None:
        """The first common step at which a loss differs; None where none does."""
        return next((pair for pair in self.pairs if not pair.is_identical), None)

    @property
    def is_identical(self) -> bool:
        """Whether both were evaluated at the same steps, at least one, with the same losses bit for bit."""
        return bool(self.pairs) and not self.only_a and not self.only_b and self.parted is None


def compare_curves(a: Sequence[Evaluation], b: Sequence[Evaluation]) -> CurveComparison:
    """Compare losses step by step."""
    of_a, of_b = ({evaluation.step: evaluation for evaluation in side} for side in (a, b))
    return CurveComparison(
        pairs=tuple(LossPair(a=of_a[step], b=of_b[step]) for step in sorted(of_a.keys() & of_b.keys())),
        only_a=tuple(sorted(of_a.keys() - of_b.keys())),
        only_b=tuple(sorted(of_b.keys() - of_a.keys())),
    )


@dataclass(frozen=True, kw_only=True)
class MetricDifference:
    """One number of two runs; None where one does not have it."""

    name: str
    a: float | None
    b: float | None

    @property
    def difference(self) -> float | None:
        """B minus A; None where one is not known."""
        return None if self.a is None or self.b is None else self.b - self.a


def compare_metrics(
    a: Mapping[str, float], b: Mapping[str, float], wanted: Iterable[str]
) -> tuple[MetricDifference, ...]:
    """Compare the metrics that at least one of the two has."""
    return tuple(MetricDifference(name=name, a=a.get(name), b=b.get(name)) for name in wanted if name in {*a, *b})


@dataclass(frozen=True, kw_only=True)
class HeadDifference:
    """One score of one attention head, in two models.

    Attributes:
        layer, head: counted from 1.
        what_a, what_b: what the head does, as the scores show it; empty where they show nothing.
    """

    layer: int
    head: int
    score: str
    a: float
    b: float
    what_a: str
    what_b: str

    @property
    def size(self) -> float:
        """How far apart the two are, from 0 to 1: the difference of shares, the relative one of multiples of chance."""
        distance = abs(self.b - self.a)
        return distance / max(self.a, self.b, 1.0) if self.score in names.MULTIPLES_OF_CHANCE else distance


_HEAD: Final = ["layer", "head"]


def compare_heads(a: pd.DataFrame, b: pd.DataFrame) -> list[HeadDifference]:
    """Compare the scores of the heads that two models have at the same place; the largest difference first.

    That says something only of models with the same seed and shape: in two others, heads at one place may well do
    different things by chance. Scores that were not measured are left out.

    Args:
        a, b: `layer`, `head`, the scores, and `name`, what the head does.
    """
    both = a.merge(b, on=_HEAD, suffixes=("_a", "_b"))
    found = [
        HeadDifference(
            layer=int(row["layer"]),
            head=int(row["head"]),
            score=score,
            a=row[f"{score}_a"],
            b=row[f"{score}_b"],
            what_a=str(row["name_a"]),
            what_b=str(row["name_b"]),
        )
        for row in both.to_dict("records")
        for score in names.HEAD_SCORES
        if math.isfinite(row[f"{score}_a"]) and math.isfinite(row[f"{score}_b"])
    ]
    return sorted(found, key=lambda head: -head.size)


_NUMBERS: Final = (
    names.FINAL_VAL_LOSS,
    names.FINAL_TRAIN_LOSS,
    names.BEST_VAL_LOSS,
    names.N_PARAMS,
    names.TRAIN_SECONDS,
    names.EVAL_SECONDS,
    names.TOKENS_PER_SECOND,
)


@dataclass(frozen=True, kw_only=True)
class TrialDiff:
    """What differs between two trials.

    Attributes:
        metrics: the numbers at their ends.
        heads: every score of every head that both have, the largest difference first.
        notes: sentences on what can be compared, and what cannot.
        left_out: sentences on what could not be read.
    """

    a: TrialResults
    b: TrialResults
    facts: FactsComparison
    curves: CurveComparison
    metrics: tuple[MetricDifference, ...]
    heads: tuple[HeadDifference, ...]
    notes: tuple[str, ...]
    left_out: tuple[str, ...]


def compare_trials(a: TrialResults, b: TrialResults) -> TrialDiff:
    """Compare two trials' runs, finished or not."""
    facts = compare_facts(a.facts, b.facts)
    return TrialDiff(
        a=a,
        b=b,
        facts=facts,
        curves=compare_curves(a.evaluations, b.evaluations),
        metrics=compare_metrics(a.metrics, b.metrics, _NUMBERS),
        heads=tuple(compare_heads(a.heads, b.heads)),
        notes=tuple(_notes(a, b, facts)),
        left_out=(*a.left_out, *b.left_out),
    )


def _notes(a: TrialResults, b: TrialResults, facts: FactsComparison) -> list[str]:
    differing = {difference.name for difference in facts.of("parameters")}
    notes = []
    if a.run_id == b.run_id:
        notes.append("A and B are one run.")
    if any(difference.name == "SHA-256" for difference in facts.of("corpus")):
        notes.append("The two learnt from different texts, so their losses cannot be compared.")
    if not differing and a.run_id != b.run_id:
        notes.append("All parameters are the same, so on the same device both should have the same losses.")
    if (differing & {*SHAPE, names.SEED}) and len(a.heads) and len(b.heads):
        notes.append(
            "Seed or shape differ, so heads at one place need not do the same: they are compared by place alone."
        )
    return notes
