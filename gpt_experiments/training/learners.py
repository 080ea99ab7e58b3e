"""The interface between the training loop and what takes its steps, and the learner of one ordinary model."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.model.gpt import GPT
from gpt_experiments.training.adamw import AdamW
from gpt_experiments.training.batches import training_batches
from gpt_experiments.training.evaluation import SplitLoss, evaluate
from gpt_experiments.training.step import training_step


class Learner(Protocol):
    """Trains one trial or several; lists have an entry for each, in the order in which they were given."""

    def take(self, steps: int) -> list[float]:
        """Take so many steps; returns the losses on the last batch, nats per character. Waits for the device."""
        ...

    def evaluate(self) -> list[tuple[float, SplitLoss]]:
        """The exact training loss, on a training subset the size of the validation split, and validation losses."""
        ...

    def models(self) -> list[GPT]:
        """The models as they are now."""
        ...


class SoloLearner:
    """Trains one model, kernel by kernel."""

    def __init__(self, trial: Trial, corpus: Corpus, device: torch.device) -> None:
        self._setup = trial.training
        torch.manual_seed(trial.seed)
        self._model = GPT(trial.model_config(corpus.vocab_size)).to(device)
        self._optimizer = AdamW(self._model.parameters(), trial.training)
        self._train, self._part, self._val = splits(corpus, device)
        self._batches = training_batches(
            self._train,
            batch_size=trial.training.batch_size,
            block_size=trial.shape.block_size,
            seed=trial.seed,
        )

    def take(self, steps: int) -> list[float]:
        for _ in range(steps):
            loss = training_step(self._model, self._optimizer, *next(self._batches), self._setup)
        return [loss.item()]

    def evaluate(self) -> list[tuple[float, SplitLoss]]:
        return [(evaluate(self._model, self._part).mean, evaluate(self._model, self._val))]

    def models(self) -> list[GPT]:
        return [self._model]


def splits(corpus: Corpus, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The training split, a training subset the size of the validation split, and the validation split, on the device.

    The training loss is taken on the subset, so that the two losses are equally exact.
    """
    train, val = torch.from_numpy(corpus.train).to(device), torch.from_numpy(corpus.val).to(device)
    return train, train[: len(val)], val
