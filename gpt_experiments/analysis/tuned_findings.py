"""What changes when each variant is trained at its own best values of the nuisance parameters, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from gpt_experiments.analysis.beliefs import beliefs
from gpt_experiments.analysis.effects import Effect, effects
from gpt_experiments.analysis.judging import Belief
from gpt_experiments.analysis.results import FINISHED, LOSS, SweepResults, level_name
from gpt_experiments.analysis.tuning import (
    Setting,
    Tuned,
    at_best,
    nuisance_name,
    only_differing_in,
    setting_text,
    shared_setting,
    tuned_variants,
)

_MOST_NAMED: Final = 12


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One level's effect at the baseline's values of the nuisance parameters, and with each variant at its best.

    Attributes:
        shared, best: None where it could not be compared.
        setting, base_setting: the best of the level, and of the baseline's level, with every other hyperparameter at
            the baseline's level; None where none is known.
    """

    hyperparameter: str
    level: float
    base_level: float
    shared: Effect | None
    best: Effect | None
    setting: Setting | None
    base_setting: Setting | None

    @property
    def name(self) -> str:
        return level_name(self.hyperparameter, self.level)

    @property
    def has_flipped(self) -> bool:
        """Whether the two verdicts differ."""
        return self.shared is not None and self.best is not None and self.shared.verdict != self.best.verdict


def compare_effects(results: SweepResults) -> list[Compared]:
    """The effect of each level, both ways, in the order of hyperparameters and levels."""
    best = at_best(results)
    both = [{_place(effect): effect for effect in effects(view)} for view in (results, best) if view is not None]
    shared, tuned = both if best is not None else (both[0], {})
    settings = {label: variant.setting for label, variant in tuned_variants(results).items()}
    found = []
    for name, level, base in sorted({*shared, *tuned}, key=lambda place: (results.parameters.index(place[0]), place)):
        of_level, of_base = (
            next((settings.get(label) for label in only_differing_in(results, name, at)), None) for at in (level, base)
        )
        found.append(
            Compared(
                hyperparameter=name,
                level=level,
                base_level=base,
                shared=shared.get((name, level, base)),
                best=tuned.get((name, level, base)),
                setting=of_level,
                base_setting=of_base,
            )
        )
    return found


def _place(effect: Effect) -> tuple[str, float, float]:
    return effect.hyperparameter, effect.level, effect.base_level


@dataclass(frozen=True, kw_only=True)
class FlippedBelief:
    """A belief that stands differently when each variant is at its best."""

    shared: Belief
    best: Belief


def flipped_beliefs(results: SweepResults) -> list[FlippedBelief]:
    """Every belief that the sweep tests both ways, with different outcomes."""
    best = at_best(results)
    if best is None:
        return []
    pairs = zip(beliefs(results), beliefs(best), strict=True)
    return [
        FlippedBelief(shared=one, best=other)
        for one, other in pairs
        if one.standing != other.standing and "not tested" not in (one.standing, other.standing)
    ]


def lead(results: SweepResults) -> list[str]:
    """A sentence on top of a report: how everything else in it was trained, and what tuning changes."""
    if results.tuning is None:
        return []
    what, shared = nuisance_name(results), setting_text(results.tuning.parameters, shared_setting(results))
    first = f"Unless it says otherwise, every variant here was trained at one {what}, {shared}."
    if at_best(results) is None:
        return [first]
    verdicts, standings = sum(each.has_flipped for each in compare_effects(results)), len(flipped_beliefs(results))
    if not verdicts + standings:
        return [f"{first} With each variant at its own best {what}, every verdict and every belief stays as it is."]
    return [
        f"{first} With each variant at its own best {what}, {_counted(verdicts, 'verdict')} and "
        f"{_counted(standings, 'belief')} come out differently: see {section_title(results)!r}."
    ]


def section_title(results: SweepResults) -> str:
    """`Each at its best learning rate`."""
    return f"Each at its best {nuisance_name(results)}"


def explanation(results: SweepResults) -> str:
    """How variants were tuned."""
    assert results.tuning is not None
    trials, names = results.tuning.trials, results.tuning.parameters
    tried = "; ".join(f"{name} {', '.join(f'{value:g}' for value in sorted(trials[name].unique()))}" for name in names)
    seeds, compared = sorted(map(int, trials["seed"].unique())), results.planned_seeds
    together = ", in every combination," if len(names) > 1 else ""
    return (
        f"Each variant was tuned: trained with {tried}{together} with {_seeds(seeds)} that served nothing else, and "
        "the lowest mean validation loss after the last step chose. It was then trained at its best with the "
        f"{_counted(len(compared), 'seed')} of all comparisons, so that no difference rests on the losses that chose."
    )


def best_sentence(results: SweepResults) -> str | None:
    """Which variant has the lowest loss with each at its best, beside the one that has it at the shared values."""
    best = at_best(results)
    if best is None or results.tuning is None:
        return None
    names = results.tuning.parameters
    first, before = best.by_variant.iloc[0], results.by_variant.iloc[0]
    setting = tuned_variants(results)[str(first["label"])].setting
    what, shared = nuisance_name(results), setting_text(names, shared_setting(results))
    return (
        f"With each at its best, the lowest validation loss is that of {first['label']}: {first[LOSS]:.4f} nats per "
        f"character at {what} {setting_text(names, setting)}. At {shared} it is that of {before['label']}: "
        f"{before[LOSS]:.4f}."
    )


def flips(results: SweepResults) -> list[str]:
    """A sentence for each verdict and each belief that differs."""
    what = nuisance_name(results)
    return [
        *(
            f"{_trimmed(each.shared.claim)}: {each.shared.standing} at one {what}, {each.best.standing} when each is "
            "tuned."
            for each in flipped_beliefs(results)
        ),
        *(
            f"{each.name} instead of {level_name(each.hyperparameter, each.base_level)}: {each.shared.verdict} at one "
            f"{what}, {each.best.verdict} when each is tuned."
            for each in compare_effects(results)
            if each.shared is not None and each.best is not None and each.has_flipped
        ),
    ]


def limits(results: SweepResults) -> list[str]:
    """What the tuning could not do: choices at the edge of what was tried, and variants without a choice."""
    if results.tuning is None:
        return []
    variants, names = tuned_variants(results), results.tuning.parameters
    sentences = []
    for name in names:
        at_edge = [tuned for tuned in variants.values() if name in tuned.at_edge]
        if at_edge:
            which = _listed(_at_edge(tuned, names, name) for tuned in at_edge)
            sentences.append(
                f"The best {name.replace('_', ' ')} is the lowest or the highest that was tried, so that a better one "
                f"may lie beyond: {which}."
            )
    failed = [tuned.label for tuned in variants.values() if tuned.state == "failed"]
    if failed:
        sentences.append(
            f"No trial that tuned it has a loss, so it is compared at one {nuisance_name(results)} only: "
            f"{_listed(failed)}."
        )
    partly = [
        f"{tuned.label} at {setting_text(names, setting)}"
        for tuned in variants.values()
        if tuned.state != "failed"
        for setting in tuned.failed
    ]
    if partly:
        sentences.append(f"A trial that tuned them has failed, so they are never the best: {_listed(partly)}.")
    unfinished = [tuned.label for tuned in variants.values() if tuned.state == "unfinished"]
    if unfinished:
        sentences.append(f"Not tuned to the end yet, so not compared at its best: {_listed(unfinished)}.")
    return sentences + _lost(results, variants)


def _lost(results: SweepResults, variants: dict[str, Tuned]) -> list[str]:
    """A sentence on variants that are not compared at their best with every seed."""
    best = at_best(results)
    there = set() if best is None else {*best.finished["label"]}
    chosen = [tuned.label for tuned in variants.values() if tuned.state == "chosen"]
    sentences = []
    missing = [label for label in chosen if label not in there]
    if missing:
        sentences.append(f"Tuned, but without a finished trial at its best: {_listed(missing)}.")
    if best is not None:
        lost = best.trials[(best.trials["outcome"] != FINISHED) & best.trials["label"].isin(there)]
        if len(lost):
            which = _listed(f"{row['label']} (seed {row['seed']})" for row in lost.to_dict("records"))
            sentences.append(f"Trials at the best values that have no result: {which}.")
    return sentences


def caveat(results: SweepResults) -> str:
    """What a report says in the place of "one learning rate need not suit all"; empty if nothing was tuned."""
    if results.tuning is None:
        return ""
    what = nuisance_name(results)
    return (
        f"Every variant was compared at one {what}, which need not suit all sizes equally; the section "
        f"{section_title(results)!r} compares them at their own, chosen from few values."
    )


def _at_edge(tuned: Tuned, names: Sequence[str], name: str) -> str:
    assert tuned.setting is not None
    return f"{tuned.label} ({tuned.setting[list(names).index(name)]:g})"


def _trimmed(claim: str) -> str:
    return claim.rstrip(".")


def _seeds(seeds: Sequence[int]) -> str:
    between = {1: "", 2: f" and {seeds[-1]}"}.get(len(seeds), f" to {seeds[-1]}")
    return f"seed{'' if len(seeds) == 1 else 's'} {seeds[0]}{between}"


def _counted(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"


def _listed(items: Iterable[str]) -> str:
    given = list(items)
    more = f" and {len(given) - _MOST_NAMED} more" if len(given) > _MOST_NAMED else ""
    return ", ".join(given[:_MOST_NAMED]) + more
