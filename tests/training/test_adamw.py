"""AdamW, over one model's parameters and over replicas, against torch.optim.AdamW."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from gpt_experiments.parameters import TrainingSetup
from gpt_experiments.training.optimizer import AdamW, ReplicaAdamW, learning_rate_at


@pytest.mark.parametrize(("beta1", "beta2", "weight_decay"), [(0.9, 0.999, 0.01), (0.0, 0.9, 0.0), (0.8, 0.0, 0.3)])
def test_every_step_is_torchs_for_each_replica_and_learning_rate(
    beta1: float, beta2: float, weight_decay: float
) -> None:
    torch.manual_seed(0)
    setup = TrainingSetup(beta1=beta1, beta2=beta2, weight_decay=weight_decay)
    start, steps = torch.randn(3, 50), 40
    rates = torch.rand(steps, 3, dtype=torch.float64) * torch.tensor([1e-4, 1e-2, 1.0], dtype=torch.float64)
    ours = start.clone()
    optimizer = ReplicaAdamW(ours, rates, setup)
    theirs = [torch.nn.Parameter(row.clone()) for row in start]
    each = [torch.optim.AdamW([p], lr=1.0, betas=(beta1, beta2), weight_decay=weight_decay) for p in theirs]
    for step in range(steps):
        grad = torch.randn(3, 50)
        optimizer.step(grad)
        for r, one in enumerate(each):
            one.param_groups[0]["lr"] = float(rates[step, r])
            theirs[r].grad = grad[r].clone()
            one.step()
        torch.testing.assert_close(ours, torch.stack([p.detach() for p in theirs]), atol=2e-6, rtol=2e-5)
    assert optimizer.steps_taken.tolist() == [steps]
    assert (ours - start).abs().max() > 0.1


def test_over_one_models_parameters_every_step_is_torchs_on_the_setups_schedule() -> None:
    torch.manual_seed(1)
    setup = TrainingSetup(steps=30, learning_rate=0.1, schedule="cosine", warmup_steps=5, weight_decay=0.2, beta2=0.9)
    start = [torch.randn(7, 3), torch.randn(5)]
    ours, theirs = ([torch.nn.Parameter(tensor.clone()) for tensor in start] for _ in range(2))
    optimizer = AdamW(ours, setup)
    expected = torch.optim.AdamW(theirs, betas=(setup.beta1, setup.beta2), weight_decay=setup.weight_decay, fused=True)
    for step in range(setup.steps):
        expected.param_groups[0]["lr"] = learning_rate_at(setup, step)
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn_like(mine)
            other.grad = mine.grad.clone()
        optimizer.step()
        expected.step()
        assert all(torch.equal(mine, other) for mine, other in zip(ours, theirs, strict=True))
        assert all(parameter.grad is None for parameter in ours)
    assert (ours[0] - start[0]).abs().max() > 0.5


@pytest.mark.slow
def test_a_step_does_not_load_pytorchs_compiler() -> None:
    """Which would take every worker a second."""
    program = """
import sys, torch
from gpt_experiments.parameters import TrainingSetup
from gpt_experiments.training.optimizer import AdamW
weight = torch.nn.Parameter(torch.ones(3))
weight.sum().backward()
AdamW([weight], TrainingSetup()).step()
assert weight.max() < 1
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
