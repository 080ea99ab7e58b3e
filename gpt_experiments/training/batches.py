"""Draws the windows of the training split that are trained on, and their order."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Final

import torch
from torch import Tensor

_CHUNK: Final = 256  # steps whose offsets are drawn, and sent to the device, at once


def training_batches(
    tokens: Tensor, *, batch_size: int, block_size: int, seed: int, start: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches of inputs and targets, each (batch_size, block_size), cut at uniformly random offsets.

    Windows are gathered by index arithmetic on the device where `tokens` (n,) lies. The offsets depend on the seed,
    the batch shape and the length of `tokens` alone, and are drawn on the CPU: every device, and every variant of the
    same shape, sees the same batches in the same order.

    Args:
        start: how many batches to leave out.
    """
    window = torch.arange(block_size, device=tokens.device)  # (block_size,)
    left_out = start % _CHUNK
    for offsets in _offset_chunks(len(tokens) - block_size, batch_size, seed, start // _CHUNK):
        rest, left_out = offsets[left_out:], 0
        for starts in rest.to(tokens.device):
            index = starts + window  # (batch_size, block_size)
            yield tokens[index], tokens[index + 1]


def _offset_chunks(n_offsets: int, batch_size: int, seed: int, left_out: int) -> Iterator[Tensor]:
    """Endless chunks (_CHUNK, batch_size, 1) of offsets below `n_offsets`, on the CPU, after so many that are left out.

    Those are drawn all the same, because a generator cannot jump; a thousand chunks take a tenth of a second.
    """
    generator = torch.Generator().manual_seed(seed)
    chunks = (torch.randint(n_offsets, (_CHUNK, batch_size, 1), generator=generator) for _ in itertools.count())
    return itertools.islice(chunks, left_out, None)


class ReplicaBatches:
    """The batches of several seeds side by side, the same as `training_batches` gives each seed alone.

    The host refills a buffer on the device, and a step that lies on the device picks from it: nothing waits.

    Args:
        tokens: (n,), the training split, on the device that trains.
        seeds: one for each of the R replicas.
        start: how many batches to leave out.
    """

    def __init__(
        self, tokens: Tensor, *, batch_size: int, block_size: int, seeds: Sequence[int], start: int = 0
    ) -> None:
        self._tokens = tokens
        self._window = torch.arange(block_size, device=tokens.device)
        self._next_chunk = start // _CHUNK
        n_offsets = len(tokens) - block_size
        self._chunks = [_offset_chunks(n_offsets, batch_size, seed, self._next_chunk) for seed in seeds]
        shape = (_CHUNK, len(seeds), batch_size, 1)
        self._offsets = torch.zeros(shape, dtype=torch.int64, device=tokens.device)

    def prepare(self, step: int) -> int:
        """Prepare batches for the step after `step` steps; returns for how many steps they last."""
        if step // _CHUNK == self._next_chunk:
            self._next_chunk += 1
            chunk = torch.stack([next(chunks) for chunks in self._chunks], dim=1)  # (_CHUNK, R, batch_size, 1)
            on_cuda = self._tokens.device.type == "cuda"
            if on_cuda:
                chunk = chunk.pin_memory()  # from pageable memory the copy would wait for the device
            # Elsewhere the copy must wait: nothing would keep the chunk alive until an asynchronous copy has read it.
            self._offsets.copy_(chunk, non_blocking=on_cuda)
        return _CHUNK - step % _CHUNK

    def gather(self, step: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets (R, batch_size, block_size) for the step that follows `step` (1,) steps."""
        starts = self._offsets.index_select(0, step.remainder(_CHUNK))[0]  # (R, batch_size, 1)
        index = starts + self._window
        return self._tokens[index], self._tokens[index + 1]
