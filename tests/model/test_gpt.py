"""What any causal model must do, whatever its weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gpt_experiments.config import ModelConfig
from gpt_experiments.kernels import causal_attention
from gpt_experiments.model import GPT
from gpt_experiments.model.gpt import ExplicitAttention
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
    with pytest.raises(ValueError, match="13 tokens exceed the context: at most block_size=12"):
        model(torch.zeros(1, 5, dtype=torch.long), start=8)


def test_explicit_weights_give_the_same_logits_and_are_kept(model: GPT) -> None:
    tokens = torch.randint(9, (2, 11))
    explicit = [ExplicitAttention() for _ in model.blocks]
    torch.testing.assert_close(model(tokens, attend=explicit), model(tokens))
    maps = model.attention_maps(tokens[1])
    for layer, weights in zip(explicit, maps, strict=True):
        torch.testing.assert_close(layer.weights[1], weights)


def test_explicit_weights_are_dropped_as_often_as_asked() -> None:
    torch.manual_seed(0)
    qkv = torch.zeros(1, 100, 3, 1, 100)
    qkv[0, :, 2, 0] = torch.eye(100)  # with the identity as values, the output is the weights
    dropped = ExplicitAttention()(qkv, scale=1.0, dropout=0.25)[0, :, 0]
    kept = dropped[torch.ones(100, 100).tril() > 0] > 0
    assert float(kept.float().mean()) == pytest.approx(0.75, abs=0.03)
    torch.testing.assert_close(dropped[99].max(), torch.tensor(0.01 / 0.75))


def test_a_block_goes_on_with_the_positions_that_attend(model: GPT) -> None:
    def last_two(qkv: Tensor, *, scale: float, dropout: float) -> Tensor:
        return causal_attention(qkv, scale=scale, dropout=dropout)[:, -2:]

    tokens = torch.randint(9, (3, 12))
    found = model(tokens, attend=[causal_attention, causal_attention, last_two])
    torch.testing.assert_close(found, model(tokens)[:, -2:])


def test_there_is_one_way_to_attend_for_each_block(model: GPT) -> None:
    with pytest.raises(ValueError, match="shorter"):
        model(torch.zeros(1, 2, dtype=torch.long), attend=[causal_attention])


def test_the_weights_of_matrix_products_are_those_of_the_linear_layers(model: GPT) -> None:
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    assert model.config.matmul_weights == sum(module.weight.numel() for module in linear)
