"""The glue between the compiled kernels and PyTorch: functions that autograd can differentiate.

Everything here takes and gives float32 on the CPU. The random numbers of a mask hang on its seed and on the
position alone: neither the number of threads nor the split into parts changes a result.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gpt_experiments.kernels.attention import attention_backward, attention_forward
from gpt_experiments.kernels.dropout import KEEP_ALL, add_dropped, drop


def are_kept() -> bool:
    """Whether what Numba compiles is there for the next process as well."""
    return attention_forward.stats.cache_path is not None


class _Mask(NamedTuple):
    """What a kernel needs to drop: threshold, factor of what is kept, seed."""

    threshold: np.uint32
    inverse_keep: np.float32
    seed: np.uint32


def _draw_mask(dropout: float) -> _Mask:
    """A fresh mask from torch's global generator, from which nothing is drawn where nothing is dropped."""
    if dropout == 0:
        return _Mask(KEEP_ALL, np.float32(1), np.uint32(0))
    keep = 1 - dropout
    seed = int(torch.randint(2**32, (), dtype=torch.int64))
    return _Mask(np.uint32(max(0, round(keep * 2**32) - 1)), np.float32(1 / keep), np.uint32(seed))


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="cpu-kernels")


def _in_parts(n: int, compute: Callable[[slice], None]) -> None:
    """Run `compute` on consecutive parts of range(n), one for each of torch's threads; kernels release the GIL."""
    count = min(torch.get_num_threads(), n)
    if count <= 1:
        compute(slice(0, n))
        return
    bounds = [n * part // count for part in range(count + 1)]
    list(_threads(count).map(lambda ends: compute(slice(*ends)), pairwise(bounds)))


class Attention(torch.autograd.Function):
    """Attended values (B, T, n_head, head_size) of qkv (B, T, 3, n_head, head_size)."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, scale: float, dropout: float) -> Tensor:
        qkv = qkv.contiguous()
        n_batch, n_time, _, n_head, head_size = qkv.shape
        out, log_sums = qkv.new_empty(n_batch, n_time, n_head, head_size), qkv.new_empty(n_batch, n_head, n_time)
        ctx.constants = (np.float32(scale), *_draw_mask(dropout))
        arrays = [tensor.detach().numpy() for tensor in (qkv, out, log_sums)]

        def compute(part: slice) -> None:
            first_row = part.start * n_head * n_time
            attention_forward(*(array[part] for array in arrays), first_row, *ctx.constants)

        _in_parts(n_batch, compute)
        ctx.save_for_backward(qkv, out, log_sums)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        qkv, out, log_sums = ctx.saved_tensors
        n_batch, n_head, n_time = log_sums.shape
        grad_qkv = torch.empty_like(qkv)
        arrays = [tensor.detach().numpy() for tensor in (qkv, out, log_sums, grads[0].contiguous(), grad_qkv)]

        def compute(part: slice) -> None:
            first_row = part.start * n_head * n_time
            attention_backward(*(array[part] for array in arrays), first_row, *ctx.constants)

        _in_parts(n_batch, compute)
        return grad_qkv, None, None


class AddDropped(torch.autograd.Function):
    """x + dropout(y), both (B, T, n_embed)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, dropout: float) -> Tensor:
        ctx.mask = _draw_mask(dropout)
        return _add_dropped(x, y, ctx.mask)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        return grads[0], _add_dropped(None, grads[0], ctx.mask), None


def _add_dropped(x: Tensor | None, y: Tensor, mask: _Mask) -> Tensor:
    y = y.detach().contiguous()
    out = torch.empty_like(y)
    rows, result = y.view(-1, y.shape[-1]).numpy(), out.view(-1, y.shape[-1]).numpy()
    if x is None:
        _in_parts(len(rows), lambda part: drop(rows[part], result[part], part.start, *mask))
    else:
        stream = x.detach().contiguous().view(-1, y.shape[-1]).numpy()
        _in_parts(
            len(rows),
            lambda part: add_dropped(stream[part], rows[part], result[part], part.start, *mask),
        )
    return out
