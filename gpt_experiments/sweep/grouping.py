"""Which trials train together as one batched model, and how many of them a device holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from gpt_experiments.config import Trial
from gpt_experiments.training import group_key

_BYTES: Final = 4  # a float32 takes so many
_USABLE: Final = 0.85  # part of a device's memory; the context, the libraries and gaps between blocks take the rest
_EVALUATED_AT_ONCE: Final = 131_072  # tokens in one forward pass of an evaluation, of all replicas together


@dataclass(frozen=True, kw_only=True)
class GroupLimit:
    """How many trials may train as one batched model.

    Args:
        replicas: the most that were asked for; None is as many as fit on an accelerator, and one on a CPU.
        memory: bytes that one worker may use of its accelerator; None on a CPU.
        vocab_size: of the corpus.
    """

    replicas: int | None
    memory: int | None
    vocab_size: int

    def __call__(self, trial: Trial) -> int:
        """The most trials shaped like this one that may train together; at least one."""
        if self.memory is None:
            return self.replicas or 1
        free = _USABLE * self.memory - bytes_for_evaluation(trial, self.vocab_size)
        fitting = max(1, int(free / bytes_per_replica(trial, self.vocab_size)))
        return fitting if self.replicas is None else min(self.replicas, fitting)


def bytes_per_replica(trial: Trial, vocab_size: int) -> int:
    """An estimate, rather too high than too low, of an accelerator's memory that one trial takes while it trains.

    Six float32 for each parameter (the weight, its gradient and that as part of the group's, AdamW's two moments, a
    copy in lower precision), and for each of a step's batch_size x block_size tokens what the backward pass needs: in
    every layer about 28 values of the width (residual stream, both norms' inputs, results and outputs, projections and
    copies of them, the four times wider middle before and after its ReLU, what is dropped) and three rows of attention
    weights a head (weights, what is dropped, what is left: as if no fused attention served), and four values for each
    logit.
    """
    variant, setup = trial.shape, trial.training
    attention = 3 * variant.n_head * variant.block_size
    kept = variant.n_layer * (28 * variant.n_embed + attention) + 4 * vocab_size
    tokens = setup.batch_size * variant.block_size
    return _BYTES * (6 * trial.model_config(vocab_size).n_params + tokens * kept)


def bytes_for_evaluation(trial: Trial, vocab_size: int) -> int:
    """The memory that an evaluation takes for all replicas together: a forward pass over 131,072 tokens.

    Of these one layer at a time holds about 10 values of the width and two rows of attention weights a head, and then
    two for each logit.
    """
    variant = trial.shape
    held = 10 * variant.n_embed + 2 * variant.n_head * variant.block_size + 2 * vocab_size
    return _BYTES * _EVALUATED_AT_ONCE * held


def form_groups(
    trials: Sequence[Trial],
    limit: Callable[[Trial], int],
    *,
    workers: int = 1,
    key: Callable[[Trial], Hashable] = group_key,
    going_on: Mapping[Trial, str] | None = None,
) -> list[tuple[Trial, ...]]:
    """Every trial once, in groups that may train together, in the order in which their first trials came.

    The groups of one shape are as equal in size as can be: none is larger than the `limit` of any of its trials, or so
    large that one of the `workers` would have nothing to do. Trials of equal dropout stay together.

    Args:
        going_on: trials that go on from their states, each with what it has in common with those that go on together;
            they are the group that they were, whatever its size.
    """
    share = max(1, len(trials) // workers)
    by_key: dict[Hashable, list[Trial]] = {}
    as_before: dict[str, list[Trial]] = {}
    for trial in trials:
        before = (going_on or {}).get(trial)
        if before is not None:
            as_before.setdefault(before, []).append(trial)
        else:
            by_key.setdefault(key(trial), []).append(trial)
    groups = [tuple(together) for together in as_before.values()]
    for unordered in by_key.values():
        alike = sorted(unordered, key=lambda trial: trial.shape.dropout)
        most = max(1, min(share, min(map(limit, alike))))
        count = math.ceil(len(alike) / most)
        bounds = [len(alike) * i // count for i in range(count + 1)]
        groups += [tuple(alike[start:end]) for start, end in pairwise(bounds)]
    return groups
