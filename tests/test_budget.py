"""Equal budgets: steps that use up the baseline's tokens or floating-point operations."""

from __future__ import annotations

import pytest

from gpt_experiments.config import Budget, ModelConfig, TrainingSetup, Variant, setup_at_budget

SETUP = TrainingSetup(steps=1000, eval_interval=250)


def steps(variant: Variant, budget: Budget) -> TrainingSetup:
    return setup_at_budget(SETUP, variant, Variant(), vocab_size=65, budget=budget)


def test_equal_steps_change_nothing() -> None:
    assert steps(Variant(block_size=256), "steps") == SETUP


def test_equal_tokens_depend_on_the_context_alone() -> None:
    assert steps(Variant(block_size=256), "tokens").steps == 500
    assert steps(Variant(block_size=32), "tokens").steps == 4000
    assert steps(Variant(block_size=32), "tokens").eval_interval == 1000
    assert steps(Variant(n_embed=128), "tokens") == SETUP


@pytest.mark.parametrize(
    "variant", [Variant(n_layer=8), Variant(n_embed=128), Variant(block_size=256), Variant(n_layer=1)]
)
def test_equal_flops_are_equal_but_for_rounding_to_whole_steps(variant: Variant) -> None:
    def spent(v: Variant, setup: TrainingSetup) -> float:
        return setup.steps * setup.batch_size * v.block_size * ModelConfig(variant=v, vocab_size=65).flops_per_token

    setup = steps(variant, "flops")
    assert spent(variant, setup) == pytest.approx(spent(Variant(), SETUP), rel=0.6 / min(setup.steps, 1000))
    assert len(setup.evaluation_steps()) in (5, 6)


def test_flops_by_hand() -> None:
    """Two layers of width 4: 12 * 16 weights each, a head of 3 * 4, and scores and sums over 8 keys."""
    config = ModelConfig(variant=Variant(n_head=2, n_layer=2, n_embed=4, block_size=8), vocab_size=3)
    assert config.flops_per_token == 6 * (2 * 12 * 16 + 3 * 4) + 2 * 12 * 4 * 8
