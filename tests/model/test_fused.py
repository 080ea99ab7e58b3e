"""Compiled attention and dropout against PyTorch's own, and their random masks against what random means."""

from __future__ import annotations

import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gpt_experiments.model import fused
from gpt_experiments.model.fused import Dropout, causal_attention, cpu_kernels

compiled = pytest.mark.skipif(cpu_kernels() is None, reason="needs Numba")


@pytest.fixture
def without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "cpu_kernels", lambda: None)


def plain(qkv: Tensor, scale: float) -> Tensor:
    """Attention as the formula has it, without dropout."""
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    scores = (q @ k.transpose(-2, -1) * scale).masked_fill(
        torch.ones(q.shape[2], q.shape[2], dtype=torch.bool).triu(1), float("-inf")
    )
    return (scores.softmax(-1) @ v).transpose(1, 2)


@compiled
@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 70), st.integers(1, 4), st.sampled_from([1, 3, 8, 16, 17])),
    spread=st.sampled_from([0.01, 1.0, 4.0]),
    seed=st.integers(0, 1000),
)
def test_where_nothing_is_dropped_values_and_gradients_are_the_formulas(
    shape: tuple[int, int, int, int], spread: float, seed: int
) -> None:
    n_batch, n_time, n_head, head_size = shape
    generator = torch.Generator().manual_seed(seed)
    qkv = torch.randn(n_batch, n_time, 3, n_head, head_size, generator=generator, dtype=torch.float64) * spread
    grad = torch.randn(n_batch, n_time, n_head, head_size, generator=generator, dtype=torch.float64)
    exact, ours = qkv.clone().requires_grad_(), qkv.float().requires_grad_()
    expected, found = plain(exact, 0.3), causal_attention(ours, scale=0.3, dropout=1e-12)  # keeps all
    expected.backward(grad)
    found.backward(grad.float())
    assert exact.grad is not None
    assert ours.grad is not None
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5 * spread * max(1.0, spread))
    torch.testing.assert_close(ours.grad.double(), exact.grad, rtol=1e-4, atol=2e-5 * max(1.0, spread) ** 2)


def recovered_weights(dropout: float, n_time: int = 64, heads: int = 3) -> Tensor:
    """The weights after dropout (heads, T, T): with the identity as values they are the output."""
    qkv = torch.zeros(1, n_time, 3, heads, n_time)
    qkv[0, :, 2] = torch.eye(n_time)[:, None]
    return causal_attention(qkv, scale=1.0, dropout=dropout)[0].transpose(0, 1)


@compiled
def test_weights_are_dropped_as_often_as_asked_and_the_others_scaled_up() -> None:
    torch.manual_seed(0)
    p, uniform = 0.1, 1 / torch.arange(1, 65).float()[:, None]
    seen = torch.stack([recovered_weights(p) for _ in range(60)])  # (60, heads, T, T)
    earlier = torch.ones(64, 64, dtype=torch.bool).tril().expand_as(seen)
    kept = seen[earlier] > 0
    n = kept.numel()
    assert abs(float((~kept).float().mean()) - p) < 4 * (p * (1 - p) / n) ** 0.5
    scaled = (seen / uniform)[earlier][kept]
    torch.testing.assert_close(scaled, torch.full_like(scaled, 1 / (1 - p)), rtol=1e-5, atol=0)


@compiled
def test_masks_are_independent_between_rows_columns_heads_and_calls() -> None:
    torch.manual_seed(1)
    masks = torch.stack([recovered_weights(0.5) for _ in range(40)])[:, :, 32:, :32] > 0  # all earlier: (40, 3, 32, 32)
    values = masks.float() - 0.5
    n = values.numel()
    for shifted in (
        values.roll(1, 0),
        values.roll(1, 1),
        values.roll(1, 2),
        values.roll(1, 3),
        values.roll((1, 1), (2, 3)),
    ):
        correlation = float((values * shifted).mean() / 0.25)
        assert abs(correlation) < 5 / n**0.5
    first, again = masks[0], masks[1]
    assert not torch.equal(first, again)


@compiled
def test_the_backward_pass_drops_what_the_forward_pass_dropped() -> None:
    """With the mask held by the seed, the gradient is that of finite differences."""
    torch.manual_seed(2)
    qkv = torch.randn(1, 5, 3, 2, 4)

    def loss(x: Tensor) -> Tensor:
        torch.manual_seed(7)
        return causal_attention(x, scale=0.5, dropout=0.4).square().sum()

    x = qkv.clone().requires_grad_()
    loss(x).backward()
    assert x.grad is not None
    step = 1e-2
    for index in [(0, 4, 0, 1, 2), (0, 0, 1, 0, 3), (0, 2, 2, 1, 0), (0, 3, 1, 1, 1)]:
        up, down = qkv.clone(), qkv.clone()
        up[index] += step
        down[index] -= step
        slope = float(loss(up) - loss(down)) / (2 * step)
        assert float(x.grad[index]) == pytest.approx(slope, abs=5e-3, rel=2e-2)


@compiled
def test_dropout_alone_scales_what_it_keeps_and_its_gradient_alike() -> None:
    torch.manual_seed(3)
    layer = Dropout(0.3)
    x = torch.ones(200, 7, 33, requires_grad=True)
    out = layer(x)
    kept = out > 0
    assert float(kept.float().mean()) == pytest.approx(0.7, abs=4 * (0.21 / x.numel()) ** 0.5)
    torch.testing.assert_close(out[kept], torch.full_like(out[kept], 1 / 0.7))
    out.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad > 0, kept)
    assert torch.equal(layer.eval()(x), x)


@compiled
def test_equal_seeds_give_equal_masks_and_no_draw_is_made_without_dropout() -> None:
    torch.manual_seed(4)
    first = recovered_weights(0.2)
    torch.manual_seed(4)
    assert torch.equal(recovered_weights(0.2), first)
    torch.manual_seed(5)
    recovered_weights(0.0)
    untouched = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), untouched)


@pytest.mark.usefixtures("without_kernels")
def test_without_numba_pytorch_serves() -> None:
    torch.manual_seed(6)
    qkv = torch.randn(2, 9, 3, 2, 4)
    torch.testing.assert_close(causal_attention(qkv, scale=0.5, dropout=0.0), plain(qkv, 0.5))
    weights = recovered_weights(0.5)
    assert 0.3 < float((weights[:, 32:, :32] > 0).float().mean()) < 0.7
    out = Dropout(0.5)(torch.ones(100, 100))
    assert set(out.unique().tolist()) == {0.0, 2.0}


def test_numba_that_is_not_there_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "gpt_experiments.model.cpu_kernels", raising=False)
    monkeypatch.delattr("gpt_experiments.model.cpu_kernels", raising=False)
    cpu_kernels.cache_clear()
    try:
        assert cpu_kernels() is None
    finally:
        cpu_kernels.cache_clear()
