"""AdamW over replicas against torch.optim.AdamW for each of them."""

from __future__ import annotations

import pytest
import torch

from gpt_experiments.config import TrainingSetup
from gpt_experiments.training.adamw import ReplicaAdamW


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
