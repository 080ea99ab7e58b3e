"""Sentences on the trials that a sweep's pruner has stopped, and on what that does to its results."""

from __future__ import annotations

from typing import Final

from gpt_experiments.analysis.results import SweepResults

_MOST_NAMED: Final = 20


def stopped_lead(results: SweepResults) -> list[str]:
    """How many trials were stopped, for the head of a report; nothing where none was."""
    stopped, aside = len(results.stopped), len(results.set_aside)
    if not stopped:
        return []
    were, take = ("was", "takes") if stopped == 1 else ("were", "take")
    text = f"{stopped} of {len(results.trials)} trials {were} stopped early and {take} no part in what is compared"
    if aside:
        do = "does 1 variant" if aside == 1 else f"do {aside} variants"
        text += f", nor {do} of which only some seeds were stopped"
    return [f"{text}; they are listed under Method."]


def stopped_trials(results: SweepResults) -> list[str]:
    """Which trials were stopped, when and why; of many, the first twenty."""
    rows = results.stopped.to_dict("records")
    sentences = [f"{row['label']} (seed {row['seed']}): {row['reason']}" for row in rows[:_MOST_NAMED]]
    if len(rows) > _MOST_NAMED:
        sentences.append(f"... and {len(rows) - _MOST_NAMED} more")
    return sentences


def stopped_caveats(results: SweepResults) -> list[str]:
    """What a reader must know of results that some trials have no part in, because of their losses."""
    if results.stopped.empty:
        return []
    sentences = [
        "A stopped trial has no result: nothing above is measured of it. Those that were trained to their end were "
        "chosen by their losses, so an effect over several combinations is that over the better ones.",
    ]
    aside = results.set_aside
    if aside:
        more = f" and {len(aside) - _MOST_NAMED} more" if len(aside) > _MOST_NAMED else ""
        named = ", ".join(aside[:_MOST_NAMED]) + more
        sentences.append(
            "A mean over those seeds of a variant that were not stopped is too low, because only the lucky ones were "
            f"left. These variants have one, and take no part in any comparison: {named}."
        )
    return sentences


def no_decomposition(results: SweepResults) -> str:
    """Why the variance of a grid with stopped trials is not split."""
    return (
        f"The variance is not split into main effects and interactions: {len(results.stopped)} of "
        f"{len(results.trials)} trials were stopped early, and what is left is no balanced design. Without a pruner, "
        "the same sweep trains them."
    )
