"""The fused model against the plain one of tests/reference: same weights, same logits, gradients and attention."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt_experiments.config import ModelConfig
from gpt_experiments.model import GPT, from_notebook_state_dict
from gpt_experiments.model.notebook_format import fuse_heads
from gpt_experiments.parameters import AttentionScale, Shape
from tests.reference.plain_gpt import PlainGPT

_LEAST_WIDTH = 8  # a norm over two or three numbers divides by what rounding leaves of their difference


@st.composite
def model_configs(draw: st.DrawFn) -> ModelConfig:
    n_head = draw(st.integers(1, 10))
    variant = Shape(
        n_head=n_head,
        n_layer=draw(st.integers(1, 3)),
        n_embed=n_head * draw(st.integers(-(-_LEAST_WIDTH // n_head), 8)),
        dropout=0.0,
        block_size=draw(st.integers(1, 20)),
    )
    scale = draw(st.sampled_from(get_args(AttentionScale)))
    return ModelConfig(shape=variant, vocab_size=draw(st.integers(2, 70)), attention_scale=scale)


def _pair(config: ModelConfig, seed: int) -> tuple[PlainGPT, GPT, torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    plain = PlainGPT(config)
    fused = from_notebook_state_dict(plain.state_dict(), attention_scale=config.attention_scale)
    length = int(torch.randint(1, config.shape.block_size + 1, ()))
    tokens = torch.randint(config.vocab_size, (3, length + 1))
    return plain, fused, tokens[:, :-1], tokens[:, 1:]


@settings(max_examples=60, deadline=None)
@given(config=model_configs(), seed=st.integers(0, 2**32 - 1))
def test_logits_gradients_and_attention_are_those_of_the_plain_model(config: ModelConfig, seed: int) -> None:
    plain, fused, inputs, targets = _pair(config, seed)
    fused.train()
    logits = {}
    for name, model in (("plain", plain), ("fused", fused)):
        logits[name] = model(inputs)
        F.cross_entropy(logits[name].flatten(0, 1), targets.flatten()).backward()
    torch.testing.assert_close(logits["fused"], logits["plain"], atol=1e-5, rtol=1e-5)

    expected = fuse_heads({name: p.grad for name, p in plain.named_parameters()}, config.shape)
    found = {name: p.grad for name, p in fused.named_parameters()}
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-4, msg=lambda text, n=name: f"{n}: {text}")

    plain(inputs[:1])
    maps = fused.attention_maps(inputs[0])
    torch.testing.assert_close(maps, plain.last_attention(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("scale", get_args(AttentionScale))
def test_the_scale_is_the_one_asked_for(scale: AttentionScale) -> None:
    config = ModelConfig(shape=Shape(n_head=4, n_embed=64, dropout=0.0), vocab_size=20, attention_scale=scale)
    assert config.score_scale == pytest.approx(64**-0.5 if scale == "n_embed" else 16**-0.5)
    plain, fused, inputs, _ = _pair(config, 0)
    other = from_notebook_state_dict(
        plain.state_dict(), attention_scale="head_size" if scale == "n_embed" else "n_embed"
    )
    torch.testing.assert_close(fused(inputs), plain(inputs), atol=1e-5, rtol=1e-5)
    assert (other(inputs) - plain(inputs)).abs().max() > 1e-4


def test_dropout_has_the_rate_and_the_scale_of_the_plain_model() -> None:
    """Over many draws the means of both models' outputs agree, and so do their spreads."""
    config = ModelConfig(shape=Shape(n_head=2, n_layer=1, n_embed=8, dropout=0.3, block_size=6), vocab_size=5)
    plain, _, inputs, _ = _pair(config, 1)
    fused = GPT(config)
    fused.load_state_dict(fuse_heads(plain.state_dict(), config.shape))
    fused.train()
    many = inputs[:1].expand(6000, -1)
    with torch.no_grad():
        ours, theirs = fused(many), plain(many)
    assert ours.std(0).mean() > 0.01
    torch.testing.assert_close(ours.mean(0), theirs.mean(0), atol=0.02, rtol=0)
    torch.testing.assert_close(ours.std(0), theirs.std(0), atol=0.02, rtol=0.05)


def test_n_params_counts_what_both_models_hold() -> None:
    config = ModelConfig(shape=Shape(n_head=3, n_layer=2, n_embed=12, block_size=7), vocab_size=11)
    for model in (PlainGPT(config), GPT(config)):
        assert sum(p.numel() for p in model.parameters()) == config.n_params


def test_initial_weights_have_the_plain_models_distribution() -> None:
    config = ModelConfig(shape=Shape(n_head=4, n_layer=3, n_embed=64), vocab_size=65)
    torch.manual_seed(3)
    plain = fuse_heads(PlainGPT(config).state_dict(), config.shape)
    for name, tensor in GPT(config).state_dict().items():
        if name.endswith("weight") and tensor.dim() == 2:
            assert tensor.std().item() == pytest.approx(plain[name].std().item(), rel=0.1), name
            assert tensor.abs().max().item() == pytest.approx(plain[name].abs().max().item(), rel=0.25), name
