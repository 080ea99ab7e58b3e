"""With how many processes a sweep runs, on what, and how many trials train as one."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Final

from gpt_experiments.errors import ConfigError
from gpt_experiments.sweep.groups import Packing
from gpt_experiments.sweep.worker import WorkerSetup
from gpt_experiments.training import describe_device, device_memory, resolve_device

_MOST_WRITERS: Final = 8  # of each worker: each takes some 400 MiB of main memory


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How to run, as against what.

    Args:
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        workers: processes at once; None takes one for each CPU core, or one where a GPU trains.
        timeout: seconds after which no further trial begins; those that run go on to their end.
        force: train every trial, also those that a finished run answers.
        replicas: trials that train as one batched model, at most; None takes as many as fit on an accelerator, and one
            on a CPU.

    Raises:
        ConfigError: workers or replicas below 1, or a timeout that is not positive.
    """

    device: str = "auto"
    workers: int | None = None
    timeout: float | None = None
    force: bool = False
    replicas: int | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"workers must be at least 1, but got {self.workers}")
        if self.replicas is not None and self.replicas < 1:
            raise ConfigError(f"replicas must be at least 1, but got {self.replicas}")
        if self.timeout is not None and not self.timeout > 0:
            raise ConfigError(f"timeout must be a positive number of seconds, but got {self.timeout:g}")


@dataclass(frozen=True, kw_only=True)
class Staffing:
    """How many processes train, with how many CPU threads each, on what.

    Attributes:
        writers: further processes of each worker, which write files while it trains; 0 where the CPU trains.
        memory: bytes of the accelerator for each worker; None on a CPU.
    """

    workers: int
    threads: int
    device: str
    hardware: str
    writers: int = 0
    memory: int | None = None

    @property
    def worker(self) -> WorkerSetup:
        return WorkerSetup(device_name=self.device, threads=self.threads, writers=self.writers)

    def packing(self, options: RunOptions, vocab_size: int) -> Packing:
        return Packing(replicas=options.replicas, memory=self.memory, vocab_size=vocab_size)


def staff(options: RunOptions, trials: int) -> Staffing:
    """Processes for at most `trials` trials: on a CPU one for each core with one thread each, on a GPU one.

    An accelerator's memory is divided among its workers; the CPU cores that they leave write files.

    Raises:
        ConfigError: the device is not there.
    """
    device = resolve_device(options.device)
    cores = usable_cores()
    wanted = options.workers or (cores if device.type == "cpu" else 1)
    workers = max(1, min(wanted, trials))
    staffing = Staffing(
        workers=workers, threads=max(1, cores // workers), device=str(device), hardware=describe_device(device)
    )
    memory = device_memory(device)
    if memory is None:
        return staffing
    writers = min(_MOST_WRITERS, max(1, (cores - workers) // workers))
    return dataclasses.replace(staffing, threads=1, writers=writers, memory=memory // workers)


def usable_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
