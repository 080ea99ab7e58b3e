"""The law of loss and size, and the front of cost and loss."""

from __future__ import annotations

import numpy as np
import pytest

from gpt_experiments.analysis.costs import front, luck_sentence, size_law
from gpt_experiments.config import ModelConfig
from gpt_experiments.parameters import Shape
from tests.support.simulated import simulate

SIZES = [Shape(n_embed=width, n_head=4) for width in (8, 16, 32, 64, 128, 256, 512)]


def n_params(shape: Shape) -> int:
    return ModelConfig(shape=shape, vocab_size=65).n_params


def power(shape: Shape) -> float:
    return 1.5 + 30 * float(n_params(shape)) ** -0.4


def test_a_power_law_with_an_offset_is_found_again() -> None:
    law = size_law(simulate(power, variants=SIZES, seeds=4, noise=0.001, seed_effect=0.002))
    assert law is not None
    assert (law.kind, law.over, law.n, law.falls) == ("power", "seeds", 4, True)
    assert law.offset == pytest.approx(1.5, abs=0.03)
    assert law.exponent == pytest.approx(0.4, abs=0.05)
    true = 1.5 + 30 * law.curve["n_params"] ** -0.4
    assert np.abs(law.curve["loss"] - true).max() < 0.02
    assert (law.curve["low"] <= law.curve["loss"]).all()
    assert (law.curve["loss"] <= law.curve["high"]).all()
    assert law.formula.startswith("loss = 1.5")


def test_a_straight_line_is_not_given_an_offset() -> None:
    law = size_law(simulate(lambda s: 4 - 0.2 * np.log(n_params(s)), variants=SIZES, seeds=1, noise=0.003))
    assert law is not None
    assert (law.kind, law.over, law.n, law.falls) == ("log", "variants", 7, True)
    assert law.offset == pytest.approx(4, abs=0.05)
    assert law.factor == pytest.approx(0.2, abs=0.01)
    assert law.formula.endswith("* ln(parameters)")


def test_a_flat_loss_is_said_to_be_flat() -> None:
    law = size_law(simulate(lambda s: 2.0, variants=SIZES, seeds=3, noise=0.01, random=1))
    assert law is not None
    assert not law.falls


def test_four_sizes_have_no_law() -> None:
    assert size_law(simulate(power, variants=SIZES[:4], seeds=3)) is None
    assert size_law(simulate(power, variants=[Shape(dropout=p / 10) for p in range(9)], seeds=3)) is None


def test_who_is_on_the_front_by_luck_is_named() -> None:
    losses = {8: 2.5, 16: 2.2, 32: 2.1, 64: 2.0999, 128: 1.9, 256: 2.4, 512: 2.5}
    results = simulate(lambda s: losses[s.n_embed], variants=SIZES, seeds=4, noise=0.004, seed_effect=0.05)
    found = front(results, "n_params").set_index("label")
    assert {"n_embed=8", "n_embed=16", "n_embed=128"} <= set(found.index)
    assert not {"n_embed=256", "n_embed=512"} & set(found.index)
    sure = found.loc[["n_embed=8", "n_embed=16", "n_embed=128"]]
    assert (sure["share"] > 0.99).all()  # what a seed does to all alike does not count
    assert (sure["low"] < sure["final_val_loss"]).all()
    if "baseline" in found.index:
        assert 0.2 < found.loc["baseline", "share"] < 0.95
        assert "may be there by luck" in luck_sentence(front(results, "n_params"))


def test_a_doubtful_variant_and_one_seed_are_said() -> None:
    twins = [Shape(), Shape(n_head=2), Shape(n_head=8)]  # of one size
    found = front(simulate(lambda s: 2.0, variants=twins, seeds=3), "n_params")
    assert len(found) == 1
    assert "1 may be there by luck" in luck_sentence(found)
    alone = front(simulate(power, variants=SIZES, seeds=1), "n_params")
    assert alone["low"].isna().all()
    assert "One seed does not show" in luck_sentence(alone)
    sure = front(simulate(power, variants=SIZES, seeds=3, noise=1e-5), "n_params")
    assert luck_sentence(sure).startswith("All 7 variants of the front stay there")
