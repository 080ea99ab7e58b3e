"""Which device trains, and what a process must set up to train on it."""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from gpt_experiments.errors import ConfigError, first_line
from gpt_experiments.kernels import are_switched_on

_REPEATABLE_WORKSPACES: Final = (":4096:8", ":16:8")  # with any other, cuBLAS results may not be repeatable
_CONTEXT_BYTES: Final = 2**29  # of a card's memory: CUDA and its libraries take about so much for each process


def resolve_device(name: str) -> torch.device:
    """The device called `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; `auto` takes CUDA, then MPS, then the CPU.

    Raises:
        ConfigError: no such name, or this machine or this PyTorch build has no such device; or the switch of the CPU's
            kernels has a value that it cannot have, which is found here, before any work begins, and not in a worker.
    """
    are_switched_on()  # or raises
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
                f"device {name!r} is not available: PyTorch {torch.__version__} sees {count} CUDA devices; "
                "use --device cpu, or install a CUDA build of PyTorch"
            )
        try:
            torch.cuda.init()
        except RuntimeError as error:
            raise ConfigError(
                f"device {name!r} does not start: {first_line(error)}; update its driver, or use --device cpu"
            ) from error
    elif device.type == "mps":
        if not torch.backends.mps.is_available():
            raise ConfigError(
                "device 'mps' is not available: it needs an Apple GPU and a macOS build; use --device cpu"
            )
    elif device.type != "cpu":
        raise ConfigError(f"device must be auto, cpu, cuda, cuda:N or mps, but got {name!r}")
    return device


class SpeedWarning(RuntimeWarning):
    """Training goes on, and to the same result, but slower than the user may expect."""


def warn_of_slow_precision(device: torch.device, precision: str) -> None:
    """Warn if bfloat16 was asked for and the GPU has no units for it, so that it is slow."""
    if device.type == "cuda" and precision == "bfloat16":
        with torch.cuda.device(device):
            is_fast = torch.cuda.is_bf16_supported(including_emulation=False)
        if not is_fast:
            text = f"{describe_device(device)} has no units for bfloat16, so it is slow there; float32 is faster"
            warnings.warn(text, SpeedWarning, stacklevel=2)


def devices_of(device: torch.device) -> list[torch.device]:
    """The devices that the name of `device` stands for: `cuda` for all CUDA devices, any other for itself."""
    if str(device) == "cuda":
        return [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    return [device]


def set_cublas_workspace() -> None:
    """Make cuBLAS results repeatable. Call it before the process's first product on CUDA, when PyTorch reads this."""
    if os.environ.get("CUBLAS_WORKSPACE_CONFIG") not in _REPEATABLE_WORKSPACES:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = _REPEATABLE_WORKSPACES[0]


def prepare_process(device: torch.device, threads: int) -> None:
    """Set this process up to train on `device`: its thread count, and kernels that give the same result every time."""
    torch.set_num_threads(threads)
    if device.type == "cuda":
        set_cublas_workspace()
        # Not use_deterministic_algorithms, which also loads PyTorch's compiler: seconds in every worker.
        torch.set_deterministic_debug_mode("warn")
        # Off: a kernel for every new tensor, which finds bugs and changes no result. (torch's stubs do not know it.)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        if str(device) != "cuda":
            torch.cuda.set_device(device)  # calls that name no device, such as a capture, would start another one


@contextmanager
def strictly_deterministic() -> Iterator[None]:
    """Where deterministic kernels are asked for, make any other kernel in this block an error.

    With only a warning, PyTorch's fused attention kernels for CUDA keep a backward pass that adds up in any order. The
    kernel is chosen in the forward pass, so that must be in the block, too.
    """
    before = torch.get_deterministic_debug_mode()
    if before == 0:
        yield
        return
    torch.set_deterministic_debug_mode("error")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)


def describe_device(device: torch.device) -> str:
    """The hardware's name, as `NVIDIA H100 80GB HBM3`, or the processor's."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return _processor_name()


def device_memory(device: torch.device) -> int | None:
    """Bytes of memory that the accelerator has, used or free; None for a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return int(torch.mps.recommended_max_memory()) if device.type == "mps" else None


def free_memory(device: torch.device, processes: int) -> int | None:
    """Bytes of the accelerator's memory that so many processes may share; None for a CPU.

    For CUDA it leaves out what other programs hold, by nvidia-smi, and what each process takes for itself.
    """
    memory = device_memory(device)
    if memory is None or device.type != "cuda":
        return memory
    free = _free_by_driver(device)
    return max(0, (memory if free is None else free) - processes * _CONTEXT_BYTES)


def _free_by_driver(device: torch.device) -> int | None:
    """Ask a program, because asking PyTorch would take a context's memory from the card in this process."""
    card = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
    command = ["nvidia-smi", f"--id={card}", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return int(answer) * 2**20 if answer.isdecimal() else None  # a part of a card (MIG) has no number here


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: CUDA mostly raises a class of its own, the others only say so in the message.

    The words are those of MPS, of the CPU's allocator, and of CUDA's libraries where they allocate by themselves.
    """
    message = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError)
        and any(words in message for words in ("out of memory", "can't allocate memory", "alloc_failed"))
    )


def breaks_device(error: BaseException) -> bool:
    """Whether this process can no longer rely on its device after the error, so that it should end.

    An access out of bounds, for one, makes every later call of CUDA in the process fail; a random number generator
    that believes in a capture that has failed refuses to draw.
    """
    if is_out_of_memory(error) or not isinstance(error, RuntimeError):
        return False
    message = str(error)
    return isinstance(error, torch.AcceleratorError) or any(
        words in message for words in ("CUDA error", "cuDNN error", "outside graph capture")
    )


def release_memory(device: torch.device) -> None:
    """Free what a finished training still holds, for the next one in this or another process."""
    gc.collect()
    if device.type == "cuda":
        # Workspaces of each stream that multiplied matrices; a captured graph would still use them, so none may live.
        clear_workspaces = getattr(torch._C, "_cuda_clearCublasWorkspaces", None)
        if clear_workspaces is not None:
            clear_workspaces()
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
