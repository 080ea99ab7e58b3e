"""Whether two models have the same weights, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class WeightsDifference:
    """How the weights of two models differ.

    Attributes:
        values: how many numbers each has.
        differing: how many of them are not the same.
        tensors: the names of the tensors that hold those.
        largest: the largest difference of two numbers.
    """

    values: int
    differing: int
    tensors: tuple[str, ...]
    largest: float

    @property
    def is_identical(self) -> bool:
        return self.differing == 0


def compare_weights(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> WeightsDifference:
    """Compare two state dicts of one architecture, float32, bit for bit: 0 and -0 differ."""
    differing, tensors, largest = 0, [], 0.0
    for name, one in a.items():
        one, other = one.cpu().contiguous(), b[name].cpu().contiguous()
        count = int((one.view(torch.int32) != other.view(torch.int32)).sum())
        if count:
            differing += count
            tensors.append(name)
            largest = max(largest, float((one - other).abs().max()))
    values = sum(tensor.numel() for tensor in a.values())
    return WeightsDifference(values=values, differing=differing, tensors=tuple(tensors), largest=largest)
