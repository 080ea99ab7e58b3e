"""Causal attention and dropout by the fastest way that there is: compiled for the CPU, else PyTorch's own."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


@cache
def cpu_kernels() -> ModuleType | None:
    """The compiled kernels; None where Numba is not installed or does not run."""
    try:
        from gpt_experiments.model import cpu_kernels as kernels
    except ImportError:
        return None
    return kernels


def has_cpu_kernels() -> bool:
    """Whether the compiled kernels will be there, told without the second that loading them takes."""
    return find_spec("numba") is not None


def causal_attention(qkv: Tensor, *, scale: float, dropout: float) -> Tensor:
    """Attended values (B, T, n_head, head_size) of queries, keys and values (B, T, 3, n_head, head_size).

    Scores are multiplied by `scale`; attention weights are dropped with probability `dropout`, drawn from torch's
    global generator.
    """
    # Without dropout PyTorch has a fused kernel of its own for the CPU, which is no slower.
    if dropout > 0 and qkv.device.type == "cpu" and qkv.dtype == torch.float32 and cpu_kernels() is not None:
        return _CpuAttention.apply(qkv, scale, dropout)  # type: ignore[no-untyped-call]
    q, k, v = qkv.permute(2, 0, 3, 1, 4)  # three of (B, n_head, T, head_size)
    attended = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True, scale=scale)
    return attended.transpose(1, 2)


class Dropout(nn.Module):
    """As torch.nn.Dropout, by the compiled kernel where there is one."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        if x.device.type == "cpu" and x.dtype == torch.float32 and cpu_kernels() is not None:
            return _CpuDropout.apply(x, self.p)  # type: ignore[no-untyped-call]
        return F.dropout(x, self.p)


def _mask(dropout: float) -> tuple[np.uint32, np.float32, np.uint32]:
    """What a kernel needs to drop: threshold, factor of what is kept, and a fresh seed."""
    keep = 1 - dropout
    seed = int(torch.randint(2**32, (), dtype=torch.int64))
    return np.uint32(max(0, round(keep * 2**32) - 1)), np.float32(1 / keep), np.uint32(seed)


class _CpuAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, scale: float, dropout: float) -> Tensor:
        kernels = cpu_kernels()
        assert kernels is not None
        qkv = qkv.contiguous()
        n_batch, n_time, _, n_head, head_size = qkv.shape
        out, log_sums = qkv.new_empty(n_batch, n_time, n_head, head_size), qkv.new_empty(n_batch, n_head, n_time)
        ctx.constants = (np.float32(scale), *_mask(dropout))
        kernels.attention_forward(qkv.detach().numpy(), out.numpy(), log_sums.numpy(), *ctx.constants)
        ctx.save_for_backward(qkv, out, log_sums)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        kernels = cpu_kernels()
        assert kernels is not None
        qkv, out, log_sums = ctx.saved_tensors
        grad_qkv = torch.empty_like(qkv)
        arrays = [tensor.detach().numpy() for tensor in (qkv, out, log_sums, grads[0].contiguous(), grad_qkv)]
        kernels.attention_backward(*arrays, *ctx.constants)
        return grad_qkv, None, None


class _CpuDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dropout: float) -> Tensor:
        ctx.constants = _mask(dropout)
        return _drop(x, ctx.constants)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _drop(grads[0], ctx.constants), None


def _drop(x: Tensor, constants: tuple[np.uint32, np.float32, np.uint32]) -> Tensor:
    kernels = cpu_kernels()
    assert kernels is not None
    rows = x.detach().contiguous().view(-1, x.shape[-1])
    out = torch.empty_like(rows)
    kernels.dropout(rows.numpy(), out.numpy(), *constants)
    return out.view(x.shape)
