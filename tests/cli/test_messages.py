"""What the displays say of a sweep before it begins."""

from __future__ import annotations

import pytest

from gpt_experiments.cli.messages import start_lines
from tests.support.made_up import STEPS, start


@pytest.mark.parametrize(
    ("budget", "length"),
    [
        ("steps", f"{STEPS:,} steps"),
        ("tokens", f"as many tokens as {STEPS:,} steps of the baseline"),
        ("flops", f"as many flops as {STEPS:,} steps of the baseline"),
    ],
)
def test_the_head_of_a_sweep_says_what_its_budget_makes_equal(budget: str, length: str) -> None:
    lines = dict(start_lines(start(3, budget=budget)))
    assert lines["sweep"] == f"one-at-a-time: 3 trials of {length}, 3 to train"
