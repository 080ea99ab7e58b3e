"""Draws the windows of the training split that are trained on, and their order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    window = torch.arange(block_size, device=tokens.device)  # (block_size,)
    for offsets in _offset_chunks(len(tokens) - block_size, batch_size, seed):
        for starts in offsets.to(tokens.device):
            index = starts + window  # (batch_size, block_size)
            yield tokens[index], tokens[index + 1]


def _offset_chunks(n_offsets: int, batch_size: int, seed: int) -> Iterator[Tensor]:
    """Endless chunks (_CHUNK, batch_size, 1) of offsets below `n_offsets`, on the CPU."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield torch.randint(n_offsets, (_CHUNK, batch_size, 1), generator=generator)


class ReplicaBatches:
    """The batches of several seeds side by side, the same as `training_batches` gives each seed alone.

    The host refills a buffer on the device, and a step that lies on the device picks from it: nothing waits.

    Args:
        tokens: (n,), the training split, on the device that trains.
        seeds: one for each of the R replicas.
    """

    def __init__(self, tokens: Tensor, *, batch_size: int, block_size: int, seeds: Sequence[int]) -> None:
        self._tokens = tokens
        self._window = torch.arange(block_size, device=tokens.device)
        self._chunks = [_offset_chunks(len(tokens) - block_size, batch_size, seed) for seed in seeds]
        shape = (_CHUNK, len(seeds), batch_size, 1)
        self._offsets = torch.zeros(shape, dtype=torch.int64, device=tokens.device)

    def prepare(self, step: int) -> int:
        """Prepare batches for the step after `step` steps; returns for how many steps they last."""
        used = step % _CHUNK
        if used == 0:
            chunk = torch.stack([next(chunks) for chunks in self._chunks], dim=1)  # (_CHUNK, R, batch_size, 1)
            on_cuda = self._tokens.device.type == "cuda"
            if on_cuda:
                chunk = chunk.pin_memory()  # from pageable memory the copy would wait for the device
            # Elsewhere the copy must wait: nothing would keep the chunk alive until an asynchronous copy has read it.
            self._offsets.copy_(chunk, non_blocking=on_cuda)
        return _CHUNK - used

    def gather(self, step: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets (R, batch_size, block_size) for the step that follows `step` (1,) steps."""
        starts = self._offsets.index_select(0, step.remainder(_CHUNK))[0]  # (R, batch_size, 1)
        index = starts + self._window
        return self._tokens[index], self._tokens[index + 1]
