"""One optimisation step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gpt_experiments.model.gpt import GPT
from gpt_experiments.parameters import TrainingSetup
from gpt_experiments.training.adamw import AdamW


def training_step(model: GPT, optimizer: AdamW, inputs: Tensor, targets: Tensor, setup: TrainingSetup) -> Tensor:
    """Take one step on inputs and targets (B, T); returns the loss before it, nats per character, on the device."""
    model.train()
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=setup.precision == "bfloat16"):
        logits = model(inputs)  # (B, T, vocab_size)
    loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
    loss.backward()
    optimizer.step()
    return loss.detach()
