"""Estimates what training costs: relative cost from arithmetic, seconds from timed steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls

from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.training import is_out_of_memory, release_memory, time_group, time_trial

_TIMED_GROUPS: Final = 6
_LONGEST_TIMED_STEP: Final = 15.0  # seconds on a CPU
# Seconds on one CPU core for an attention weight and for a multiply-add; within a factor of two of what they take.
_SECONDS_PER_WEIGHT, _SECONDS_PER_PRODUCT = 2e-9, 7e-11


def rough_cost(trial: Trial, vocab_size: int) -> float:
    """A trial's cost relative to others; good enough to start the longest ones first."""
    return float(_work(trial, vocab_size) @ [0.0, _SECONDS_PER_WEIGHT, _SECONDS_PER_PRODUCT])


def estimate_seconds(groups: Sequence[Sequence[Trial]], corpus: Corpus, device: torch.device) -> list[float]:
    """Seconds that each group of trials, trained as one, would take here, one group at a time.

    Up to six different groups are timed for a few steps each; of more, six spread evenly over the cost are timed, and
    the others follow by non-negative least squares from their arithmetic. What would take a CPU more than some seconds
    a step is not timed at all: its arithmetic alone says how long it takes, within a factor of two.
    """
    kinds = [tuple(sorted(trial.variant for trial in group)) for group in groups]  # seeds cost the same
    distinct = dict(zip(kinds, groups, strict=True))
    by_cost = sorted(distinct, key=lambda kind: sum(rough_cost(t, corpus.vocab_size) for t in distinct[kind]))
    spread = np.linspace(0, len(by_cost) - 1, min(_TIMED_GROUPS, len(by_cost))).round().astype(int)
    timed = {by_cost[i]: _time(distinct[by_cost[i]], corpus, device) for i in spread}
    if len(timed) == len(distinct):
        return [timed[kind] for kind in kinds]
    work = np.stack([_group_work(distinct[kind], corpus.vocab_size) for kind in timed])
    scale = work.max(axis=0)
    rates, _ = nnls(work / scale, np.array(list(timed.values())))
    predicted = {k: float(_group_work(group, corpus.vocab_size) / scale @ rates) for k, group in distinct.items()}
    return [timed.get(kind, predicted[kind]) for kind in kinds]


def _time(group: Sequence[Trial], corpus: Corpus, device: torch.device) -> float:
    if device.type == "cpu":
        seconds = sum(rough_cost(trial, corpus.vocab_size) for trial in group)
        if seconds > _LONGEST_TIMED_STEP * group[0].training.steps:
            return seconds
    if len(group) == 1 and device.type == "cpu":
        return time_trial(group[0], corpus, device)
    try:
        return time_group(group, corpus, device)
    except RuntimeError as error:
        if len(group) == 1 or not is_out_of_memory(error):
            raise
    release_memory(device)
    return 2 * _time(group[: (len(group) + 1) // 2], corpus, device)  # a sweep would train its halves


def _group_work(group: Sequence[Trial], vocab_size: int) -> NDArray[np.float64]:
    """The work of a whole group, in which the fixed cost of a step counts once."""
    each = np.stack([_work(trial, vocab_size) for trial in group])
    total: NDArray[np.float64] = each.sum(axis=0)
    total[0] = each[0, 0]
    return total


def _work(trial: Trial, vocab_size: int) -> NDArray[np.float64]:
    """The work of a training: steps (each has a fixed cost), attention weights, multiply-adds of the forward passes."""
    v, steps = trial.shape, trial.training.steps
    tokens = steps * trial.training.batch_size * v.block_size
    weights = tokens * v.block_size * v.n_head * v.n_layer
    products = tokens * (trial.model_config(vocab_size).matmul_weights + 2 * v.n_layer * v.block_size * v.n_embed)
    return np.array([steps, weights, products], dtype=np.float64)
