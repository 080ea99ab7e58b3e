"""What a comparison of two trials or two sweeps says, in sentences and in numbers for readers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from gpt_experiments import names
from gpt_experiments.analysis.comparison import FactsComparison, TrialDiff
from gpt_experiments.analysis.results import TrialResults
from gpt_experiments.analysis.sweep_comparison import SweepDiff

_SHORT: Final = 12  # hexadecimal digits that tell two digests apart


def trial_lead(diff: TrialDiff) -> list[str]:
    """The sentences that stand first: how the losses differ, and what can be compared."""
    sentences = []
    final = next((m for m in diff.metrics if m.name == names.FINAL_VAL_LOSS and m.difference is not None), None)
    if final is not None:
        sentences.append(
            f"The validation loss after the last step is {final.a:.4f} in A and {final.b:.4f} nats per character in B: "
            f"a difference of {number(final.difference, sign=True)}."
        )
    curves = diff.curves
    if curves.is_identical:
        sentences.append(f"The losses of all {len(curves.pairs)} evaluations are the same, bit for bit.")
    elif curves.parted is not None:
        sentences.append(f"The losses part at step {curves.parted.step:,}.")
    elif curves.pairs:
        sentences.append(f"The losses are the same at all {len(curves.pairs)} common steps.")
    else:
        sentences.append("There is no step at which both were evaluated.")
    unfinished = [
        f"{side} is {trial.status}" + (f" ({trial.reason})" if trial.reason else "")
        for side, trial in (("A", diff.a), ("B", diff.b))
        if not _is_done(trial)
    ]
    return [*sentences, *([f"{' and '.join(unfinished)}."] if unfinished else []), *diff.notes]


def sweep_lead(diff: SweepDiff) -> list[str]:
    """The sentences that stand first: the mean difference, the variants of one sweep alone, what can be compared."""
    trials, sentences = diff.trials, []
    if trials.overall is not None:
        found = trials.overall
        spread = "" if math.isnan(found.low) else f" ± {found.half_width:.4f}"
        over = "one seed, so without an interval" if math.isnan(found.low) else f"95 % interval over {found.n} seeds"
        sentences.append(
            f"Over the {_counted(len(trials.variants), 'variant')} of both, the validation loss in B minus that in A "
            f"is {found.mean:+.4f}{spread} nats per character ({over})."
        )
    for verdict in ("better", "worse"):
        decided = [pair.label for pair in trials.variants if pair.verdict == verdict]
        if decided:
            sentences.append(f"{verdict.capitalize()} in B, at 5 % after Holm's correction: {listed(decided)}.")
    for side, labels in (("A", trials.only_a), ("B", trials.only_b)):
        if labels:
            sentences.append(f"Only {side} has {listed(labels)}.")
    if trials.unpaired:
        sentences.append(f"Without a common seed: {listed(trials.unpaired)}.")
    return [*sentences, *diff.notes]


def listed(labels: Sequence[str], most: int = 8) -> str:
    """The first labels, and how many more there are."""
    return ", ".join(labels[:most]) + (f" and {len(labels) - most} more" if len(labels) > most else "")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _is_done(trial: TrialResults) -> bool:
    return trial.status == "FINISHED"


def fact(text: str | None) -> str:
    """A fact as it is shown: of a digest the beginning, and in words that it is not recorded."""
    if text is None:
        return "not recorded"
    is_digest = len(text) in (40, 64) and set(text) <= set("0123456789abcdef")
    return f"{text[:_SHORT]}..." if is_digest else text


def alike(facts: FactsComparison) -> str:
    """A sentence on what does not differ."""
    unknown = f" Not recorded in either: {', '.join(facts.unknown)}." if facts.unknown else ""
    return (
        f"{facts.alike} more are the same.{unknown}" if facts.differing else f"All {facts.alike} are the same.{unknown}"
    )


def number(value: float | None, *, sign: bool = False) -> str:
    """A metric with as many digits as it needs."""
    if value is None:
        return "not recorded"
    plus = "+" if sign and value else ""
    if float(value).is_integer():
        return f"{value:{plus},.0f}"
    if abs(value) >= 100:
        return f"{value:{plus},.1f}"
    return f"{value:{plus}.4f}" if abs(value) >= 1e-4 else f"{value:{plus}.2e}"
