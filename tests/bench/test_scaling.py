"""What processes that train side by side make of one another's end."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from typing import Any

import pytest
import torch

from gpt_experiments.bench.scaling import time_workers
from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import BenchmarkError
from gpt_experiments.parameters import Shape, TrainingSetup

_SENT = itertools.count(1)  # how many processes were given a trial of this module


def _end(status: int) -> None:
    os._exit(status)


@dataclass(frozen=True, kw_only=True)
class SecondDies(Trial):
    """A trial of which the second process that is given it dies while it is read."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        if next(_SENT) == 2:
            return _end, (3,)
        return _trial, (self.shape, self.seed, self.training)


def _trial(variant: Shape, seed: int, training: TrainingSetup) -> Trial:
    return Trial(shape=variant, seed=seed, training=training)


@pytest.mark.slow
def test_a_process_that_died_is_named_with_its_own_status_and_not_those_that_were_ended_for_it(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill = SpawnProcess.kill

    def kill_at_once(process: SpawnProcess) -> None:
        kill(process)
        process.join()  # otherwise it is a matter of luck whether its status is there when statuses are read

    monkeypatch.setattr(SpawnProcess, "kill", kill_at_once)
    variant = Shape(n_head=1, n_layer=1, n_embed=8, block_size=8)
    trial = SecondDies(shape=variant, training=TrainingSetup(steps=1, batch_size=2))
    with pytest.raises(BenchmarkError, match="1 of 2 processes that train side by side ended with exit status 3"):
        time_workers(trial, corpus, torch.device("cpu"), [2], rounds=1)
