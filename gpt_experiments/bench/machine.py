"""The machine that is measured: its name, its versions, and how fast it multiplies matrices."""

from __future__ import annotations

import datetime
import time
from typing import Final

import torch

from gpt_experiments import names
from gpt_experiments.bench.results import Machine
from gpt_experiments.sweep.resources import usable_cores
from gpt_experiments.tracking.provenance import git_commit, source_tags
from gpt_experiments.training import describe_device

_SIZE: Final = {"cpu": 1024, "mps": 4096, "cuda": 8192}  # rows of the square matrices
_REPEATS: Final = 8


def describe_machine(device: torch.device) -> Machine:
    return Machine(
        hardware=describe_device(device),
        device=str(device),
        cores=usable_cores(),
        matrix_flops=matrix_flops(device),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        versions=source_tags()[names.VERSIONS],
        commit=git_commit(),
    )


def matrix_flops(device: torch.device) -> float:
    """Floating-point operations a second of a large float32 product, one CPU thread: the best of several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        size = _SIZE[device.type]
        a, b = torch.randn(size, size, device=device), torch.randn(size, size, device=device)
        seconds = []
        for _ in range(_REPEATS):
            synchronize(device)
            started = time.perf_counter()
            a @ b
            synchronize(device)
            seconds.append(time.perf_counter() - started)
        return 2 * size**3 / min(seconds)
    finally:
        torch.set_num_threads(before)


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
