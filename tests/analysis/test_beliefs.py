"""Beliefs against sweeps in which they are true, false, or beyond what the seeds can tell."""

from __future__ import annotations

from gpt_experiments.analysis import beliefs
from gpt_experiments.analysis.results import SweepResults
from gpt_experiments.parameters import Shape
from tests.support.simulated import simulate

BELIEVED = {
    ("n_head", 1): 0.03,
    ("n_layer", 1): 0.15,
    ("n_layer", 8): -0.04,
    ("n_embed", 32): 0.3,
    ("n_embed", 128): -0.15,
    ("dropout", 0.3): 0.03,
    ("block_size", 32): 0.1,
    ("block_size", 256): -0.03,
}


def as_believed(variant: Shape) -> float:
    return 2.5 + sum(change for (name, level), change in BELIEVED.items() if getattr(variant, name) == level)


def opposite(variant: Shape) -> float:
    return 5.0 - as_believed(variant)


def standings(results: SweepResults) -> list[str]:
    return [belief.standing for belief in beliefs(results)]


def test_what_is_true_is_supported_with_the_number_that_says_so() -> None:
    found = beliefs(simulate(as_believed, seeds=8, noise=0.002))
    # But for the sixth: nothing made up here overfits.
    assert [belief.standing for belief in found] == ["supported"] * 5 + ["contradicted"] + ["supported"] * 3
    assert found[0].evidence.startswith("Loss at n_head=1 minus at n_head=4: +0.0")
    assert "95 % interval" in found[0].evidence


def test_what_is_false_is_contradicted() -> None:
    standing = standings(simulate(opposite, seeds=8, noise=0.002))
    assert standing[0] == standing[2] == standing[4] == standing[6] == standing[7] == "contradicted"


def test_one_seed_and_pure_noise_decide_nothing() -> None:
    one = beliefs(simulate(as_believed, seeds=1))
    assert {belief.standing for belief in one} == {"undecided"}
    assert all("One seed cannot decide it." in belief.evidence for belief in one)
    noise = standings(simulate(lambda v: 2.5, seeds=3, noise=0.05))
    assert noise.pop(5) == "contradicted"  # nothing made up here overfits
    assert set(noise) == {"undecided"}


def test_a_belief_about_levels_that_are_not_there_is_not_tested() -> None:
    some = [Shape(), Shape(n_head=1)]
    found = beliefs(simulate(as_believed, seeds=3, variants=some))
    assert [belief.standing for belief in found][1] == "not tested"
    assert found[1].evidence == "The sweep lacks n_head=8 or n_head=4."
