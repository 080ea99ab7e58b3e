"""AdamW with its learning rate over the steps: for a model's parameters, or for many replicas' at once."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from gpt_experiments.parameters import TrainingSetup


def learning_rate_at(setup: TrainingSetup, step: int) -> float:
    """The learning rate of the step that follows `step` steps, `step` from 0 to `setup.steps - 1`.

    The k-th of `warmup_steps` steps takes k / warmup_steps of the setup's learning rate. Then it stays there, or falls
    by half a cosine (Loshchilov and Hutter 2017, "SGDR", equation 5) that would reach `min_learning_rate` with the step
    after the last one. A warm-up as long as the training leaves nothing to fall.
    """
    top = setup.learning_rate
    if step < setup.warmup_steps:
        return top * (step + 1) / setup.warmup_steps
    if setup.schedule == "constant":
        return top
    fallen = (step - setup.warmup_steps) / (setup.steps - setup.warmup_steps)  # part of the cosine that is over
    return setup.min_learning_rate + (top - setup.min_learning_rate) * (1 + math.cos(math.pi * fallen)) / 2


_EPS: Final = 1e-8  # torch.optim.AdamW's default


class AdamW:
    """AdamW (Loshchilov and Hutter 2019) over a model's parameters, with the setup's constants and schedule.

    One kernel of PyTorch's updates all of them. Its class torch.optim.AdamW would do so, too, but loads PyTorch's
    compiler when it is made, which takes every worker a second.
    """

    def __init__(self, parameters: Iterable[Tensor], setup: TrainingSetup) -> None:
        self._parameters, self._setup, self._steps_taken = list(parameters), setup, 0
        self._means = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._mean_squares = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._counts = [torch.zeros((), device=parameter.device) for parameter in self._parameters]

    def moments(self) -> tuple[Tensor, Tensor]:
        """The running means of the gradients and of their squares, (P,) each, copies on the CPU."""
        return flat(self._means), flat(self._mean_squares)

    def restore(self, means: Tensor, mean_squares: Tensor, step: int) -> None:
        """Go on after `step` steps that have left these `moments`."""
        fill(self._means, means)
        fill(self._mean_squares, mean_squares)
        for count in self._counts:
            count.fill_(step)
        self._steps_taken = step

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter by its gradient, and drop the gradient."""
        setup = self._setup
        adamw(
            self._parameters,
            [parameter.grad for parameter in self._parameters if parameter.grad is not None],
            self._means,
            self._mean_squares,
            [],
            self._counts,
            fused=True,
            amsgrad=False,
            beta1=setup.beta1,
            beta2=setup.beta2,
            lr=learning_rate_at(setup, self._steps_taken),
            weight_decay=setup.weight_decay,
            eps=_EPS,
            maximize=False,
        )
        for parameter in self._parameters:
            parameter.grad = None
        self._steps_taken += 1


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
        self._factors = factors.to(parameters.dtype).to(parameters.device)  # not every device has float64
        self.steps_taken = torch.zeros(1, dtype=torch.int64, device=parameters.device)

    def moments(self, replica: int, n_params: int) -> tuple[Tensor, Tensor]:
        """The running means of a replica's gradients and of their squares, (n_params,) each, copies on the CPU."""
        return copied(self._mean[replica, :n_params]), copied(self._mean_square[replica, :n_params])

    def restore(self, replica: int, means: Tensor, mean_squares: Tensor) -> None:
        """Let a replica's `moments` be these."""
        self._mean[replica, : len(means)] = means.to(self._mean.device)
        self._mean_square[replica, : len(mean_squares)] = mean_squares.to(self._mean.device)

    @torch.no_grad()
    def step(self, grad: Tensor) -> None:
        """Move the parameters by their gradient (R, P) and count the step."""
        decay, step_size, scale = self._factors.index_select(0, self.steps_taken)[0]  # three of (R, 1)
        self._mean.lerp_(grad, 1 - self._beta1)
        self._mean_square.mul_(self._beta2).addcmul_(grad, grad, value=1 - self._beta2)
        denominator = self._mean_square.sqrt().mul_(scale).add_(_EPS)
        self._parameters.mul_(decay).sub_(torch.div(self._mean, denominator).mul_(step_size))
        self.steps_taken.add_(1)


def copied(values: Tensor) -> Tensor:
    """A copy on the CPU."""
    return values.detach().to("cpu", copy=True)


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """All values of the tensors in one (P,), copies on the CPU."""
    return torch.cat([tensor.detach().flatten() for tensor in tensors]).cpu()


@torch.no_grad()
def fill(tensors: Iterable[Tensor], values: Tensor) -> None:
    """Write what `flat` has made of such tensors into these."""
    begin = 0
    for tensor in tensors:
        tensor.copy_(values[begin : begin + tensor.numel()].view_as(tensor))
        begin += tensor.numel()
