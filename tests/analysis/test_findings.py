"""What is said of a sweep, above all of one that is not done: only what its finished trials show."""

from __future__ import annotations

import dataclasses
import itertools
import re
import shlex

import pytest

from gpt_experiments.analysis import Effect, beliefs, effects, findings
from gpt_experiments.analysis.power import seeds_needed
from gpt_experiments.analysis.results import SweepResults
from gpt_experiments.config import Variant
from gpt_experiments.parameters import Shape
from tests.analysis.test_beliefs import as_believed
from tests.support.simulated import full_grid, one_at_a_time, simulate

LABELS = [Variant(shape=shape).label(Variant()) for shape in one_at_a_time()]


def said(results: SweepResults) -> str:
    return " ".join(findings.overall(results, effects(results)))


def test_a_sweep_with_verdicts_and_a_variant_of_one_seed_does_not_say_that_there_are_none() -> None:
    """The best variant has one seed, the others have three."""
    results = simulate(as_believed, seeds=3, lost=[("n_embed=128", 1), ("n_embed=128", 2)])
    text = said(results)
    found = re.search(r"Of 9 comparisons with the baseline's level (\d) are decided: .*worse", text)
    assert found
    assert int(found[1]) > 1
    assert "1 more have only one seed, so no verdict" in text
    assert "no verdicts here" not in text


def test_without_verdicts_the_noise_that_is_named_is_the_noise_that_is_used() -> None:
    guessed = said(simulate(as_believed, seeds=1))
    assert "If seeds of one variant differ by 0.005 nats per character, as they usually do" in guessed
    assert f"it takes {seeds_needed(0.005 * 2**0.5, 0.02, 10)} seeds to find a difference of 0.02" in guessed
    lost = [(label, seed) for label in LABELS for seed in (1, 2) if label != "n_head=8"]
    measured = said(simulate(as_believed, seeds=3, noise=0.1, lost=lost))
    found = re.search(r"differ by ([\d.]+) nats per character, as they do here, it takes (\d+) seeds", measured)
    assert found
    assert int(found[2]) == pytest.approx(seeds_needed(float(found[1]) * 2**0.5, 0.02, 10) or 0, abs=5)


def test_seeds_that_are_planned_are_not_seen() -> None:
    """One of three seeds is finished; nothing is lost, and nothing can be decided."""
    results = simulate(as_believed, seeds=3, lost=[(label, seed) for label in LABELS for seed in (1, 2)])
    assert (results.planned_seeds, results.finished_seeds) == ([1337, 1338, 1339], [1337])
    assert {(effect.n, effect.lost_seeds, effect.verdict) for effect in effects(results)} == {(1, 0, "no verdict")}
    assert all("One seed cannot decide it." in belief.finding for belief in beliefs(results))
    sentences = [s for name in results.varied for s in findings.of_hyperparameter(results, name, effects(results))]
    assert not any("3 seeds" in sentence for sentence in sentences)


def test_takeaways_count_the_seeds_of_their_own_comparisons() -> None:
    results = simulate(lambda v: 2.5, seeds=4, noise=0.1, lost=[("dropout=0.3", 3)], random=1)
    takeaway = findings.of_hyperparameter(results, "dropout", effects(results))[-1]
    assert takeaway == "Takeaway: whether dropout=0 and dropout=0.3 do better or worse, 3 to 4 seeds do not settle."


def test_levels_without_the_baselines_are_said_to_have_nothing_to_be_compared_with() -> None:
    variants = [Shape(n_head=h, n_layer=n) for h, n in itertools.product((1, 8), (1, 8))]
    results = simulate(as_believed, variants=variants, method="grid", noise=0.0, seed_effect=0.0)
    (sentence,) = findings.of_hyperparameter(results, "n_head", effects(results))
    assert sentence == (
        "No finished trial has the baseline's level, n_head=4, so there is nothing to compare the other levels with. "
        "Their mean losses over all combinations of the others: 2.5850 at n_head=1, 2.5550 at n_head=8."
    )
    apart = simulate(as_believed, variants=[Shape(), Shape(n_head=1, n_layer=1)], method="random")
    (sentence,) = findings.of_hyperparameter(apart, "n_head", effects(apart))
    assert sentence == "No pair of finished trials differs in n_head alone, so nothing can be said about it."


def test_the_command_for_more_seeds_can_be_typed_and_asks_for_no_more_variants() -> None:
    results = dataclasses.replace(
        simulate(as_believed, variants=full_grid()[:20], method="grid", seeds=2),
        name="my sweep; $(rm)",
        budget="tokens",
        variants_wanted=20,
    )
    words = shlex.split(findings.more_seeds_command(results, ()))
    assert words == [
        *("python", "-m", "gpt_experiments", "sweep", "my sweep; $(rm).yaml"),
        *("--steps", "100", "--budget", "tokens", "--trials", "20", "--seeds", "4"),
    ]
    dashed = dataclasses.replace(results, name="-x", variants_wanted=None)
    assert shlex.split(findings.more_seeds_command(dashed, ()))[4] == "./-x.yaml"
    assert "--trials" not in findings.more_seeds_command(dashed, ())
    pruned = findings.more_seeds_command(dataclasses.replace(results, pruner="median"), ())
    assert "--pruner median" in pruned


@pytest.mark.parametrize(
    "results",
    [
        simulate(as_believed, seeds=1, variants=[Shape()]),
        simulate(as_believed, seeds=2, variants=[Shape()]),
        simulate(lambda v: 2.5, seeds=2, noise=0.0, seed_effect=0.0),
        simulate(lambda v: 0.0, seeds=3, noise=0.0, seed_effect=0.0),
        simulate(as_believed, seeds=2, noise=1e-15, seed_effect=0.0),
        simulate(as_believed, seeds=1, lost=[(label, 0) for label in LABELS[1:]]),
        simulate(as_believed, seeds=1, lost=[("baseline", 0)]),
    ],
    ids=["one", "one-twice", "equal", "zero", "nearly-equal", "all-but-one-failed", "no-baseline"],
)
def test_degenerate_sweeps_are_said_without_a_warning_of_a_library(results: SweepResults) -> None:
    found: list[Effect] = effects(results)
    sentences = [*findings.overall(results, found), *findings.caveats(results), *findings.missing(results)]
    sentences += [s for name in results.varied for s in findings.of_hyperparameter(results, name, found)]
    sentences += [belief.finding for belief in beliefs(results)]
    assert not any(re.search(r"\bnan\b|\binf\b", s.replace("loss is nan at step 7", "")) for s in sentences)


def test_the_cost_of_a_level_is_that_of_its_own_pairs() -> None:
    """Not of all trials with the baseline's level, among which are the variants of the other hyperparameters."""
    results = simulate(as_believed, seeds=2)
    sizes = results.by_variant.set_index("label")["n_params"]
    sentence = " ".join(findings.of_hyperparameter(results, "n_layer", effects(results)))
    change = sizes["n_layer=8"] / sizes["baseline"] - 1
    assert f"parameters {change:+.0%}" in sentence
    assert "training time +100%" in sentence  # in these results it is proportional to the layers
