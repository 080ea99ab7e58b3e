"""Which windows of the training split are trained on, in which order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor

_CHUNK: Final = 256  # steps whose offsets are drawn, and sent to the device, at once


def training_batches(tokens: Tensor, *, batch_size: int, block_size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches of inputs and targets, each (batch_size, block_size), cut at uniformly random offsets.

    Windows are gathered by index arithmetic on the device where `tokens` (n,) lies. The offsets depend on the seed,
    the batch shape and the length of `tokens` alone, and are drawn on the CPU: every device, and every variant of the
    same shape, sees the same batches in the same order.
    """
    generator = torch.Generator().manual_seed(seed)
    window = torch.arange(block_size, device=tokens.device)  # (block_size,)
    while True:
        offsets = torch.randint(len(tokens) - block_size, (_CHUNK, batch_size, 1), generator=generator)
        for starts in offsets.to(tokens.device):
            index = starts + window  # (batch_size, block_size)
            yield tokens[index], tokens[index + 1]
