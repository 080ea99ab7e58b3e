"""The learning rate of each step: constant or a cosine, after a linear warm-up."""

from __future__ import annotations

import math

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
