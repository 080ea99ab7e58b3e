"""The exact loss of a model on a whole split, and how it falls with the length of the context."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gpt_experiments.model.gpt import GPT
from gpt_experiments.model.replicas import ReplicaGPT

_TOKENS_AT_ONCE = {"cpu": 4_096, "mps": 32_768, "cuda": 131_072}  # bounds the memory of one forward pass


@dataclass(frozen=True, kw_only=True)
class SplitLoss:
    """Cross-entropy on a split, nats per character.

    Attributes:
        mean: over every character of the split but the first.
        by_position: over the characters predicted at each position of the windows: entry i has seen i + 1 characters.
            As many entries as the block_size, fewer where the split is shorter.
    """

    mean: float
    by_position: tuple[float, ...]


@torch.no_grad()
def evaluate(model: GPT, tokens: Tensor) -> SplitLoss:
    """The loss on `tokens` (n,), the split read in consecutive windows of block_size, the last one shorter.

    So each token is predicted exactly once, and two evaluations of the same weights give the same numbers. Dropout is
    off. Sums are added in float64; only the end waits for the device.
    """
    was_training = model.training
    model.eval()
    block_size = model.config.shape.block_size
    at_once = max(1, _TOKENS_AT_ONCE[model.device.type] // block_size)
    sums = _sums_by_position(lambda x, y: _losses(model(x), y).sum(dim=0), tokens, block_size, at_once)
    model.train(was_training)
    return _split_loss(sums, len(tokens) - 1)


@torch.no_grad()
def evaluate_replicas(model: ReplicaGPT, tokens: Tensor) -> list[SplitLoss]:
    """What `evaluate` gives for each replica; all of them see a window together."""
    was_training = model.training
    model.eval()
    at_once = max(1, _TOKENS_AT_ONCE[model.device.type] // (model.block_size * len(model.configs)))

    def summed(inputs: Tensor, targets: Tensor) -> Tensor:
        logits = model(inputs)  # (R, B, T, vocab_size)
        return _losses(logits, targets.expand(logits.shape[:-1])).sum(dim=1)  # (R, T)

    sums = _sums_by_position(summed, tokens, model.block_size, at_once)  # (R, block_size)
    model.train(was_training)
    return [_split_loss(of_one, len(tokens) - 1) for of_one in sums]


def _sums_by_position(
    summed_losses: Callable[[Tensor, Tensor], Tensor], tokens: Tensor, block_size: int, at_once: int
) -> Tensor:
    """Losses (..., block_size) summed over all windows in float64, on the CPU; only this waits for the device.

    Args:
        summed_losses: from inputs and targets (B, T) to the losses (..., T) summed over B.
        at_once: windows in one call.
    """
    whole = (len(tokens) - 1) // block_size * block_size  # targets that fill whole windows
    inputs, targets = tokens[:whole].view(-1, block_size), tokens[1 : whole + 1].view(-1, block_size)
    sums = [summed_losses(x, y) for x, y in zip(inputs.split(at_once), targets.split(at_once), strict=True) if len(x)]
    rest = len(tokens) - 1 - whole
    if rest:
        last = summed_losses(tokens[None, whole:-1], tokens[None, whole + 1 :])  # (..., rest)
        sums.append(F.pad(last, (0, block_size - rest)))
    return torch.stack(sums).cpu().double().sum(dim=0)


def _split_loss(sums: Tensor, targets_in_all: int) -> SplitLoss:
    """The loss from sums by position (block_size,) and the number of characters predicted in all."""
    windows, rest = divmod(targets_in_all, len(sums))
    counts = windows + (torch.arange(len(sums)) < rest).double()
    seen = counts > 0
    return SplitLoss(mean=float(sums.sum()) / targets_in_all, by_position=tuple((sums[seen] / counts[seen]).tolist()))


def _losses(logits: Tensor, targets: Tensor) -> Tensor:
    """The loss of each of the targets (...) under logits (..., vocab_size)."""
    return F.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="none").view(targets.shape)
