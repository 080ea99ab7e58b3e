"""The exact loss of a model on a whole split, and how it falls with the length of the context."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gpt_experiments.model.gpt import GPT
from gpt_experiments.model.replicas import ReplicaGPT

_TOKENS_AT_ONCE = {"cpu": 4_096, "mps": 32_768, "cuda": 131_072}  # bounds the memory of one forward pass

MOST_CHARACTERS: Final = 2**17
"""Of how many characters a `SplitLoss` has the single losses: all of the study's validation split."""


@dataclass(frozen=True, kw_only=True)
class SplitLoss:
    """Cross-entropy on a split, nats per character.

    Attributes:
        mean: over every character of the split but the first.
        by_position: over the characters predicted at each position of the windows: entry i has seen i + 1 characters.
            As many entries as the block_size, fewer where the split is shorter.
        by_character: of each character of the split but the first, as float16, of the first MOST_CHARACTERS of them.
            Rounding is off by a two-thousandth at most. Entry i has seen i modulo block_size, plus 1, characters.
    """

    mean: float
    by_position: tuple[float, ...]
    by_character: NDArray[np.float16] = field(compare=False, repr=False)


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
    found = _sum_up(lambda x, y: _losses(model(x), y), tokens, block_size, at_once)
    model.train(was_training)
    return _split_loss(*found, len(tokens) - 1)


@torch.no_grad()
def evaluate_replicas(model: ReplicaGPT, tokens: Tensor) -> list[SplitLoss]:
    """What `evaluate` gives for each replica; all of them see a window together."""
    was_training = model.training
    model.eval()
    at_once = max(1, _TOKENS_AT_ONCE[model.device.type] // (model.block_size * len(model.configs)))

    def losses(inputs: Tensor, targets: Tensor) -> Tensor:
        logits = model(inputs)  # (R, B, T, vocab_size)
        return _losses(logits, targets.expand(logits.shape[:-1]))  # (R, B, T)

    of_all = _sum_up(losses, tokens, model.block_size, at_once)  # (R, block_size), (R, characters)
    model.train(was_training)
    return [_split_loss(*of_one, len(tokens) - 1) for of_one in zip(*of_all, strict=True)]


def _sum_up(
    losses_of: Callable[[Tensor, Tensor], Tensor], tokens: Tensor, block_size: int, at_once: int
) -> tuple[Tensor, NDArray[Any]]:
    """Losses summed over all windows in float64 (..., block_size), on the CPU, and single ones (..., characters).

    Only the end waits for the device.

    Args:
        losses_of: from inputs and targets (B, T) to the losses (..., B, T).
        at_once: windows in one call.
    """
    whole = (len(tokens) - 1) // block_size * block_size  # targets that fill whole windows
    inputs, targets = tokens[:whole].view(-1, block_size), tokens[1 : whole + 1].view(-1, block_size)
    pieces = [(x, y) for x, y in zip(inputs.split(at_once), targets.split(at_once), strict=True) if len(x)]
    if whole < len(tokens) - 1:
        pieces.append((tokens[None, whole:-1], tokens[None, whole + 1 :]))  # the rest, one shorter window
    sums, single, kept = [], [], 0
    for x, y in pieces:
        losses = losses_of(x, y)
        sums.append(F.pad(losses.sum(dim=-2), (0, block_size - x.shape[1])))
        if kept < MOST_CHARACTERS:
            single.append(losses.flatten(-2).half())
            kept += y.numel()
    by_character = torch.cat(single, dim=-1)[..., :MOST_CHARACTERS]
    return torch.stack(sums).cpu().double().sum(dim=0), by_character.cpu().numpy()


def _split_loss(sums: Tensor, by_character: NDArray[np.float16], targets_in_all: int) -> SplitLoss:
    """The loss from sums by position (block_size,) and the number of characters predicted in all."""
    windows, rest = divmod(targets_in_all, len(sums))
    counts = windows + (torch.arange(len(sums)) < rest).double()
    seen = counts > 0
    return SplitLoss(
        mean=float(sums.sum()) / targets_in_all,
        by_position=tuple((sums[seen] / counts[seen]).tolist()),
        by_character=by_character,
    )


def _losses(logits: Tensor, targets: Tensor) -> Tensor:
    """The loss of each of the targets (...) under logits (..., vocab_size)."""
    return F.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="none").view(targets.shape)
