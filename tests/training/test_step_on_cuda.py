"""What CUDA demands of the training step, checked without a GPU: on "meta", operation by operation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.sweep.grouping import bytes_per_replica
from gpt_experiments.training.batches import ReplicaBatches
from gpt_experiments.training.learners import ReplicaLearner
from tests.training.step_log import StepLog, steps_of

FUSED = "aten::_scaled_dot_product_efficient_attention"


def trials(dropouts: Sequence[float] = (0.1,), **shape: int) -> list[Trial]:
    return [Trial(shape=Shape(dropout=dropout, **shape), seed=seed) for seed, dropout in enumerate(dropouts)]


@pytest.mark.parametrize("dropouts", [(0.1,), (0.0, 0.1, 0.3)])
def test_a_step_waits_for_nothing_and_reads_what_stays_where_it_is(
    corpus: Corpus, dropouts: Sequence[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replay reads at the addresses of the capture: parameters, moments, tables, tokens and offsets."""
    logs = steps_of(trials(dropouts), corpus, monkeypatch, steps=3)
    assert logs[0].outside == logs[1].outside == logs[2].outside
    assert 8 <= len(logs[0].outside) <= 10


def _planted(plant: Callable[[Tensor], Any]) -> Callable[[ReplicaLearner], None]:
    def change(learner: ReplicaLearner) -> None:
        move = learner._optimizer.step

        def step(grad: Tensor) -> None:
            plant(grad)
            move(grad)

        learner._optimizer.step = step  # type: ignore[method-assign]

    return change


@pytest.mark.parametrize(
    "plant",
    [
        lambda grad: grad.sum().item(),
        lambda grad: bool(grad.sum() > 0),
        lambda grad: grad.nonzero(),
        lambda grad: grad[grad > 0],
        lambda grad: grad * torch.ones(1, 1),
        lambda grad: grad * torch.tensor([2.0]).to(grad.device),
    ],
    ids=["item", "bool", "nonzero", "mask", "cpu-tensor", "copy-from-cpu"],
)
def test_the_check_finds_what_cannot_be_captured(
    corpus: Corpus, plant: Callable[[Tensor], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises((AssertionError, RuntimeError)):
        steps_of(trials(), corpus, monkeypatch, change=_planted(plant))


def test_a_step_that_reads_a_new_tensor_each_time_is_found(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh: list[Tensor] = []

    def change(learner: ReplicaLearner) -> None:
        gather = learner._batches.gather

        def from_a_copy(step: Tensor) -> tuple[Tensor, Tensor]:
            with torch.utils._python_dispatch._disable_current_modes():
                fresh.append(torch.empty_like(learner._batches._offsets))
            learner._batches._offsets = fresh[-1]
            return gather(step)

        learner._batches.gather = from_a_copy  # type: ignore[method-assign]

    logs = steps_of(trials(), corpus, monkeypatch, steps=2, change=change)
    assert logs[0].outside != logs[1].outside


def test_the_whole_step_insists_on_kernels_that_repeat_their_results(corpus: Corpus) -> None:
    """Which kernel attends is chosen in the forward pass, so a strict backward pass alone is too late."""
    (one,) = trials([0.0], n_embed=16, n_layer=1, block_size=16)
    learner = ReplicaLearner([one], corpus, torch.device("cpu"))
    torch.set_deterministic_debug_mode("warn")
    try:
        with StepLog(torch.device("cpu")) as log:
            learner._take_one()
        assert torch.get_deterministic_debug_mode() == 1
    finally:
        torch.set_deterministic_debug_mode("default")
    products = [name for name in log.strict if any(part in name for part in ("attention", "bmm", "embedding"))]
    assert len(products) >= 5  # attention and embedding, forward and backward, and products
    assert {name: log.strict[name] for name in products} == {name: {True} for name in products}


def test_a_step_of_the_baseline_costs_no_more_than_it_did(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels and bytes, of which its time on a GPU is made."""
    (log,) = steps_of(trials(), corpus, monkeypatch)
    assert len(log.kernels) <= 260
    assert log.moved <= 780e6
    assert log.kernels.count(FUSED) == 4
    (of_five,) = steps_of(trials([0.1] * 5), corpus, monkeypatch)
    assert len(of_five.kernels) <= len(log.kernels) + 5


@pytest.mark.parametrize(
    ("dropouts", "shape"),
    [([0.1], {}), ([0.0, 0.1, 0.3], {}), ([0.1], {"n_embed": 128}), ([0.1], {"n_layer": 8}), ([0.1] * 3, {})],
)
def test_the_memory_that_is_reckoned_with_is_enough_and_not_far_too_much(
    corpus: Corpus, dropouts: list[float], shape: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    group = trials(dropouts, **shape)
    (log,) = steps_of(group, corpus, monkeypatch)
    lasting = 3 * 4 * sum(trial.model_config(corpus.vocab_size).n_params for trial in group)  # weights and moments
    reckoned = sum(bytes_per_replica(trial, corpus.vocab_size) for trial in group)
    assert log.peak + lasting <= reckoned <= 4 * (log.peak + lasting)


@pytest.mark.parametrize(("kind", "waits"), [("cuda", False), ("mps", True), ("cpu", True)])
def test_only_pinned_memory_is_copied_without_waiting(kind: str, waits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that nobody holds any longer may be overwritten before a copy that nobody waits for has read it."""
    batches = ReplicaBatches(torch.arange(500), batch_size=2, block_size=8, seeds=[1])
    copied: list[tuple[bool, bool]] = []
    pinned: list[Tensor] = []

    def pin_memory(chunk: Tensor) -> Tensor:
        pinned.append(chunk.clone())
        return pinned[-1]

    class Offsets:
        def copy_(self, chunk: Tensor, non_blocking: bool = False) -> None:
            copied.append((non_blocking, any(chunk is one for one in pinned)))

    class Tokens:
        device = torch.device(kind)

    monkeypatch.setattr(Tensor, "pin_memory", pin_memory)
    batches._offsets, batches._tokens = Offsets(), Tokens()  # type: ignore[assignment]
    batches.prepare(0)
    assert copied == [(not waits, not waits)]


def test_the_probabilities_of_a_mask_have_its_shape(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """MPS draws with a probability for each entry, or one for all."""
    shapes: list[tuple[torch.Size, torch.Size]] = []
    draw = Tensor.bernoulli_

    def noting(mask: Tensor, p: Any) -> Tensor:
        shapes.append((mask.shape, p.shape))
        return draw(mask, p)

    monkeypatch.setattr(Tensor, "bernoulli_", noting)
    setup = TrainingSetup(batch_size=2)
    variant = Shape(n_head=1, n_layer=1, n_embed=8, block_size=8)
    levels = [Trial(shape=dataclasses.replace(variant, dropout=p), training=setup) for p in (0.1, 0.3)]
    ReplicaLearner(levels, corpus, torch.device("cpu")).take(1)
    assert shapes
    assert all(mask == p for mask, p in shapes)
