"""What a process that trains sets up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from gpt_experiments.training.device import strictly_deterministic


@pytest.fixture
def lenient() -> Iterator[None]:
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("lenient")
def test_a_block_insists_on_deterministic_kernels_and_leaves_the_setting_as_it_was() -> None:
    with strictly_deterministic():
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled()


def test_where_nobody_asked_for_deterministic_kernels_none_are_forced() -> None:
    with strictly_deterministic():
        assert not torch.are_deterministic_algorithms_enabled()
