"""What a worker uses while it trains: processor, memory, and of a CUDA device also power and energy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import psutil
import torch

from gpt_experiments import names

try:
    import pynvml
except ImportError:  # an accelerator of another maker, or an installation without it: the GPU is then not measured
    pynvml = None

_SECONDS_BETWEEN_SAMPLES: Final = 10.0
_MEGABYTE: Final = 1e6


class UsageMeter:
    """Measures this process, its machine and its device, every ten seconds and once more at the end of a group.

    The names are those by which MLflow's page of system metrics shows them.
    """

    def __init__(self, device: torch.device) -> None:
        self._process, self._sampled_at = psutil.Process(), time.monotonic()
        self._process.cpu_percent()  # the first call begins the interval that the next one measures
        psutil.cpu_percent()
        self._gpu = _find_gpu(device) if device.type == "cuda" else None
        self._energy_at_start = self._energy()

    def is_due(self) -> bool:
        return time.monotonic() - self._sampled_at >= _SECONDS_BETWEEN_SAMPLES

    def sample(self, trials: int) -> dict[str, float]:
        """The values since the last sample, by their metrics' names.

        Args:
            trials: how many trials train together; each has an equal share of the energy since the group began.
        """
        self._sampled_at = time.monotonic()
        machine = psutil.virtual_memory()
        values = {
            "cpu_utilization_percentage": psutil.cpu_percent(),
            "system_memory_usage_percentage": machine.percent,
            "worker_cpu_percentage": self._process.cpu_percent(),  # 100 is one core
            "worker_memory_usage_megabytes": self._process.memory_info().rss / _MEGABYTE,
        }
        if self._gpu is not None:
            values |= _of_gpu(self._gpu)
            energy = self._energy()
            if energy is not None and self._energy_at_start is not None:
                values["gpu_energy_joules"] = (energy - self._energy_at_start) / trials
        return {f"{names.SYSTEM_SECTION}{name}": value for name, value in values.items()}

    def _energy(self) -> float | None:
        """Joules that the whole card has used since its driver was loaded; None where it does not tell."""
        if self._gpu is None:
            return None
        millijoules = _asked(pynvml.nvmlDeviceGetTotalEnergyConsumption, self._gpu)
        return None if millijoules is None else millijoules / 1000


def _of_gpu(gpu: Any) -> dict[str, float]:
    """What the card tells of itself; it may be shared with other workers."""
    values: dict[str, float] = {}
    if (memory := _asked(pynvml.nvmlDeviceGetMemoryInfo, gpu)) is not None:
        values["gpu_memory_usage_megabytes"] = memory.used / _MEGABYTE
        values["gpu_memory_usage_percentage"] = 100 * memory.used / memory.total
    if (rates := _asked(pynvml.nvmlDeviceGetUtilizationRates, gpu)) is not None:
        values["gpu_utilization_percentage"] = rates.gpu
    if (milliwatts := _asked(pynvml.nvmlDeviceGetPowerUsage, gpu)) is not None:
        values["gpu_power_usage_watts"] = milliwatts / 1000
    return values


def _find_gpu(device: torch.device) -> Any:
    """NVML's handle of the device; None where the driver does not give one, as for a part of a card."""
    if pynvml is None:
        return None
    _asked(pynvml.nvmlInit)
    # NVML counts all cards, PyTorch those that CUDA_VISIBLE_DEVICES leaves: only the identity is the same.
    return _asked(pynvml.nvmlDeviceGetHandleByUUID, f"GPU-{torch.cuda.get_device_properties(device).uuid}")


def _asked(question: Callable[..., Any], *arguments: Any) -> Any:
    """The driver's answer; None where it has none, since not every card measures everything."""
    try:
        return question(*arguments)
    except pynvml.NVMLError:
        return None
