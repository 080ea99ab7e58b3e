"""What any causal model must do, whatever its weights."""

from __future__ import annotations

import pytest
import torch

from gpt_experiments.config import ModelConfig
from gpt_experiments.model import GPT
from gpt_experiments.parameters import Shape


@pytest.fixture
def model() -> GPT:
    torch.manual_seed(0)
    variant = Shape(n_head=2, n_layer=3, n_embed=16, dropout=0.2, block_size=12)
    return GPT(ModelConfig(shape=variant, vocab_size=9)).eval()


def test_no_position_sees_what_comes_after_it(model: GPT) -> None:
    tokens = torch.randint(9, (1, 12))
    changed = tokens.clone()
    changed[0, 8:] = (changed[0, 8:] + 1) % 9
    torch.testing.assert_close(model(tokens)[:, :8], model(changed)[:, :8])
    assert not torch.allclose(model(tokens)[:, 8:], model(changed)[:, 8:])


def test_attention_maps_are_causal_distributions_and_leave_the_mode_alone(model: GPT) -> None:
    model.train()
    maps = model.attention_maps(torch.randint(9, (10,)))
    assert maps.shape == (3, 2, 10, 10)
    torch.testing.assert_close(maps.sum(-1), torch.ones(3, 2, 10))
    assert maps.triu(1).abs().max() == 0
    assert model.training


def test_more_tokens_than_the_context_are_refused(model: GPT) -> None:
    with pytest.raises(ValueError, match="13 tokens exceed the context: at most block_size=12"):
        model(torch.zeros(1, 13, dtype=torch.long))
