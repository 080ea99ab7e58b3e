"""The exact loss of a model on a whole split."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gpt_experiments.model.gpt import GPT

_TOKENS_AT_ONCE = {"cpu": 8_192, "mps": 32_768, "cuda": 131_072}  # bounds the memory of one forward pass


@torch.no_grad()
def exact_loss(model: GPT, tokens: Tensor) -> float:
    """Mean cross-entropy, nats per character, of every token of `tokens` (n,) but the first.

    The split is read in consecutive windows of block_size, the last one shorter, so each token is predicted exactly
    once, and two evaluations of the same weights give the same number. Dropout is off. Window sums are added in
    float64; nothing waits for the device before the end.
    """
    was_training = model.training
    model.eval()
    block_size = model.config.variant.block_size
    whole = (len(tokens) - 1) // block_size * block_size  # targets that fill whole windows
    inputs, targets = tokens[:whole].view(-1, block_size), tokens[1 : whole + 1].view(-1, block_size)
    at_once = max(1, _TOKENS_AT_ONCE[model.device.type] // block_size)
    sums = [_summed_loss(model, x, y) for x, y in zip(inputs.split(at_once), targets.split(at_once), strict=True)]
    if whole < len(tokens) - 1:
        sums.append(_summed_loss(model, tokens[None, whole:-1], tokens[None, whole + 1 :]))
    model.train(was_training)
    return float(torch.stack(sums).cpu().double().sum()) / (len(tokens) - 1)


def _summed_loss(model: GPT, inputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), reduction="sum")
