"""How many workers a Ray cluster has room for, and what each of them gets."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gpt_experiments.errors import ConfigError
from gpt_experiments.execution.protocol import Cluster, Hardware

MOST_WORKERS: Final = 1_024
_MOST_WRITERS: Final = 8  # as of a local worker


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What Ray may use of a machine: CPU cores and GPUs."""

    cpus: int
    gpus: int


def plan_workers(
    machines: Sequence[Machine], *, device: str, workers: int | None, trials: int, address: str | None
) -> Hardware:
    """What each worker gets of these machines, and how many there is room for now; names and memory are still unknown.

    On CPUs it is as on one machine: a worker for each core, with more threads where there are fewer trials than cores.
    On GPUs there is one for each GPU, or several that share one where more `workers` are wanted.

    Args:
        device: `auto`, `cpu` or `cuda`.
        workers: the most that are wanted; None takes as many as there is room for, also later.
        trials: that are to be trained, at most.

    Raises:
        ConfigError: a device that Ray does not give out.
    """
    gpus = sum(machine.gpus for machine in machines)
    if device == "auto":
        device = "cuda" if gpus else "cpu"
    if device not in ("cpu", "cuda"):
        raise ConfigError(
            f"device must be auto, cpu or cuda with --executor ray, which chooses GPUs, but got {device!r}"
        )
    plan = _on_gpus if device == "cuda" else _on_cpus
    hardware, cluster = plan(machines, workers, max(1, trials))
    most = MOST_WORKERS if workers is None else workers
    return dataclasses.replace(
        hardware, cluster=dataclasses.replace(cluster, address=address, most_workers=most, trials=max(1, trials))
    )


def _on_cpus(machines: Sequence[Machine], wanted: int | None, trials: int) -> tuple[Hardware, Cluster]:
    cores = [machine.cpus for machine in machines if machine.cpus] or [1]
    workers = min(wanted or sum(cores), sum(cores), trials)
    threads = max(1, min(min(cores), sum(cores) // workers))
    workers = max(1, min(workers, sum(each // threads for each in cores)))
    hardware = Hardware(device="cpu", name="CPUs of a Ray cluster", workers=workers, threads=threads)
    return hardware, Cluster(cpus=threads)


def _on_gpus(machines: Sequence[Machine], wanted: int | None, trials: int) -> tuple[Hardware, Cluster]:
    with_gpus = [machine for machine in machines if machine.gpus]
    gpus = max(1, sum(machine.gpus for machine in with_gpus))
    workers = min(wanted or gpus, trials)
    sharing = math.ceil(workers / gpus)  # workers of one GPU
    cores = min((machine.cpus // (machine.gpus * sharing) for machine in with_gpus), default=1)  # of each worker
    writers = min(_MOST_WRITERS, max(1, cores - 1))
    hardware = Hardware(device="cuda", name="GPUs of a Ray cluster", workers=workers, threads=1, writers=writers)
    share = math.floor(10_000 / sharing) / 10_000  # Ray counts to four digits, and rounds up as well as down
    return hardware, Cluster(cpus=min(cores, 1 + writers), gpus=share)
