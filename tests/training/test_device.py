"""What a process that trains sets up, and what it makes of a device."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gpt_experiments.errors import ConfigError
from gpt_experiments.training import (
    SpeedWarning,
    breaks_device,
    device_memory,
    devices_of,
    free_memory,
    prepare_process,
    release_memory,
    resolve_device,
    set_cublas_workspace,
)
from gpt_experiments.training.device import strictly_deterministic, warn_of_slow_precision

CUDA = torch.device("cuda")
GIB = 2**30


@pytest.fixture
def lenient() -> Iterator[None]:
    torch.set_deterministic_debug_mode("warn")
    yield
    torch.set_deterministic_debug_mode("default")


@pytest.mark.usefixtures("lenient")
def test_a_block_insists_on_deterministic_kernels_and_leaves_the_setting_as_it_was() -> None:
    with strictly_deterministic():
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled()


def test_where_nobody_asked_for_deterministic_kernels_none_are_forced() -> None:
    with strictly_deterministic():
        assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.slow
def test_a_process_is_prepared_for_cuda_without_loading_the_compiler() -> None:
    program = """
import os, sys, torch
from gpt_experiments.training import prepare_process
from gpt_experiments.training.device import strictly_deterministic, warn_of_slow_precision
prepare_process(torch.device("cuda"), 1)
with strictly_deterministic():
    strict = torch.get_deterministic_debug_mode()
loaded = [name for name in ("torch._inductor", "torch._dynamo") if name in sys.modules]
print(os.environ["CUBLAS_WORKSPACE_CONFIG"], torch.get_deterministic_debug_mode(), strict, loaded)
"""
    environment = {name: value for name, value in os.environ.items() if name != "CUBLAS_WORKSPACE_CONFIG"}
    answer = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert answer.stdout.split(maxsplit=3) == [":4096:8", "1", "2", "[]\n"]


@pytest.mark.parametrize(
    ("before", "after"), [(None, ":4096:8"), (":16:8", ":16:8"), (":4096:8", ":4096:8"), (":0:0", ":4096:8")]
)
def test_cublas_gets_a_workspace_with_which_it_repeats_its_results(
    before: str | None, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    if before is not None:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", before)
    set_cublas_workspace()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == after


@pytest.fixture
def four_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four CUDA devices that PyTorch sees and that start."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    properties = SimpleNamespace(total_memory=80 * GIB, uuid="11112222-3333-4444-5555-666677778888")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)


@pytest.mark.usefixtures("four_cards")
def test_a_name_without_a_number_stands_for_all_cuda_devices() -> None:
    assert [str(device) for device in devices_of(resolve_device("cuda"))] == ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]
    assert devices_of(resolve_device("cuda:2")) == [torch.device("cuda:2")]
    assert devices_of(torch.device("cpu")) == [torch.device("cpu")]


@pytest.mark.usefixtures("lenient")
def test_a_process_makes_its_device_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A capture waits for the current device, and would start another one for that."""
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    threads = torch.get_num_threads()
    prepare_process(torch.device("cuda:1"), threads)
    assert chosen == [torch.device("cuda:1")]
    prepare_process(CUDA, threads)
    assert chosen == [torch.device("cuda:1")]


def test_cuda_that_does_not_start_is_reported_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver counts devices that PyTorch, built for a newer one, cannot use."""

    def init() -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).\nPlease update ...")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "init", init)
    with pytest.raises(
        ConfigError, match=r"'cuda' does not start: The NVIDIA driver on your system is too old"
    ) as reported:
        resolve_device("cuda")
    assert "Please" not in str(reported.value)
    assert str(reported.value).endswith("update its driver, or use --device cpu")


def nvidia_smi(folder: Path, answer: str, status: int = 0) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f'#!/bin/sh\necho "$@" > {folder}/asked\necho "{answer}"\nexit {status}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


@pytest.mark.usefixtures("four_cards")
@pytest.mark.parametrize(
    ("answer", "status", "free"),
    [
        ("61440", 0, 60 * GIB),
        ("0", 0, 0),
        ("[N/A]", 0, 80 * GIB),
        ("No devices were found", 6, 80 * GIB),
        ("", 0, 80 * GIB),
    ],
)
def test_what_others_hold_of_a_card_is_not_reckoned_with(
    answer: str, status: int, free: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor what CUDA itself takes for each process, half a gibibyte."""
    nvidia_smi(tmp_path, answer, status)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert free_memory(torch.device("cuda:1"), 4) == max(0, free - 2 * GIB)
    assert "--id=GPU-11112222-3333-4444-5555-666677778888" in (tmp_path / "asked").read_text()
    assert free_memory(torch.device("cuda:1"), 1000) == 0
    assert device_memory(torch.device("cuda:1")) == 80 * GIB


@pytest.mark.usefixtures("four_cards")
def test_without_the_drivers_program_the_whole_card_is_reckoned_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert free_memory(CUDA, 2) == 79 * GIB
    assert free_memory(torch.device("cpu"), 2) is None


@pytest.mark.parametrize(
    ("name", "precision", "has_units", "warns"),
    [("cuda", "bfloat16", False, True), ("cuda", "bfloat16", True, False), ("cuda", "float32", False, False),
     ("cpu", "bfloat16", False, False)],
)  # fmt: skip
def test_bfloat16_on_a_card_without_units_for_it_is_reported(
    name: str, precision: str, has_units: bool, warns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device", contextlib.nullcontext)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_units or including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "RTX 2080")
    reported = (
        pytest.warns(SpeedWarning, match="RTX 2080 has no units for bfloat16") if warns else contextlib.nullcontext()
    )
    with reported:
        warn_of_slow_precision(torch.device(name), precision)


def test_workspaces_of_products_are_given_back_before_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: done.append("cleared"), raising=False)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: done.append("emptied"))
    release_memory(CUDA)
    assert done == ["cleared", "emptied"]


@pytest.mark.parametrize(
    ("error", "breaks"),
    [
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"), True),
        (RuntimeError("Offset increment outside graph capture encountered unexpectedly."), True),
        (torch.AcceleratorError("CUDA error: out of memory"), False),
        (torch.OutOfMemoryError("CUDA out of memory"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("CUDA error"), False),
    ],
)
def test_which_errors_a_process_does_not_survive(error: Exception, breaks: bool) -> None:
    assert breaks_device(error) == breaks
