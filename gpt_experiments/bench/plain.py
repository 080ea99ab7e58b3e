"""The plain way to train, as a notebook would: a module a head, windows stacked in a loop, losses from random batches.

Everything else is measured against it. Its model is the reference with which the tests compare the fast one.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus

EVALUATION_BATCHES: Final = 200
"""Random batches of each split from which an evaluation estimates its losses."""


@cache
def _reference() -> ModuleType:
    """The module of the plain model: inside an installed wheel, or a checkout's `tests/reference/`."""
    package = Path(__file__).parent.parent
    file = package / "reference" / "plain_gpt.py"
    if not file.is_file():
        file = package.parent / "tests" / "reference" / "plain_gpt.py"
    spec = importlib.util.spec_from_file_location("gpt_experiments_plain_gpt", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class PlainTraining:
    """A trial trained the plain way; only with the study's constant learning rate and float32."""

    def __init__(self, trial: Trial, corpus: Corpus, device: torch.device) -> None:
        torch.manual_seed(trial.seed)
        self._trial, self._device = trial, device
        self._splits = {"train": torch.from_numpy(corpus.train), "val": torch.from_numpy(corpus.val)}
        self.model: nn.Module = _reference().PlainGPT(trial.model_config(corpus.vocab_size)).to(device)
        self._optimizer = torch.optim.AdamW(self.model.parameters(), lr=trial.training.learning_rate)

    def step(self) -> Tensor:
        """Take one optimisation step; returns the loss before it, nats per character, on the device."""
        loss = self._loss("train")
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        return loss.detach()

    @torch.no_grad()
    def estimate_losses(self, batches: int = EVALUATION_BATCHES) -> dict[str, float]:
        """The mean loss over so many random batches of each split, nats per character."""
        self.model.eval()
        estimates = {}
        for split in ("train", "val"):
            losses = torch.zeros(batches)
            for i in range(batches):
                losses[i] = self._loss(split).item()
            estimates[split] = losses.mean().item()
        self.model.train()
        return estimates

    def _loss(self, split: str) -> Tensor:
        tokens, block_size = self._splits[split], self._trial.shape.block_size
        starts = torch.randint(len(tokens) - block_size, (self._trial.training.batch_size,))
        inputs = torch.stack([tokens[i : i + block_size] for i in starts]).to(self._device)  # (B, T)
        targets = torch.stack([tokens[i + 1 : i + block_size + 1] for i in starts]).to(self._device)  # (B, T)
        logits = self.model(inputs)  # (B, T, vocab_size)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1))
