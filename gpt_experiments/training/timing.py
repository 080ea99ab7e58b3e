"""How long training will take on this machine, from a few timed steps."""

from __future__ import annotations

import time

import torch

from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.model.gpt import GPT
from gpt_experiments.training.batches import training_batches
from gpt_experiments.training.evaluation import evaluate
from gpt_experiments.training.step import make_optimizer, training_step

_TIMED_STEPS = 2
_EVALUATED_PART = 10  # one tenth of the validation split


def time_trial(trial: Trial, corpus: Corpus, device: torch.device) -> float:
    """Seconds that training `trial` to its end would take, evaluations included, by a few steps of it done here."""
    torch.manual_seed(trial.seed)
    model = GPT(trial.model_config(corpus.vocab_size)).to(device)
    optimizer = make_optimizer(model, trial.training)
    batches = training_batches(
        torch.from_numpy(corpus.train).to(device),
        batch_size=trial.training.batch_size,
        block_size=trial.variant.block_size,
        seed=trial.seed,
    )
    taken = []
    for _ in range(1 + _TIMED_STEPS):  # the first one warms up
        started = time.perf_counter()
        training_step(model, optimizer, *next(batches), trial.training).item()
        taken.append(time.perf_counter() - started)
    part = torch.from_numpy(corpus.val[: max(2, len(corpus.val) // _EVALUATED_PART)]).to(device)
    started = time.perf_counter()
    evaluate(model, part)
    evaluation = (time.perf_counter() - started) * 2 * len(corpus.val) / len(part)  # of both splits
    return min(taken[1:]) * trial.training.steps + evaluation * len(trial.training.evaluation_steps())
