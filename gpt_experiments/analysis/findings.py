"""The written analysis: sentences made from a sweep's numbers alone."""

from __future__ import annotations

import math
import shlex
from collections.abc import Container, Sequence
from typing import Final

from gpt_experiments.analysis import tuned_findings
from gpt_experiments.analysis.effects import Effect, looked_at, noise, relative_change
from gpt_experiments.analysis.factorial import reversals
from gpt_experiments.analysis.looks import Looked
from gpt_experiments.analysis.power import noise_of_comparisons, seeds_for_equivalence, seeds_needed
from gpt_experiments.analysis.results import FINISHED, LOSS, SweepResults, level_name
from gpt_experiments.analysis.verdict import DECIDED, Verdict
from gpt_experiments.config import MARGIN

_ADVISED: Final = (0.02, 0.01)
"""Differences that advice on seeds is about, nats per character."""
_MOST_LOST: Final = 20


def overall(results: SweepResults, found: Sequence[Effect]) -> list[str]:
    """Sentences on the whole sweep: the best variant, the strongest hyperparameter, how much noise there is."""
    sentences = [_best_sentence(results)]
    if found:
        strongest = max(found, key=lambda effect: abs(effect.difference.mean))
        sentences.append(
            f"The largest change seen is that of {level_name(strongest.hyperparameter, strongest.level)}: "
            f"{difference_text(strongest)} against {level_name(strongest.hyperparameter, strongest.base_level)}."
        )
    if found:
        sentences += _verdict_sentences(results, found)
    return sentences


def _verdict_sentences(results: SweepResults, found: Sequence[Effect]) -> list[str]:
    """How many comparisons are decided, how far that can be trusted, and what would decide the others."""
    tested = [effect for effect in found if effect.verdict != "no verdict"]
    looked = looked_at(results) if results.until_decided else None
    if looked is not None and not looked.done:
        first = looked.looks.seeds[0]
        return [f"The first planned look at the comparisons is at {first} seeds, so there are no verdicts yet."]
    if not tested:
        return [_one_seed_sentence(results, found)]
    sentences = [_counts_sentence(results, tested, len(found)), *_trust_sentences(results, tested, looked)]
    sd = noise(results)
    if sd is not None:
        sentences.append(f"Seeds of one variant differ by {sd:.4f} nats per character (standard deviation).")
    if len(tested) < len(found) and results.method == "grid" and not results.own_seeds:
        sentences.append("With `own_seeds: true` in its file, a grid of one seed has verdicts on sizes, too.")
    undecided = [effect for effect in tested if effect.verdict == "undecided"]
    if undecided and (looked is None or looked.next_seeds is None):
        sentences.append(_advice_sentence(results, found, undecided))
    return sentences


def _counts_sentence(results: SweepResults, tested: Sequence[Effect], total: int) -> str:
    counts: dict[Verdict, int] = {verdict: sum(e.verdict == verdict for e in tested) for verdict in DECIDED}
    decided = sum(counts.values())
    kinds = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    text = f"Of {len(tested)} comparisons with the baseline's level {decided or 'none'} {_is_or_are(decided)} decided"
    text += f": {kinds}" if decided else ""
    if counts["equivalent"]:
        text += f"; equivalent means that they differ by less than {results.margin:g} nats per character"
    if total > len(tested):
        text += f"; {total - len(tested)} more have only one seed, so no verdict"
    return f"{text}."


def _is_or_are(count: int) -> str:
    return "is" if count <= 1 else "are"


def _trust_sentences(results: SweepResults, tested: Sequence[Effect], looked: Looked | None) -> list[str]:
    if looked is not None:
        looks, done = looked.looks, looked.done
        return [
            f"This is planned look {done} of {len(looks.seeds)}, at {looks.seeds[done - 1]} seeds. Of the "
            f"5 % chance of a false verdict {looks.spent(done) * 100:.2g} % are spent; the "
            "verdicts hold however often the sweep was looked at."
        ]
    if any(effect.noise_from == "interactions" for effect in tested):
        return [_INTERACTIONS]
    n = max(effect.n for effect in tested)
    more = "--until-decided plans several looks" if results.method == "one-at-a-time" else "decide on the seeds first"
    return [
        f"The chance that any of these verdicts is false is at most 5 %. That holds for one look, at {n} "
        f"seeds. If seeds are added because of what it shows, and it is looked at again, more are false ({more})."
    ]


_INTERACTIONS: Final = (
    "The noise is taken from interactions of three and more hyperparameters, which are taken to be nothing but noise: "
    "under that assumption the chance that any of these verdicts is false is at most 5 %."
)


def _advice_sentence(results: SweepResults, found: Sequence[Effect], undecided: Sequence[Effect]) -> str:
    """Seeds that the undecided comparisons need, by the same functions as `report --power`."""
    known = noise_of_comparisons(results, found)
    sds = [known.by_comparison[level_name(e.hyperparameter, e.level)] for e in undecided]
    needs = [
        f"{_seeds_between([seeds_needed(sd, size, len(found)) for sd in sds])} to find a difference of {size:g}"
        for size in _ADVISED
    ]
    none = _seeds_between([seeds_for_equivalence(sd, results.margin, len(found)) for sd in sds])
    what = "The undecided one takes" if len(sds) == 1 else f"The {len(sds)} undecided ones take"
    return (
        f"{what} {', '.join(needs)}, and {none} to show that there is none beyond the margin, each with a chance of "
        "80 %, if one looks once."
    )


def _seeds_between(needed: Sequence[int | None]) -> str:
    """`5 seeds`, `5 to 9 seeds`, `more than 1,000 seeds`."""
    if None in needed:
        return "more than 1,000 seeds"
    known = [count for count in needed if count is not None]
    return f"{min(known)} seeds" if min(known) == max(known) else f"{min(known)} to {max(known)} seeds"


def _best_sentence(results: SweepResults) -> str:
    best = results.by_variant.iloc[0]
    bits = best[LOSS] / math.log(2)
    text = (
        f"The lowest validation loss is that of {best['label']}: {best[LOSS]:.4f} nats per character ({bits:.3f} bits)"
    )
    baseline = results.by_variant[results.by_variant["label"] == "baseline"]
    if best["label"] == "baseline":
        return f"{text}; no other variant beats it."
    if len(baseline):
        base = baseline.iloc[0]
        text += (
            f", {base[LOSS] - best[LOSS]:.4f} below the baseline's {base[LOSS]:.4f}, with "
            f"{_times(best['n_params'] / base['n_params'], 'many parameters')}"
        )
        if base["train_seconds"] > 0:
            text += f" and {_times(best['train_seconds'] / base['train_seconds'], 'much training time')}"
    return f"{text}."


def _times(ratio: float, what: str) -> str:
    """`as many parameters`, `3.8 times as many parameters`."""
    return f"as {what}" if f"{ratio:.2g}" == "1" else f"{ratio:.2g} times as {what}"


def _one_seed_sentence(results: SweepResults, found: Sequence[Effect]) -> str:
    """How many seeds a verdict would take; one of two noisy losses has twice their variance."""
    sds = list(noise_of_comparisons(results, found).by_comparison.values())
    needs = " and ".join(
        f"{_seeds_between([seeds_needed(max(sds), size, len(found))])} to find a difference of {size:g}"
        for size in _ADVISED
    )
    measured = noise(results)
    known = (
        f"{max(sds) / math.sqrt(2):.3g} nats per character, as they usually do"
        if measured is None
        else f"{measured:.4f} nats per character, as they do here"
    )
    return (
        "One seed cannot separate an effect from luck, and no comparison has more, so there are no verdicts here. If "
        f"seeds of one variant differ by {known}, it takes {needs} with a chance of 80 %."
    )


def more_seeds_command(results: SweepResults, shipped: Container[str]) -> str:
    """The command that adds seeds without repeating trained trials.

    Args:
        shipped: sweeps that are known by name; any other is read from a file, whose path is not recorded.
    """
    name = results.name if results.name in shipped else f"{results.name}.yaml"
    words = ["python", "-m", "gpt_experiments", "sweep", f"./{name}" if name.startswith("-") else name]
    if "steps" in results.training:
        words += ["--steps", results.training["steps"]]
    if results.budget != "steps":
        words += ["--budget", results.budget]
    if results.variants_wanted is not None:
        words += ["--trials", str(results.variants_wanted)]
    if results.pruner:
        words += ["--pruner", results.pruner]
    if results.method != "one-at-a-time":
        return shlex.join([*words, "--seeds", str(max(3, len(results.planned_seeds) + 2))])
    words.append("--until-decided")
    if results.until_decided:
        words += ["--max-seeds", str(results.most_seeds)]
    if results.margin != MARGIN:
        words += ["--margin", f"{results.margin:g}"]
    return shlex.join(words)


def needs_more_seeds(results: SweepResults, found: Sequence[Effect]) -> bool:
    """Whether more seeds could decide something that is not decided."""
    if results.until_decided:
        return looked_at(results).next_seeds is not None
    return any(effect.verdict not in DECIDED for effect in found)


def of_hyperparameter(results: SweepResults, name: str, found: Sequence[Effect]) -> list[str]:
    """Sentences on the results of one hyperparameter, and the takeaway."""
    mine = [effect for effect in found if effect.hyperparameter == name]
    if not mine:
        return [_no_effects_sentence(results, name)]
    base = level_name(name, mine[0].base_level)
    sentences = []
    for effect in mine:
        wins = (
            f", lower in {effect.better_in} of {effect.combinations} combinations of the others"
            if effect.combinations > 1
            else ""
        )
        sentences.append(
            f"{level_name(name, effect.level)} instead of {base}: {difference_text(effect)}{wins}; "
            f"{_verdict_text(effect)}. {_cost_sentence(results, effect)}"
        )
    return [*sentences, _takeaway(results, name, mine)]


def _no_effects_sentence(results: SweepResults, name: str) -> str:
    """Why no level of a hyperparameter that varies could be compared with the baseline's."""
    base = results.base_level(name)
    if base in results.levels(name):
        return f"No pair of finished trials differs in {name} alone, so nothing can be said about it."
    by_level = results.finished.groupby(name)[LOSS].mean().items()
    means = ", ".join(f"{loss:.4f} at {level_name(name, float(str(level)))}" for level, loss in by_level)
    return (
        f"No finished trial has the baseline's level, {level_name(name, base)}, so there is nothing to compare the "
        f"other levels with. Their mean losses over all combinations of the others: {means}."
    )


def of_interactions(results: SweepResults) -> list[str]:
    """Sentences on levels that are better at one level of another hyperparameter and worse at another."""
    return [
        f"{level_name(found.name, found.level)} is better than "
        f"{level_name(found.name, results.base_level(found.name))} at {level_name(found.other, found.better_at)}, and "
        f"worse at {level_name(found.other, found.worse_at)}: its mean over the grid hides that."
        for found in reversals(results)
    ]


def difference_text(effect: Effect) -> str:
    """`-0.0123 ± 0.0040 nats per character`."""
    found = effect.difference
    spread = "" if math.isnan(found.low) else f" ± {found.half_width:.4f}"
    return f"{found.mean:+.4f}{spread} nats per character"


def _verdict_text(effect: Effect) -> str:
    judged = effect.judged
    match effect.verdict:
        case "no verdict":
            return "one seed, so no verdict" if effect.n < 2 else "no verdict before the first look"
        case "equivalent":
            return f"equivalent: they differ by less than {judged.margin:g}"
        case "undecided":
            return f"undecided: between {judged.low:+.4f} and {judged.high:+.4f}"
    small = f", but by less than {judged.margin:g}" if judged.is_within_margin else ""
    return f"{effect.verdict}{small} (p = {effect.p_adjusted:.2g} after correction)"


def _cost_sentence(results: SweepResults, effect: Effect) -> str:
    """How size and time change on average, over the same pairs of trials."""
    name, costs = effect.hyperparameter, []
    for column, what in (("n_params", "parameters"), ("train_seconds", "training time")):
        change = relative_change(results, name, effect.level, effect.base_level, column)
        costs.append(f"{what} {f'{change:+.0%}' if abs(change) >= 0.005 else 'unchanged'}")
    return f"Cost: {', '.join(costs)}."


def _takeaway(results: SweepResults, name: str, mine: Sequence[Effect]) -> str:
    verdicts = {effect.verdict for effect in mine}
    if verdicts == {"no verdict"}:
        return "Takeaway: this is a direction, not yet evidence; more seeds would decide."
    base = level_name(name, mine[0].base_level)
    decided = [effect for effect in mine if effect.verdict in ("better", "worse")]
    alike = _levels_with(mine, "equivalent")
    open_ones = [effect for effect in mine if effect.verdict == "undecided"]
    best = min(decided, key=lambda effect: effect.difference.mean, default=None)
    if best is not None and best.difference.mean < 0:
        edge = best.level in (results.levels(name)[0], results.levels(name)[-1])
        beyond = "; the best level is the last one tried, so a better one may lie beyond it" if edge else ""
        return f"Takeaway: {level_name(name, best.level)} is the better choice here{beyond}."
    parts = []
    if decided:
        parts.append(f"stay at {base}; {_levels_with(mine, 'worse')} {_is_or_are(len(decided))} worse")
    if alike:
        parts.append(f"{alike} {'is' if ' and ' not in alike else 'are'} as good as {base}")
    if open_ones:
        levels, verb = _levels_with(mine, "undecided"), "does" if len(open_ones) == 1 else "do"
        parts.append(f"whether {levels} {verb} better or worse, {_seeds_of(open_ones)} do not settle")
    return f"Takeaway: {'; '.join(parts)}."


def _levels_with(mine: Sequence[Effect], verdict: Verdict) -> str:
    """`n_head=1 and n_head=8`."""
    return " and ".join(level_name(e.hyperparameter, e.level) for e in mine if e.verdict == verdict)


def _seeds_of(found: Sequence[Effect]) -> str:
    """`3 seeds`, or `2 to 3 seeds` where effects have lost some; none of them has one alone."""
    fewest, most = min(effect.n for effect in found), max(effect.n for effect in found)
    return f"{most} seeds" if fewest == most else f"{fewest} to {most} seeds"


def _one_rate(results: SweepResults) -> str:
    rate = results.training.get("learning_rate", "unknown")
    return f"Every variant was trained with the same learning rate, {rate}, which need not suit all sizes equally."


def caveats(results: SweepResults) -> list[str]:
    """Sentences on the limits of the design."""
    sentences = [
        tuned_findings.caveat(results) or _one_rate(results),
        f"All losses are those after a short training: {results.training.get('steps', '?')} steps of the baseline. "
        "A variant that learns slowly may still end well.",
    ]
    if results.budget == "steps" and "block_size" in results.varied:
        sentences.append(
            "Equal steps are not equal tokens: a batch at block_size=256 holds eight times the characters of one at "
            "block_size=32, so longer contexts also saw more text. `--budget tokens` compares at equal text."
            if {32, 256} <= set(results.levels("block_size"))
            else "Equal steps are not equal tokens: a longer block_size also sees more text in a step. "
            "`--budget tokens` compares at equal text."
        )
    if results.budget == "tokens":
        sentences.append("Every variant saw as many training characters as the baseline; steps differ with block_size.")
    if results.budget == "flops":
        sentences.append("Every variant spent as many floating-point operations as the baseline; its steps differ.")
    if results.finished["hardware"].nunique() > 1 or results.finished["device"].nunique() > 1:
        sentences.append("Trials ran on different hardware, so their times cannot be compared.")
    sentences += _at_the_edge(results)
    return sentences


def _at_the_edge(results: SweepResults) -> list[str]:
    best = results.by_variant.iloc[0]
    edges = [
        level_name(name, best[name])
        for name in results.varied
        if best[name] != results.base_level(name) and best[name] in (results.levels(name)[0], results.levels(name)[-1])
    ]
    if not edges:
        return []
    return [f"The best variant lies at the edge of what was tried ({', '.join(edges)}): the optimum may lie beyond."]


def missing(results: SweepResults) -> list[str]:
    """Which trials of the sweep have no result, and why, as far as that is known; of many, the first twenty."""
    lost = results.trials[results.trials["outcome"] != FINISHED].to_dict("records")
    sentences = []
    for row in lost[:_MOST_LOST]:
        what = "failed" if row["outcome"] == "failed" else "is missing"
        sentences.append(
            f"{row['label']} (seed {row['seed']}) {what}" + (f": {row['reason']}" if row["reason"] else "")
        )
    if len(lost) > _MOST_LOST:
        sentences.append(f"... and {len(lost) - _MOST_LOST} more")
    return sentences
