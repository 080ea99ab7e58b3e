"""Which trials train together as one batched model, and how many of them a device holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from gpt_experiments.config import Trial
from gpt_experiments.training import group_key

_BYTES: Final = 4  # of a float32
_USABLE: Final = 0.85  # of a device's memory: the rest is the context's, the libraries', and lost between blocks
_EVALUATED_AT_ONCE: Final = 131_072  # tokens in one forward pass of an evaluation, of each replica


@dataclass(frozen=True, kw_only=True)
class Packing:
    """How many trials may train as one batched model.

    Args:
        replicas: the most that were asked for; None is as many as fit on an accelerator, and one on a CPU.
        memory: bytes that one worker may use of its accelerator; None on a CPU.
        vocab_size: of the corpus.
    """

    replicas: int | None
    memory: int | None
    vocab_size: int

    def limit(self, trial: Trial) -> int:
        """The most trials shaped like this one that may train together; at least one."""
        if self.memory is None:
            return self.replicas or 1
        fitting = max(1, int(_USABLE * self.memory / bytes_per_replica(trial, self.vocab_size)))
        return fitting if self.replicas is None else min(self.replicas, fitting)


def bytes_per_replica(trial: Trial, vocab_size: int) -> int:
    """An estimate, rather too high than too low, of an accelerator's memory that one trial takes while it trains.

    Four float32 for each parameter (the weight, its gradient, AdamW's two moments), and the larger of

    - a training step's activations, batch_size x block_size tokens that each keep, for the backward pass, in every
      layer about 20 values of the width (both norms' inputs and outputs, the projections, the four times wider middle
      before and after its ReLU, what is dropped) and three rows of attention weights a head (weights, what is dropped,
      what is left: as if no fused attention served), and then three values for each logit;
    - an evaluation's forward pass over 131,072 tokens, of which one layer at a time holds about 10 values of the width
      and two rows of attention weights a head, and then two for each logit.
    """
    variant, setup = trial.variant, trial.training
    width, weights = variant.n_embed, variant.n_head * variant.block_size
    kept = setup.batch_size * variant.block_size * (variant.n_layer * (20 * width + 3 * weights) + 3 * vocab_size)
    evaluated = max(_EVALUATED_AT_ONCE, variant.block_size) * (10 * width + 2 * weights + 2 * vocab_size)
    return _BYTES * (4 * trial.model_config(vocab_size).n_params + max(kept, evaluated))


def form_groups(
    trials: Sequence[Trial],
    limit: Callable[[Trial], int],
    *,
    workers: int = 1,
    key: Callable[[Trial], Hashable] = group_key,
) -> list[tuple[Trial, ...]]:
    """Every trial once, in groups that may train together, in the order in which their first trials came.

    The groups of one shape are as equal in size as can be: none is larger than `limit` says of any of its trials, nor
    so large that one of the `workers` would be left with nothing to do. Trials of equal dropout stay together.
    """
    share = max(1, len(trials) // workers)
    by_key: dict[Hashable, list[Trial]] = {}
    for trial in trials:
        by_key.setdefault(key(trial), []).append(trial)
    groups: list[tuple[Trial, ...]] = []
    for unordered in by_key.values():
        alike = sorted(unordered, key=lambda trial: trial.variant.dropout)
        most = max(1, min(share, min(map(limit, alike))))
        count = math.ceil(len(alike) / most)
        bounds = [len(alike) * i // count for i in range(count + 1)]
        groups += [tuple(alike[start:end]) for start, end in pairwise(bounds)]
    return groups
