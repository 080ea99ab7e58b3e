"""The exact loss of a model on a whole split, and how it falls with what the model has seen."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gpt_experiments.model.gpt import GPT

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
    off. Sums are added in float64; nothing waits for the device before the end.
    """
    was_training = model.training
    model.eval()
    block_size, targets_in_all = model.config.variant.block_size, len(tokens) - 1
    windows, rest = divmod(targets_in_all, block_size)
    whole = windows * block_size  # targets that fill whole windows
    inputs, targets = tokens[:whole].view(-1, block_size), tokens[1 : whole + 1].view(-1, block_size)
    at_once = max(1, _TOKENS_AT_ONCE[model.device.type] // block_size)
    sums = [_summed_losses(model, x, y) for x, y in zip(inputs.split(at_once), targets.split(at_once), strict=True)]
    if rest:
        last = _summed_losses(model, tokens[None, whole:-1], tokens[None, whole + 1 :])  # (rest,)
        sums.append(F.pad(last, (0, block_size - rest)))
    model.train(was_training)
    by_position = torch.stack(sums).cpu().double().sum(dim=0)  # (block_size,); here the device is waited for
    counts = windows + (torch.arange(block_size) < rest).double()
    seen = counts > 0
    return SplitLoss(
        mean=float(by_position.sum()) / targets_in_all, by_position=tuple((by_position[seen] / counts[seen]).tolist())
    )


def _summed_losses(model: GPT, inputs: Tensor, targets: Tensor) -> Tensor:
    """The losses of inputs and targets (B, T), summed over B: (T,)."""
    logits = model(inputs)  # (B, T, vocab_size)
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape).sum(dim=0)
