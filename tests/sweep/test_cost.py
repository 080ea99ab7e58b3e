"""The estimate of a dry run: quick, whatever is to be estimated, and near what training takes."""

from __future__ import annotations

import dataclasses
import time

import torch

from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.sweep.cost import estimate_seconds
from gpt_experiments.training import train

CPU = torch.device("cpu")
SMALL = Trial(
    shape=Shape(n_head=2, n_layer=1, n_embed=16, dropout=0.0, block_size=32),
    training=TrainingSetup(steps=60, batch_size=8, eval_interval=60),
)


def test_a_step_of_minutes_is_estimated_without_one(corpus: Corpus) -> None:
    """One step of this variant would take longer than a test may."""
    large = Trial(shape=Shape(block_size=65_536), training=TrainingSetup(steps=10))
    small, seconds = estimate_seconds([[SMALL], [large]], corpus, CPU)
    assert seconds > 10 * 600
    assert small < 600


def test_more_steps_take_longer_in_proportion(corpus: Corpus) -> None:
    more = dataclasses.replace(SMALL, training=dataclasses.replace(SMALL.training, steps=60_000, eval_interval=60_000))
    started = time.perf_counter()
    for _ in train(SMALL, corpus, CPU):
        pass
    taken = time.perf_counter() - started
    (seconds,) = estimate_seconds([[more]], corpus, CPU)
    assert taken * 10 < seconds < taken * 10_000  # a wide range, since others use the machine
