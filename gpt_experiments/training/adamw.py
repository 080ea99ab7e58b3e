"""AdamW over many replicas' parameters at once, without a wait for the device."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from gpt_experiments.config import TrainingSetup

_EPS: Final = 1e-8  # torch.optim.AdamW's default


class ReplicaAdamW:
    """AdamW (Loshchilov and Hutter 2019) with the arithmetic of torch.optim.AdamW, a learning rate for each replica.

    What depends on the step alone (learning rates, bias corrections, decay) is computed beforehand in float64, and read
    from a table on the device by the number of steps taken, which is counted there: a step is a few kernels over one
    tensor whose arguments never change, as a CUDA graph needs them.

    Args:
        parameters: (R, P), changed in place.
        learning_rates: (steps, R), float64, on the CPU: of every step to come.
        setup: betas and weight decay.

    Attributes:
        steps_taken: (1,), int64, on the device of the parameters.
    """

    def __init__(self, parameters: Tensor, learning_rates: Tensor, setup: TrainingSetup) -> None:
        self._parameters, self._beta1, self._beta2 = parameters, setup.beta1, setup.beta2
        self._mean, self._mean_square = torch.zeros_like(parameters), torch.zeros_like(parameters)
        number = torch.arange(1, len(learning_rates) + 1, dtype=torch.float64)[:, None]  # (steps, 1)
        decay = 1 - learning_rates * setup.weight_decay
        step_size = learning_rates / (1 - setup.beta1**number)
        scale = (1 - setup.beta2**number).rsqrt().expand_as(learning_rates)
        factors = torch.stack([decay, step_size, scale], dim=1)[..., None]  # (steps, 3, R, 1)
        self._factors = factors.to(parameters.device, parameters.dtype)
        self.steps_taken = torch.zeros(1, dtype=torch.int64, device=parameters.device)

    @torch.no_grad()
    def step(self, grad: Tensor) -> None:
        """Move the parameters by their gradient (R, P) and count the step."""
        decay, step_size, scale = self._factors.index_select(0, self.steps_taken)[0]  # three of (R, 1)
        self._mean.lerp_(grad, 1 - self._beta1)
        self._mean_square.mul_(self._beta2).addcmul_(grad, grad, value=1 - self._beta2)
        denominator = self._mean_square.sqrt().mul_(scale).add_(_EPS)
        self._parameters.mul_(decay).sub_(torch.div(self._mean, denominator).mul_(step_size))
        self.steps_taken.add_(1)
