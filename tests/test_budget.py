"""Equal budgets: steps that use up the baseline's tokens or floating-point operations."""

from __future__ import annotations

import dataclasses

import pytest

from gpt_experiments.config import Budget, ModelConfig, Variant, setup_at_budget
from gpt_experiments.parameters import Shape, TrainingSetup

SETUP = TrainingSetup(steps=1000, eval_interval=250)


def steps(shape: Shape, budget: Budget) -> TrainingSetup:
    variant, baseline = (Variant(shape=one, training=SETUP) for one in (shape, Shape()))
    return setup_at_budget(variant, baseline, vocab_size=65, budget=budget)


def test_equal_steps_change_nothing() -> None:
    assert steps(Shape(block_size=256), "steps") == SETUP


def test_equal_tokens_depend_on_the_context_alone() -> None:
    assert steps(Shape(block_size=256), "tokens").steps == 500
    assert steps(Shape(block_size=32), "tokens").steps == 4000
    assert steps(Shape(block_size=32), "tokens").eval_interval == 1000
    assert steps(Shape(n_embed=128), "tokens") == SETUP


@pytest.mark.parametrize("shape", [Shape(n_layer=8), Shape(n_embed=128), Shape(block_size=256), Shape(n_layer=1)])
def test_equal_flops_are_equal_but_for_rounding_to_whole_steps(shape: Shape) -> None:
    def spent(v: Shape, setup: TrainingSetup) -> float:
        return setup.steps * setup.batch_size * v.block_size * ModelConfig(shape=v, vocab_size=65).flops_per_token

    setup = steps(shape, "flops")
    assert spent(shape, setup) == pytest.approx(spent(Shape(), SETUP), rel=0.6 / min(setup.steps, 1000))
    assert len(setup.evaluation_steps()) in (5, 6)


def test_flops_by_hand() -> None:
    """Two layers of width 4: 12 * 16 weights each, a head of 3 * 4, and scores and sums over 8 keys."""
    config = ModelConfig(shape=Shape(n_head=2, n_layer=2, n_embed=4, block_size=8), vocab_size=3)
    assert config.flops_per_token == 6 * (2 * 12 * 16 + 3 * 4) + 2 * 12 * 4 * 8


def test_a_larger_batch_spends_the_budget_in_fewer_steps() -> None:
    variant = Variant(training=dataclasses.replace(SETUP, batch_size=64))
    found = setup_at_budget(variant, Variant(training=SETUP), vocab_size=65, budget="tokens")
    assert (found.steps, found.batch_size) == (500, 64)
