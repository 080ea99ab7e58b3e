"""Estimates how long training will take on this machine, from a few timed steps."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

import torch

from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.model.gpt import GPT
from gpt_experiments.training.batches import training_batches
from gpt_experiments.training.evaluation import evaluate
from gpt_experiments.training.learners import training_step
from gpt_experiments.training.loop import train_group
from gpt_experiments.training.optimizer import AdamW

_TIMED_STEPS = 2
_TIMED_GROUP_STEPS = {"cpu": 3, "mps": 150, "cuda": 150}  # an accelerator reports its progress every 50 steps
_EVALUATED_PART = 10  # one tenth of the validation split


def time_trial(trial: Trial, corpus: Corpus, device: torch.device) -> float:
    """Seconds that training `trial` to its end would take, evaluations included, estimated from a few steps."""
    torch.manual_seed(trial.seed)
    model = GPT(trial.model_config(corpus.vocab_size)).to(device)
    # Without its schedule, which may have fewer steps than are timed.
    setup = dataclasses.replace(trial.training, schedule="constant", warmup_steps=0, min_learning_rate=0.0)
    optimizer = AdamW(model.parameters(), setup)
    batches = training_batches(
        torch.from_numpy(corpus.train).to(device),
        batch_size=trial.training.batch_size,
        block_size=trial.shape.block_size,
        seed=trial.seed,
    )
    taken = []
    for _ in range(1 + _TIMED_STEPS):  # the first one warms up
        started = time.perf_counter()
        training_step(model, optimizer, *next(batches), setup).item()
        taken.append(time.perf_counter() - started)
    part = torch.from_numpy(corpus.val[: max(2, len(corpus.val) // _EVALUATED_PART)]).to(device)
    started = time.perf_counter()
    evaluate(model, part)
    evaluation = (time.perf_counter() - started) * 2 * len(corpus.val) / len(part)  # of both splits
    return min(taken[1:]) * trial.training.steps + evaluation * len(trial.training.evaluation_steps())


def time_group(trials: Sequence[Trial], corpus: Corpus, device: torch.device) -> float:
    """Seconds that training `trials` together to their end would take, estimated from a few steps and an evaluation.

    What an accelerator spends once, on compiling and capturing, is left out. On a CPU part of the text is evaluated.
    """
    steps, setup = _TIMED_GROUP_STEPS[device.type], trials[0].training
    # Too low a learning rate to diverge: it takes no less time.
    brief = dataclasses.replace(
        setup, steps=steps, eval_interval=steps, learning_rate=1e-9, schedule="constant", min_learning_rate=0.0
    )
    part = _beginning(corpus, trials[0].shape.block_size) if device.type == "cpu" else corpus
    reported: list[list[tuple[int, float]]] = [[] for _ in trials]  # for each trial: steps, and when they were reported
    for index, event in train_group([dataclasses.replace(trial, training=brief) for trial in trials], part, device):
        reported[index].append((event.step, time.perf_counter()))
    # For each trial: the evaluation at step 0, the first steps, which warm up, ..., the last step, its evaluation.
    since = 1 if reported[0][1][0] < steps else 0
    timed_steps = steps - reported[0][since][0]
    training = _covered([(events[since][1], events[-2][1]) for events in reported]) / timed_steps
    evaluating = _covered([(events[-2][1], events[-1][1]) for events in reported]) * len(corpus.val) / len(part.val)
    return training * setup.steps + evaluating * len(setup.evaluation_steps())


def _covered(spans: Sequence[tuple[float, float]]) -> float:
    """Seconds that lie in any of the spans, which overlap for trials that train side by side."""
    covered, until = 0.0, 0.0
    for start, end in sorted(spans):
        covered += max(0.0, end - max(start, until))
        until = max(until, end)
    return covered


def _beginning(corpus: Corpus, block_size: int) -> Corpus:
    """The first tenth of the corpus, or as much as windows of `block_size` need."""
    least = 20 * (block_size + 1)  # a tenth of which is the validation split
    return Corpus.from_text(corpus.text[: max(least, len(corpus.text) // _EVALUATED_PART)], name=corpus.name)
