"""The learning rate of each step, by hand, by PyTorch's own schedulers, and what a setup may say of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from gpt_experiments.config import Variant, setup_at_budget
from gpt_experiments.errors import ConfigError
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.training.optimizer import learning_rate_at


def rates(**changes: Any) -> list[float]:
    setup = TrainingSetup(**changes)
    return [learning_rate_at(setup, step) for step in range(setup.steps)]


def test_values_by_hand() -> None:
    assert rates(steps=3) == [3e-4] * 3
    assert rates(steps=4, learning_rate=0.8, warmup_steps=2) == pytest.approx([0.4, 0.8, 0.8, 0.8])
    assert rates(steps=4, learning_rate=1.0, schedule="cosine") == pytest.approx(
        [1, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2]
    )
    warm = rates(steps=6, learning_rate=1.0, schedule="cosine", warmup_steps=4, min_learning_rate=0.2)
    assert warm == pytest.approx([0.25, 0.5, 0.75, 1, 1, 0.6])
    assert rates(steps=2, learning_rate=1.0, schedule="cosine", warmup_steps=4) == pytest.approx([0.25, 0.5])


def test_the_cosine_is_pytorchs() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    warm_up = LinearLR(optimizer, start_factor=1 / 5, total_iters=4)
    cosine = CosineAnnealingLR(optimizer, T_max=15, eta_min=0.1)
    scheduler = SequentialLR(optimizer, [warm_up, cosine], milestones=[5])
    expected = []
    for _ in range(20):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    found = rates(steps=20, learning_rate=0.5, schedule="cosine", warmup_steps=5, min_learning_rate=0.1)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": "linear"}, "schedule must be one of constant, cosine, but got 'linear'"),
        ({"warmup_steps": -1}, "warmup_steps must be at least 0, but got -1"),
        ({"warmup_steps": 1.5}, "warmup_steps must be a whole number, but got 1.5"),
        ({"schedule": "cosine", "min_learning_rate": -1}, "min_learning_rate must not be negative, but got -1"),
        (
            {"min_learning_rate": 1e-5},
            "min_learning_rate=1e-05 needs schedule=cosine, but the schedule is constant",
        ),
        ({"schedule": "cosine", "min_learning_rate": 1.0}, "must be at most learning_rate, but got 1 and 0.0003"),
    ],
)
def test_what_breaks_a_rule_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainingSetup(**changes)


def test_a_budget_scales_the_warm_up_with_the_steps() -> None:
    setup = TrainingSetup(steps=100, eval_interval=50, warmup_steps=10, schedule="cosine")
    longer = Variant(shape=Shape(block_size=256), training=setup)
    scaled = setup_at_budget(longer, Variant(training=setup), vocab_size=65, budget="tokens")
    assert (scaled.steps, scaled.eval_interval, scaled.warmup_steps) == (50, 25, 5)
