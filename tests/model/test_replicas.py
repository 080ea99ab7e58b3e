"""Several models as one batched model, against the models themselves."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gpt_experiments.config import ModelConfig
from gpt_experiments.model import GPT
from gpt_experiments.model.replicas import ReplicaGPT
from gpt_experiments.parameters import Shape

SMALL = Shape(n_head=2, n_layer=2, n_embed=8, dropout=0.0, block_size=12)


def models(dropouts: list[float], variant: Shape = SMALL, vocab_size: int = 11) -> list[GPT]:
    made = []
    for seed, dropout in enumerate(dropouts):
        torch.manual_seed(seed)
        config = ModelConfig(shape=dataclasses.replace(variant, dropout=dropout), vocab_size=vocab_size)
        made.append(GPT(config))
    return made


@settings(max_examples=30, deadline=None)
@given(
    n_head=st.integers(1, 4), head_size=st.integers(1, 6), n_layer=st.integers(1, 3), block_size=st.integers(1, 20),
    replicas=st.integers(1, 4), vocab_size=st.integers(2, 30), train=st.booleans(), data=st.data(),
)  # fmt: skip
def test_logits_and_gradients_are_those_of_each_model_alone(
    n_head: int, head_size: int, n_layer: int, block_size: int, replicas: int, vocab_size: int, train: bool,
    data: st.DataObject,
) -> None:  # fmt: skip
    variant = Shape(n_head=n_head, n_layer=n_layer, n_embed=n_head * head_size, dropout=0.0, block_size=block_size)
    # In double precision, because a norm over two features that are nearly equal multiplies what float32 rounds off.
    alone = [model.double() for model in models([0.0] * replicas, variant, vocab_size)]
    together = ReplicaGPT(alone).train(train)
    length = data.draw(st.integers(1, block_size))
    tokens = torch.randint(vocab_size, (replicas, 3, length + 1))
    logits = together(tokens[..., :-1])
    assert logits.shape == (replicas, 3, length, vocab_size)
    loss = F.cross_entropy(logits.flatten(0, 2), tokens[..., 1:].flatten(), reduction="sum")
    (grad,) = torch.autograd.grad(loss, together.parameters_of_all)
    for r, model in enumerate(alone):
        expected = model(tokens[r, :, :-1])
        torch.testing.assert_close(logits[r], expected, atol=1e-5, rtol=1e-5)
        F.cross_entropy(expected.flatten(0, 1), tokens[r, :, 1:].flatten(), reduction="sum").backward()
        gradients = {name: p.grad for name, p in model.named_parameters()}
        flat = torch.cat([gradients[name].flatten() for name in together.shapes])
        torch.testing.assert_close(grad[r, : len(flat)], flat, atol=1e-5, rtol=1e-5)
        assert grad[r, len(flat) :].abs().sum() == 0


def test_unstacking_gives_back_the_models_that_were_stacked_and_draws_nothing() -> None:
    alone = models([0.0, 0.1, 0.1, 0.3])
    torch.manual_seed(5)
    together = ReplicaGPT(alone).eval()
    again = together.unstack()
    untouched = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), untouched)
    tokens = torch.randint(11, (2, 7))
    logits = together(tokens)  # all replicas see the same
    for r, (before, after) in enumerate(zip(alone, again, strict=True)):
        assert after.config == before.config
        assert after.state_dict().keys() == before.state_dict().keys()
        assert all(torch.equal(a, b) for a, b in zip(after.parameters(), before.parameters(), strict=True))
        assert all(p.requires_grad and p.device.type == "cpu" for p in after.parameters())
        assert not after.training
        torch.testing.assert_close(after(tokens), logits[r])
    with torch.no_grad():
        together.parameters_of_all.add_(1)
    assert torch.equal(next(again[0].parameters()), next(alone[0].parameters()))  # a copy, no view


def drawn(dropouts: list[float], n: int) -> tuple[Tensor, list[GPT], Tensor]:
    """Logits (R, n, T, V) of models of equal weights on n times the same tokens, the models, and those tokens (T,)."""
    alone = models(dropouts, dataclasses.replace(SMALL, n_layer=1))
    for model in alone[1:]:
        model.load_state_dict(alone[0].state_dict())
    tokens = torch.randint(11, (8,), generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    with torch.no_grad():
        return ReplicaGPT(alone).train()(tokens.expand(n, 8)), alone, tokens


@pytest.mark.parametrize("dropouts", [[0.0, 0.1, 0.3], [0.3, 0.3]])
def test_each_replica_drops_at_its_own_rate_as_its_model_alone_does(dropouts: list[float]) -> None:
    logits, alone, tokens = drawn(dropouts, 8000)
    for r, model in enumerate(alone):
        torch.manual_seed(r)
        with torch.no_grad():
            expected = model.train()(tokens.expand(8000, 8))
        if dropouts[r] == 0:
            torch.testing.assert_close(logits[r], expected)
        else:
            assert expected.std(0).mean() > 0.01
            torch.testing.assert_close(logits[r].mean(0), expected.mean(0), atol=0.02, rtol=0)
            torch.testing.assert_close(logits[r].std(0), expected.std(0), atol=0.015, rtol=0.05)


def test_replicas_of_one_level_draw_masks_of_their_own() -> None:
    logits, _, _ = drawn([0.3, 0.3], 2000)
    a, b = (x - x.mean(0) for x in logits)
    correlation = (a * b).mean(0) / (a.std(0) * b.std(0))
    assert correlation.abs().max() < 0.15  # its spread is 0.022


@pytest.mark.parametrize(("rates", "draws"), [([0.0, 0.0], False), ([0.0, 0.2], True)])
def test_nothing_is_drawn_where_no_replica_drops_and_in_evaluation(rates: list[float], draws: bool) -> None:
    together = ReplicaGPT(models(rates))
    tokens = torch.zeros(1, 4, dtype=torch.long)
    for train, drawn_from in ((True, draws), (False, False)):
        before = torch.get_rng_state()
        together.train(train)(tokens)
        assert torch.equal(torch.get_rng_state(), before) != drawn_from


def test_in_bfloat16_the_logits_and_gradients_are_those_of_autocast_alone() -> None:
    alone = models([0.0, 0.0])
    together = ReplicaGPT(alone)
    tokens = torch.randint(11, (2, 3, 12))
    with torch.autocast("cpu", torch.bfloat16):
        logits = together(tokens)
        expected = [model(part) for model, part in zip(alone, tokens, strict=True)]
    assert logits.dtype == torch.bfloat16 == expected[0].dtype
    torch.testing.assert_close(logits, torch.stack(expected), atol=0.02, rtol=0.02)
    (grad,) = torch.autograd.grad(logits.float().square().sum(), together.parameters_of_all)
    assert grad.dtype == torch.float32
    for r, model in enumerate(alone):
        expected[r].float().square().sum().backward()
        flat = torch.cat([model.get_parameter(name).grad.flatten() for name in together.shapes])  # type: ignore[union-attr]
        error = (grad[r, : len(flat)] - flat).norm() / flat.norm()
        assert error < 0.02


def test_models_of_other_shapes_and_too_many_tokens_are_refused() -> None:
    (model,) = models([0.0])
    (wider,) = models([0.0], dataclasses.replace(SMALL, n_embed=16))
    for refused in ([], [model, wider]):
        with pytest.raises(ValueError, match="replicas must be models of one shape"):
            ReplicaGPT(refused)
    with pytest.raises(ValueError, match="13 tokens exceed the context: at most block_size=12"):
        ReplicaGPT([model])(torch.zeros(1, 13, dtype=torch.long))
