"""How many processes a sweep gets: of the cores that it may use, and of the devices that there are."""

from __future__ import annotations

import builtins
import io
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gpt_experiments.errors import ConfigError
from gpt_experiments.execution.protocol import Hardware
from gpt_experiments.execution.worker import WorkerSetup
from gpt_experiments.sweep.resources import RunOptions, find_hardware, usable_cores

GIB = 2**30
CPU_MAX = "/sys/fs/cgroup/cpu.max"


@pytest.fixture
def quota(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets what a container's control group says of its share of the CPU, on a machine of 64 cores."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)), raising=False)
    monkeypatch.delenv("LOKY_MAX_CPU_COUNT", raising=False)
    real_exists, real_open = os.path.exists, builtins.open

    def set_quota(line: str) -> None:
        def opened(file: Any, *args: Any, **options: Any) -> Any:
            return io.StringIO(line) if file == CPU_MAX else real_open(file, *args, **options)

        monkeypatch.setattr(os.path, "exists", lambda path: path == CPU_MAX or real_exists(path))
        monkeypatch.setattr(builtins, "open", opened)

    return set_quota


@pytest.mark.parametrize(
    ("line", "cores"),
    [("200000 100000\n", 2), ("150000 100000\n", 2), ("50000 100000\n", 1), ("max 100000\n", 64)],
)
def test_cores_are_no_more_than_the_containers_share(quota: Any, line: str, cores: int) -> None:
    quota(line)
    assert usable_cores() == cores
    assert find_hardware(RunOptions(device="cpu"), 100).workers == cores


def test_cores_are_no_more_than_the_processes_affinity(quota: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    quota("max 100000\n")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 9})
    assert usable_cores() == 3


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_a_process_bound_to_one_core_has_one() -> None:
    program = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from gpt_experiments.sweep.resources import usable_cores
print(usable_cores())
"""
    environment = {name: value for name, value in os.environ.items() if name != "LOKY_MAX_CPU_COUNT"}
    answer = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "1"


def test_a_bound_on_cores_that_is_no_number_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "many")
    with pytest.raises(ConfigError, match="LOKY_MAX_CPU_COUNT must be a whole number of cores, but is 'many'"):
        usable_cores()


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets how much memory each CUDA device has; their names are `card 0` and so on where they differ."""

    def set_cards(*memory: int) -> None:
        names = {size: f"card of {size // GIB} GiB" for size in memory}
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(memory))
        monkeypatch.setattr(torch.cuda, "init", lambda: None)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: names[memory[device.index]])
        monkeypatch.setattr(
            torch.cuda,
            "get_device_properties",
            lambda device: SimpleNamespace(total_memory=memory[device.index], uuid="none"),
        )

    monkeypatch.setattr("gpt_experiments.sweep.resources.usable_cores", lambda: 32)
    monkeypatch.setattr("gpt_experiments.training.device._free_by_driver", lambda device: None)
    return set_cards


def places(found: Hardware, workers: int) -> list[str]:
    setup = WorkerSetup(device_name=found.device, threads=1, folder=Path())
    return [setup.at_place(place).device_name for place in range(workers)]


def test_each_cuda_device_gets_a_worker_with_its_whole_memory(cards: Any) -> None:
    cards(80 * GIB, 80 * GIB, 80 * GIB, 80 * GIB)
    hardware = find_hardware(RunOptions(device="cuda"), 100)
    assert (hardware.workers, hardware.device, hardware.name) == (4, "cuda", "card of 80 GiB")
    assert places(hardware, 4) == ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]
    assert hardware.memory == 80 * GIB - GIB // 2
    assert (hardware.threads, hardware.writers) == (1, 7)


@pytest.mark.parametrize(
    ("workers", "trials", "devices", "sharing"),
    [
        (2, 100, ["cuda:0", "cuda:1"], 1),
        (8, 100, [f"cuda:{i % 4}" for i in range(8)], 2),
        (5, 100, ["cuda:0", "cuda:1", "cuda:2", "cuda:3", "cuda:0"], 2),
        (None, 3, ["cuda:0", "cuda:1", "cuda:2"], 1),
    ],
)
def test_workers_take_turns_at_the_devices_and_share_their_own(
    cards: Any, workers: int | None, trials: int, devices: list[str], sharing: int
) -> None:
    cards(80 * GIB, 80 * GIB, 80 * GIB, 80 * GIB)
    hardware = find_hardware(RunOptions(device="cuda", workers=workers), trials)
    assert places(hardware, hardware.workers) == devices
    assert hardware.memory == 80 * GIB // sharing - GIB // 2


def test_groups_fit_the_smallest_of_the_devices_that_are_used(cards: Any) -> None:
    cards(80 * GIB, 24 * GIB)
    both = find_hardware(RunOptions(device="cuda"), 100)
    assert (both.memory, both.name) == (24 * GIB - GIB // 2, "card of 80 GiB and card of 24 GiB")
    first = find_hardware(RunOptions(device="cuda", workers=1), 100)
    assert (first.memory, first.name) == (80 * GIB - GIB // 2, "card of 80 GiB")
    second = find_hardware(RunOptions(device="cuda:1", workers=2), 100)
    assert (second.memory, second.name) == (12 * GIB - GIB // 2, "card of 24 GiB")
    assert places(second, 2) == ["cuda:1", "cuda:1"]


def test_one_process_is_planned_for_where_it_trains_in_this_one(cards: Any) -> None:
    cards(80 * GIB, 80 * GIB)
    for device in ("cpu", "cuda"):
        assert find_hardware(RunOptions(device=device, executor="inline", workers=4), 100).workers == 1
