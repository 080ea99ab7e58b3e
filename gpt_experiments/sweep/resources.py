"""How a sweep is run: the user's options, and what the machine offers."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from dataclasses import dataclass
from typing import Final

import torch

from gpt_experiments.errors import ConfigError, shown
from gpt_experiments.execution import EXECUTORS
from gpt_experiments.execution.protocol import Hardware
from gpt_experiments.parameters import check_whole_number, is_finite_number
from gpt_experiments.sweep.definition import MOST_TRIALS
from gpt_experiments.sweep.grouping import GroupLimit
from gpt_experiments.training import describe_device, devices_of, free_memory, resolve_device

_MOST_WORKERS: Final = 1_024
_LONGEST_TIMEOUT: Final = 365 * 24 * 3600  # seconds
_ADDRESS: Final = re.compile(r"auto|(ray://)?[\w.-]+:\d{1,5}|(ray://)?\[[0-9A-Fa-f:.]+\]:\d{1,5}")
_MOST_WRITERS: Final = 8  # for each worker; a writer takes some 400 MiB of main memory


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a sweep is run, as opposed to what it trains.

    Args:
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        workers: processes at once; None takes one for each CPU core, or one for each GPU.
        timeout: seconds after which the sweep ends; trials that run are put away, to go on where they are next time.
        force: train every trial, also those that have a finished run.
        replicas: trials that train as one batched model, at most; None takes as many as fit on an accelerator, and one
            on a CPU.
        executor: what runs the trials: `local`, processes of this machine; `inline`, this process; or `ray`, a cluster.
        address: of the Ray cluster: `auto`, HOST:PORT or ray://HOST:PORT; None starts Ray on this machine.
        attention_over_training: whether pictures of each trial's attention are made while it trains.
        take_over: go on with a sweep that is marked as running by a process of another host, assumed to be dead.
        join: work at the sweep together with other processes, on this host or others.

    Raises:
        ConfigError: workers, replicas or timeout out of range, or an address that is none, or that nothing uses.
    """

    device: str = "auto"
    workers: int | None = None
    timeout: float | None = None
    force: bool = False
    replicas: int | None = None
    take_over: bool = False
    join: bool = False
    executor: str = "local"
    address: str | None = None
    attention_over_training: bool = True

    def __post_init__(self) -> None:
        if self.join and self.force:
            raise ConfigError(
                "join and force exclude each other: who works together trains each trial once; leave one of them out"
            )
        if self.executor not in EXECUTORS:
            raise ConfigError(f"executor must be one of {', '.join(EXECUTORS)}, but got {shown(self.executor)}")
        if self.address is not None and self.executor != "ray":
            raise ConfigError(f"--address {shown(self.address)} names a Ray cluster; use it with --executor ray")
        if self.address is not None and not _ADDRESS.fullmatch(self.address):
            raise ConfigError(f"address must be auto, HOST:PORT or ray://HOST:PORT, but got {shown(self.address)}")
        if self.workers is not None:
            check_whole_number("workers", self.workers, 1, _MOST_WORKERS)
        if self.replicas is not None:
            check_whole_number("replicas", self.replicas, 1, MOST_TRIALS)
        if self.timeout is not None and not (is_finite_number(self.timeout) and 0 < self.timeout <= _LONGEST_TIMEOUT):
            raise ConfigError(
                f"timeout must be a positive number of seconds, at most {_LONGEST_TIMEOUT:,} (a year), but got "
                f"{shown(self.timeout)}; leave it out to let the sweep take as long as it needs"
            )


def find_hardware(options: RunOptions, trials: int) -> Hardware:
    """The hardware that this machine offers for at most `trials` trials.

    On a CPU there is a worker for each core, with one thread each, else one for each GPU. Each GPU's memory is divided
    among its workers; the CPU cores that they leave write files.

    Raises:
        ConfigError: there is no such device, or no such cluster.
    """
    if options.executor == "ray":
        return _hardware_of_cluster(options, trials)
    device = resolve_device(options.device)
    devices, cores = devices_of(device), usable_cores()
    wanted = options.workers or (cores if device.type == "cpu" else len(devices))
    if options.executor == "inline":  # this process alone
        wanted = 1
    workers = max(1, min(wanted, trials))
    used = devices[:workers]
    name = " and ".join(dict.fromkeys(describe_device(one) for one in used))
    hardware = Hardware(device=str(device), name=name, workers=workers, threads=max(1, cores // workers))
    sharing = math.ceil(workers / len(used))  # workers of one device
    memory = [free for one in used if (free := free_memory(one, sharing)) is not None]
    if not memory:
        return hardware
    writers = min(_MOST_WRITERS, max(1, (cores - workers) // workers))
    return dataclasses.replace(hardware, threads=1, writers=writers, memory=min(memory) // sharing)


def _hardware_of_cluster(options: RunOptions, trials: int) -> Hardware:
    """What a Ray cluster offers now; without an address, what this machine does."""
    from gpt_experiments.execution import ray_connection as connection
    from gpt_experiments.execution.ray_plan import Machine, plan_workers  # not earlier: Ray takes seconds to load

    connection.require_ray()
    if options.address is not None:
        connection.connect(options.address)
        machines = connection.machines()
    else:
        own = dataclasses.replace(options, executor="local")
        local = find_hardware(own, trials)
        if local.device == "mps":  # which Ray does not know
            local = find_hardware(dataclasses.replace(own, device="cpu"), trials)
        gpus = len(devices_of(torch.device(local.device))) if local.device == "cuda" else 0
        machines = [Machine(cpus=max(usable_cores(), local.workers if gpus == 0 else 0), gpus=gpus)]
    hardware = plan_workers(
        machines, device=options.device, workers=options.workers, trials=trials, address=options.address
    )
    assert hardware.cluster is not None
    if options.address is None:
        cluster = dataclasses.replace(hardware.cluster, most_workers=hardware.workers)
        return dataclasses.replace(hardware, name=local.name, memory=local.memory, cluster=cluster)
    if hardware.cluster.gpus and (seen := connection.look_at_gpu(hardware.cluster.gpus)) is not None:
        return dataclasses.replace(hardware, name=seen[0], memory=seen[1])
    return hardware


def group_limit(options: RunOptions, hardware: Hardware, vocab_size: int) -> GroupLimit:
    """How many trials may train as one on that hardware."""
    return GroupLimit(replicas=options.replicas, memory=hardware.memory, vocab_size=vocab_size)


def usable_cores() -> int:
    """CPU cores that this process may use: its affinity, or its container's share if that is less.

    Raises:
        ConfigError: $LOKY_MAX_CPU_COUNT, which is a limit as well, is not a number.
    """
    from joblib import cpu_count  # takes a moment, and workers do not need it

    try:
        return int(cpu_count())
    except ValueError as error:
        value = os.environ.get("LOKY_MAX_CPU_COUNT")
        raise ConfigError(f"LOKY_MAX_CPU_COUNT must be a whole number of cores, but is {value!r}") from error
