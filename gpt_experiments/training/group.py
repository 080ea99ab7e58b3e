"""Trials that may train together, and their training: one after another, with the same result as together."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Hashable, Sequence

import torch

from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import DivergedError
from gpt_experiments.training.events import Evaluation, Progress
from gpt_experiments.training.loop import TrainingResult, train


def group_key(trial: Trial) -> Hashable:
    """Equal for trials that may train together: those that share everything but seed, dropout and learning rate."""
    return dataclasses.replace(trial.variant, dropout=0.0), dataclasses.replace(trial.training, learning_rate=1.0)


def train_group(
    trials: Sequence[Trial], corpus: Corpus, device: torch.device
) -> Generator[tuple[int, Progress | Evaluation], None, list[TrainingResult | DivergedError]]:
    """Train each trial as `train` does, yielding its events with its index; one that diverges stops no other.

    Raises:
        CorpusError: the corpus is too short for the trials' block_size.
    """
    results: list[TrainingResult | DivergedError] = []
    for index, trial in enumerate(trials):
        training = train(trial, corpus, device)
        while True:
            try:
                yield index, next(training)
            except StopIteration as end:
                results.append(end.value)
                break
            except DivergedError as error:
                results.append(error)
                break
    return results
