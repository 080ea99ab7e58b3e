"""What a training step does, operation by operation, on a device that is not there: torch's "meta" computes nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.training.learners import ReplicaLearner

META = torch.device("meta")


class StepLog(TorchDispatchMode):
    """Notes every operation inside, and refuses one that touches another device than the tensors' own.

    Attributes:
        kernels: names of the operations that compute or copy something, in their order; a view does not.
        moved: bytes that these read and write.
        outside: addresses of the storages that were read but not made inside.
        peak: the most bytes that storages which were made inside took at once.
        strict: of each operation, whether nothing but deterministic kernels was allowed.
    """

    def __init__(self, device: torch.device = META) -> None:
        super().__init__()
        self._device = device
        self.kernels: list[str] = []
        self.moved = self.peak = 0
        self.outside: set[int] = set()
        self.strict: dict[str, set[bool]] = {}
        self._made: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.name() in ("aten::_local_scalar_dense", "aten::item"):
            raise AssertionError("the step waits for the device: .item()")
        given = _tensors((args, kwargs))
        result = func(*args, **(kwargs or {}))
        made = _tensors(result)
        for tensor in (*given, *made):
            assert tensor.device == self._device, f"{func.name()} touches a tensor on {tensor.device}"
        for tensor in given:
            storage = tensor.untyped_storage()
            if not self._is_made_here(storage):
                self.outside.add(storage._cdata)
        shared = {tensor.untyped_storage()._cdata for tensor in given}
        for tensor in made:
            storage = tensor.untyped_storage()
            if storage._cdata not in shared and not self._is_made_here(storage):
                self._made[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self._made = {key: kept for key, kept in self._made.items() if not kept[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._made.values()))
        if not func.is_view and func.name() not in _FREE:
            self.kernels.append(func.name())
            self.moved += sum(tensor.numel() * tensor.element_size() for tensor in (*given, *made))
        strict = torch.get_deterministic_debug_mode() == 2
        self.strict.setdefault(func.name(), set()).add(strict)
        return result

    def _is_made_here(self, storage: torch.UntypedStorage) -> bool:
        kept = self._made.get(storage._cdata)
        return kept is not None and not kept[0].expired()


_FREE = {"aten::empty.memory_format", "aten::empty_like", "aten::new_empty", "aten::_unsafe_view", "aten::detach"}


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


@contextlib.contextmanager
def _no_autocast(*args: object, **options: object) -> Iterator[None]:
    yield


def _fused_attention(q: Tensor, k: Tensor, v: Tensor, *, dropout_p: float, is_causal: bool, scale: float) -> Tensor:
    attend = torch.ops.aten._scaled_dot_product_efficient_attention
    return attend(q, k, v, None, True, dropout_p, is_causal, scale=scale)[0]


def _fused_dropout(x: Tensor, p: float) -> Tensor:
    return torch.ops.aten.native_dropout(x, p, True)[0]


def steps_of(
    trials: Sequence[Trial], corpus: Corpus, monkeypatch: pytest.MonkeyPatch, *, steps: int = 1, change: Any = None
) -> list[StepLog]:
    """A log of each of some steps of the trials as one group; `change` may do something to the learner before."""
    monkeypatch.setattr(torch, "autocast", _no_autocast)  # which does not know the device
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: False)
    # What CUDA does as one kernel, and "meta" in parts.
    monkeypatch.setattr(F, "scaled_dot_product_attention", _fused_attention)
    monkeypatch.setattr(F, "dropout", _fused_dropout)
    learner = ReplicaLearner(trials, corpus, META)
    learner._model.train()
    if change is not None:
        change(learner)
    logs = []
    for _ in range(steps):
        with StepLog() as log:
            learner._take_one()
        logs.append(log)
    return logs
