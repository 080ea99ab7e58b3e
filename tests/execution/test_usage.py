"""What a worker says of its use of processor, memory and device."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.execution import usage
from gpt_experiments.execution.protocol import Job, Usage
from gpt_experiments.execution.usage import UsageMeter
from gpt_experiments.execution.worker import train_in_steps
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.training import train_group
from tests.support import trainers

CPU = torch.device("cpu")
SHAPE = Shape(n_head=2, n_layer=1, n_embed=8, dropout=0.0, block_size=16)


class Keep:
    """Takes trained trials, and keeps nothing of them."""

    def expect(self, trials: int) -> None: ...
    def write(self, job: Job, result: object) -> None: ...
    def close(self) -> None: ...


def used(corpus: Corpus, seeds: list[int], trainer: Any = train_group, steps: int = 6) -> list[tuple[str, Usage]]:
    setup = TrainingSetup(steps=steps, batch_size=2, eval_interval=2)
    jobs = [Job(key=str(seed), trial=Trial(shape=SHAPE, seed=seed, training=setup), label="x") for seed in seeds]
    sent: list[tuple[str, Any]] = []
    for _ in train_in_steps(
        jobs, corpus, CPU, trainer, lambda key: None, Keep(), lambda key, event: sent.append((key, event))
    ):
        pass
    return [(key, event) for key, event in sent if isinstance(event, Usage)]


def test_a_short_trial_has_one_measurement_at_its_end(corpus: Corpus) -> None:
    found = used(corpus, [1, 2])
    assert sorted((key, event.step) for key, event in found) == [("1", 6), ("2", 6)]
    values = found[0][1].values
    assert set(values) == {
        "system/cpu_utilization_percentage",
        "system/system_memory_usage_percentage",
        "system/worker_cpu_percentage",
        "system/worker_memory_usage_megabytes",
    }
    assert values["system/worker_memory_usage_megabytes"] > 50
    assert 0 < values["system/system_memory_usage_percentage"] <= 100


def test_a_long_trial_is_measured_on_the_way(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "_SECONDS_BETWEEN_SAMPLES", 0.0)
    assert [event.step for _, event in used(corpus, [1])] == [1, 2, 3, 4, 5, 6]


def test_nothing_is_sent_of_a_trial_that_has_failed(corpus: Corpus) -> None:
    """It fails before the other one's end, at which both would be measured."""
    found = used(corpus, [1, trainers.UNLUCKY_SEED], trainers.unlucky_seed_diverges)
    assert [(key, event.step) for key, event in found] == [("1", 6)]


class NVMLError(Exception): ...


def power(card: str) -> int:
    raise NVMLError("Not Supported")


def handle(identity: str) -> str:
    assert identity == "GPU-1234"
    return "card"


def test_a_card_tells_what_it_measures_and_trials_share_its_energy(monkeypatch: pytest.MonkeyPatch) -> None:
    """This one does not measure its power."""
    millijoules = [100_000, 160_000]
    nvml = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=handle,
        nvmlDeviceGetMemoryInfo=lambda card: SimpleNamespace(used=2e9, total=8e9),
        nvmlDeviceGetUtilizationRates=lambda card: SimpleNamespace(gpu=75),
        nvmlDeviceGetPowerUsage=power,
        nvmlDeviceGetTotalEnergyConsumption=lambda card: millijoules.pop(0),
    )
    monkeypatch.setattr(usage, "pynvml", nvml)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="1234"))
    meter = UsageMeter(torch.device("cuda", 1))
    values = {name: value for name, value in meter.sample(3).items() if "gpu" in name}
    assert values == {
        "system/gpu_memory_usage_megabytes": 2000.0,
        "system/gpu_memory_usage_percentage": 25.0,
        "system/gpu_utilization_percentage": 75,
        "system/gpu_energy_joules": 20.0,
    }


def test_without_the_drivers_library_the_card_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "pynvml", None)
    assert not [name for name in UsageMeter(torch.device("cuda")).sample(1) if "gpu" in name]
