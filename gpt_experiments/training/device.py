"""Which device trains, and what a process must set up to train on it."""

from __future__ import annotations

import gc
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gpt_experiments.errors import ConfigError


def resolve_device(name: str) -> torch.device:
    """The device called `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; `auto` takes CUDA, then MPS, then the CPU.

    Raises:
        ConfigError: no such name, or this machine or this PyTorch build has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device must be auto, cpu, cuda, cuda:N or mps, but got {name!r}") from error
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise ConfigError(
                f"device {name!r} is not here: PyTorch {torch.__version__} sees {count} CUDA devices; "
                "use --device cpu, or install a CUDA build of PyTorch"
            )
    elif device.type == "mps":
        if not torch.backends.mps.is_available():
            raise ConfigError("device 'mps' is not here: it needs an Apple GPU and a macOS build; use --device cpu")
    elif device.type != "cpu":
        raise ConfigError(f"device must be auto, cpu, cuda, cuda:N or mps, but got {name!r}")
    return device


def prepare_process(device: torch.device, threads: int) -> None:
    """Set this process up to train on `device`: its thread count, and kernels that give the same result every time."""
    torch.set_num_threads(threads)
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs to be deterministic
        torch.use_deterministic_algorithms(True, warn_only=True)
        # Off: a kernel for every new tensor, which finds bugs and changes no result. (torch's stubs do not know it.)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


@contextmanager
def strictly_deterministic() -> Iterator[None]:
    """Where deterministic kernels are asked for, insist on them in this block, so that one without them is an error.

    With a warning alone, both of PyTorch's fused attention kernels for CUDA keep the backward pass that adds up in
    whatever order its blocks end.
    """
    if not torch.are_deterministic_algorithms_enabled():
        yield
        return
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(True, warn_only=warn_only)


def describe_device(device: torch.device) -> str:
    """The hardware's name, as `NVIDIA H100 80GB HBM3`, or the processor's."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return _processor_name()


def device_memory(device: torch.device) -> int | None:
    """Bytes of memory that the accelerator has, whoever uses them; None for a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return int(torch.mps.recommended_max_memory()) if device.type == "mps" else None


def is_out_of_memory(error: Exception) -> bool:
    """Whether the device's memory did not suffice: CUDA mostly raises a class of its own, the others tell it in words.

    The words are those of MPS, of the CPU's allocator, and of CUDA's libraries where they allocate by themselves.
    """
    told = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError)
        and any(words in told for words in ("out of memory", "can't allocate memory", "alloc_failed"))
    )


def release_memory(device: torch.device) -> None:
    """Give back what a training that has ended still holds, so that the next one, here or elsewhere, finds it free."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def _processor_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:  # not Linux
        named = []
    return f"{named[0] if named else platform.processor() or platform.machine()} ({os.cpu_count()} cores)"
