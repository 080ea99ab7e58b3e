"""Beliefs against sweeps in which they are true, false, or beyond what the seeds can tell."""

from __future__ import annotations

import re

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


def test_what_is_true_is_supported_and_said_in_words_to_the_digits_of_its_noise() -> None:
    found = beliefs(simulate(as_believed, seeds=8, noise=0.002))
    # But for the sixth: nothing made up here overfits.
    assert [belief.standing for belief in found] == ["supported"] * 5 + ["contradicted"] + ["supported"] * 3
    assert found[0].finding == "One head is worse than four by 0.032."
    (difference,) = found[0].quantities
    assert (difference.name, difference.needs) == ("loss at n_head=1 minus at n_head=4", "above 0")
    assert difference.estimate is not None
    assert difference.estimate.low < 0.032 < difference.estimate.high
    width = found[4]
    assert "Width changes the loss by 0.451, the number of layers by 0.189, context by 0.129" in width.finding
    assert len(width.quantities) == 6
    assert "takes 1.638 seconds more" in found[7].finding  # no noise: three decimals


def test_what_is_false_is_contradicted() -> None:
    standing = standings(simulate(opposite, seeds=8, noise=0.002))
    assert standing[0] == standing[2] == standing[4] == standing[6] == standing[7] == "contradicted"


def test_one_seed_and_pure_noise_decide_nothing() -> None:
    one = beliefs(simulate(as_believed, seeds=1))
    assert {belief.standing for belief in one} == {"undecided"}
    assert all(belief.finding.endswith("One seed cannot decide it.") for belief in one)
    assert all(quantity.standing == "undecided" for belief in one for quantity in belief.quantities)
    noise = standings(simulate(lambda v: 2.5, seeds=3, noise=0.05))
    assert noise.pop(5) == "contradicted"  # nothing made up here overfits
    assert set(noise) == {"undecided"}


def test_a_belief_about_levels_that_are_not_there_is_not_tested() -> None:
    some = [Shape(), Shape(n_head=1)]
    found = beliefs(simulate(as_believed, seeds=3, variants=some))
    assert [belief.standing for belief in found][1] == "not tested"
    assert found[1].finding == "The sweep lacks n_head=8 or n_head=4."
    assert [quantity.estimate for quantity in found[1].quantities] == [None]


def test_what_the_seeds_do_not_settle_is_said_with_its_noise() -> None:
    found = beliefs(simulate(as_believed, seeds=4, noise=0.03))
    assert re.fullmatch(
        r"One head is (worse|better) than four by 0\.\d+ ± 0\.\d+ \(which may be luck\)\.", found[0].finding
    )
    assert "(it is open whether that is above -0.01)" in found[1].finding


def test_the_quantity_that_decides_comes_first() -> None:
    width = beliefs(simulate(lambda shape: 2.5 - shape.n_embed / 1000 + (shape.n_layer == 1), seeds=8, noise=0.002))[4]
    assert width.standing == width.quantities[0].standing == "contradicted"
    assert "n_layer" in width.quantities[0].name
    assert {quantity.standing for quantity in width.quantities[1:]} == {"supported"}
