"""The written analysis: sentences made from a sweep's numbers alone."""

from __future__ import annotations

import math
import shlex
from collections.abc import Container, Sequence
from typing import Final

from gpt_experiments.analysis.effects import SEED_SD, Effect, noise, relative_change
from gpt_experiments.analysis.estimate import detectable
from gpt_experiments.analysis.results import FINISHED, LOSS, SweepResults, level_name

_ENOUGH_SEEDS: Final = (3, 5)
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
    tested = [effect for effect in found if effect.verdict != "no verdict"]
    if tested:
        sentences.append(_verdicts_sentence(results, tested, len(found)))
    elif found:
        sentences.append(_one_seed_sentence(results, len(found)))
    return sentences


def _verdicts_sentence(results: SweepResults, tested: Sequence[Effect], total: int) -> str:
    decided = sum(effect.verdict in ("better", "worse") for effect in tested)
    undecided = sum(effect.verdict == "undecided" for effect in tested)
    text = f"Of {len(tested)} comparisons {decided} are better or worse at 5 % after Holm's correction"
    if undecided:
        text += f", and {undecided} would be without the correction: more seeds would settle them"
    if len(tested) < total:
        text += f"; {total - len(tested)} more have only one seed, so no verdict"
    sd = noise(results)
    if sd is not None:
        text += f". Seeds of one variant differ by {sd:.4f} nats per character (standard deviation)"
    return f"{text}."


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


def _one_seed_sentence(results: SweepResults, comparisons: int) -> str:
    """How large a difference would have to be for a verdict; one of two noisy losses has twice their variance."""
    measured = noise(results)
    sd = SEED_SD if measured is None else measured
    needed = " and ".join(f"{detectable(math.sqrt(2) * sd, n, comparisons):.3f} with {n} seeds" for n in _ENOUGH_SEEDS)
    known = f"{sd:g} nats per character, as they usually do" if measured is None else f"{sd:.4f}, as they do here"
    return (
        "One seed cannot separate an effect from luck, and no comparison has more, so there are no verdicts here. If "
        f"seeds of one variant differ by {known}, a difference would have to exceed about {needed} to get one."
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
    wanted = max(_ENOUGH_SEEDS[0], len(results.planned_seeds) + 2)
    return shlex.join([*words, "--seeds", str(wanted)])


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


def difference_text(effect: Effect) -> str:
    """`-0.0123 ± 0.0040 nats per character`."""
    found = effect.difference
    spread = "" if math.isnan(found.low) else f" ± {found.half_width:.4f}"
    return f"{found.mean:+.4f}{spread} nats per character"


def _verdict_text(effect: Effect) -> str:
    if effect.verdict == "no verdict":
        return "one seed, so no verdict"
    return f"{effect.verdict} (p = {effect.p_adjusted:.2g} after correction)"


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
    decided = [effect for effect in mine if effect.verdict in ("better", "worse")]
    leaning = [effect for effect in mine if effect.verdict == "undecided"]
    if not decided and leaning:
        looks = " and ".join(
            f"{level_name(name, e.level)} looks {'better' if e.difference.mean < 0 else 'worse'}" for e in leaning
        )
        return f"Takeaway: {looks}, but {_seeds_of(leaning)} do not settle it."
    if not decided:
        tested = [effect for effect in mine if effect.verdict != "no verdict"]
        return f"Takeaway: at this budget {name} makes no difference that {_seeds_of(tested)} can show."
    best = min(decided, key=lambda effect: effect.difference.mean)
    if best.difference.mean < 0:
        edge = best.level in (results.levels(name)[0], results.levels(name)[-1])
        beyond = "; the best level is the last one tried, so a better one may lie beyond it" if edge else ""
        return f"Takeaway: {level_name(name, best.level)} is the better choice here{beyond}."
    worse = " and ".join(level_name(name, effect.level) for effect in decided)
    verb = "is" if len(decided) == 1 else "are"
    return f"Takeaway: stay at {level_name(name, mine[0].base_level)}; {worse} {verb} worse."


def _seeds_of(found: Sequence[Effect]) -> str:
    """`3 seeds`, or `2 to 3 seeds` where effects have lost some; none of them has one alone."""
    fewest, most = min(effect.n for effect in found), max(effect.n for effect in found)
    return f"{most} seeds" if fewest == most else f"{fewest} to {most} seeds"


def caveats(results: SweepResults) -> list[str]:
    """Sentences on the limits of the design."""
    sentences = [
        f"Every variant was trained with the same learning rate, {results.training.get('learning_rate', 'unknown')}, "
        "which need not suit all sizes equally.",
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
