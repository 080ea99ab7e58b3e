"""What training a variant costs, relatively by arithmetic, and in seconds by timed steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls

from gpt_experiments.config import Trial, Variant
from gpt_experiments.corpus import Corpus
from gpt_experiments.training import time_trial

_TIMED_VARIANTS: Final = 6
# Seconds on one CPU core, for putting variants in order only: of an attention weight, and of a multiply-add.
_SECONDS_PER_WEIGHT, _SECONDS_PER_PRODUCT = 3e-8, 4e-11


def rough_cost(trial: Trial, vocab_size: int) -> float:
    """What a trial costs, comparable between trials; good enough to start the longest ones first."""
    return float(_work(trial, vocab_size) @ [0.0, _SECONDS_PER_WEIGHT, _SECONDS_PER_PRODUCT])


def estimate_seconds(trials: Sequence[Trial], corpus: Corpus, device: torch.device) -> list[float]:
    """Seconds that each trial would take here, one at a time.

    Up to six variants are timed for a few steps each; of more, six spread evenly over the cost are timed, and the
    others follow by non-negative least squares from their arithmetic.
    """
    distinct: dict[Variant, Trial] = {}
    for trial in trials:
        distinct.setdefault(trial.variant, trial)
    by_cost = sorted(distinct.values(), key=lambda trial: rough_cost(trial, corpus.vocab_size))
    spread = np.linspace(0, len(by_cost) - 1, min(_TIMED_VARIANTS, len(by_cost))).round().astype(int)
    timed = {by_cost[i].variant: time_trial(by_cost[i], corpus, device) for i in spread}
    if len(timed) == len(distinct):
        return [timed[trial.variant] for trial in trials]
    work = np.stack([_work(distinct[variant], corpus.vocab_size) for variant in timed])
    scale = work.max(axis=0)
    rates, _ = nnls(work / scale, np.array(list(timed.values())))
    predicted = {v: float(_work(trial, corpus.vocab_size) / scale @ rates) for v, trial in distinct.items()}
    return [timed.get(trial.variant, predicted[trial.variant]) for trial in trials]


def _work(trial: Trial, vocab_size: int) -> NDArray[np.float64]:
    """Of the whole training: steps (each has a fixed cost), attention weights, multiply-adds of the forward passes."""
    v, steps = trial.variant, trial.training.steps
    tokens = steps * trial.training.batch_size * v.block_size
    weights = tokens * v.block_size * v.n_head * v.n_layer
    products = tokens * (v.n_layer * (12 * v.n_embed**2 + 2 * v.block_size * v.n_embed) + vocab_size * v.n_embed)
    return np.array([steps, weights, products], dtype=np.float64)
