"""The feed-forward in parts of few rows, so that its hidden layer is used while it is still in the cache.

The products are PyTorch's own: this works without Numba. It takes and gives float32 on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor

_HIDDEN_BYTES: Final = 512 * 1024  # of the hidden layer at once, for each thread: half a common L2 cache


class FeedForward(torch.autograd.Function):
    """relu(x @ w1.T + b1) @ w2.T + b2.

    Axes: x (..., n_embed), w1 (hidden, n_embed), w2 (n_embed, hidden).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
        rows = x.contiguous().view(-1, x.shape[-1])
        hidden, out = rows.new_empty(len(rows), len(w1)), torch.empty_like(rows)
        for part in _parts(len(rows), len(w1)):
            torch.addmm(b1, rows[part], w1.t(), out=hidden[part]).relu_()
            torch.addmm(b2, hidden[part], w2.t(), out=out[part])
        ctx.save_for_backward(rows, hidden, w1, w2)
        return out.view(x.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        rows, hidden, w1, w2 = ctx.saved_tensors
        grad = grads[0].contiguous().view(rows.shape)
        grad_x, grad_w2, grad_b1 = torch.empty_like(rows), torch.zeros_like(w2), w1.new_zeros(len(w1))
        grad_w1 = torch.zeros_like(w2)  # transposed: with fewer rows than columns its products are faster
        for part in _parts(len(rows), len(w1)):
            grad_hidden = grad[part] @ w2
            torch.ops.aten.threshold_backward.grad_input(grad_hidden, hidden[part], 0, grad_input=grad_hidden)
            grad_w2.addmm_(grad[part].t(), hidden[part])
            grad_w1.addmm_(rows[part].t(), grad_hidden)
            grad_b1 += grad_hidden.sum(dim=0)
            torch.mm(grad_hidden, w1, out=grad_x[part])
        return grad_x.view(grads[0].shape), grad_w1.t().contiguous(), grad_b1, grad_w2, grad.sum(dim=0)


def is_one_part(x: Tensor, w1: Tensor) -> bool:
    """Whether x (..., n_embed) has so few rows that the hidden layer of all of them stays in the cache."""
    return x.numel() <= _rows_at_once(len(w1)) * x.shape[-1]


def _parts(rows: int, hidden: int) -> Iterator[slice]:
    at_once = _rows_at_once(hidden)
    for start in range(0, rows, at_once):
        yield slice(start, min(start + at_once, rows))


def _rows_at_once(hidden: int) -> int:
    return max(1, _HIDDEN_BYTES // (4 * hidden)) * torch.get_num_threads()
