"""One optimisation step, and the optimiser that takes it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gpt_experiments.config import TrainingSetup
from gpt_experiments.model.gpt import GPT
from gpt_experiments.training.schedule import learning_rate_at


def make_optimizer(model: GPT, setup: TrainingSetup) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) over all parameters, with the setup's constants."""
    return torch.optim.AdamW(
        model.parameters(),
        lr=setup.learning_rate,
        betas=(setup.beta1, setup.beta2),
        weight_decay=setup.weight_decay,
        fused=True,  # one kernel for all tensors instead of several for each
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, setup: TrainingSetup, step: int) -> None:
    """Give the optimiser the learning rate of the step that follows `step` steps."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate_at(setup, step)


def training_step(
    model: GPT, optimizer: torch.optim.Optimizer, inputs: Tensor, targets: Tensor, setup: TrainingSetup
) -> Tensor:
    """Take one step on inputs and targets (B, T); the loss before it, nats per character, left on the device."""
    model.train()
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=setup.precision == "bfloat16"):
        logits = model(inputs)  # (B, T, vocab_size)
    loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.detach()
