"""The fields of the JSON object of `bench`: what its tables show, as numbers."""

from __future__ import annotations

import dataclasses

from gpt_experiments.bench.results import (
    WAYS,
    BenchResult,
    OrchestrationTimes,
    ScalingTimes,
    Spread,
    StepTimes,
    SweepTimes,
)
from gpt_experiments.cli.json_output import Fields


def bench_fields(result: BenchResult) -> Fields:
    """Every figure with its unit in its name; a part that was not measured is empty or None."""
    machine = result.machine
    return {
        "machine": {
            "hardware": machine.hardware,
            "device": machine.device,
            "cores": machine.cores,
            "matrix_flops_per_second": machine.matrix_flops,
            "date": machine.date,
            "versions": machine.versions,
            "commit": machine.commit,
        },
        "steps": [_steps(times, result) for times in result.steps],
        "scaling": [_scaling(times, count) for times in result.scaling for count in times.tokens_per_second],
        "sweep": None if result.sweep is None else _sweep(result.sweep),
        "orchestration": None if result.orchestration is None else _orchestration(result.orchestration),
    }


def _steps(times: StepTimes, result: BenchResult) -> Fields:
    return {
        "label": times.label,
        "n_params": times.n_params,
        "tokens": times.tokens,
        "flops": times.flops,
        **{f"{way}_seconds": _spread(times.step(way)) for way in WAYS},
        "ratio": _spread(times.ratio),
        "tokens_per_second": times.tokens_per_second,
        "flops_per_second": times.flops_per_second,
        "part_of_peak": times.flops_per_second / result.machine.matrix_flops,
        **{f"{way}_memory_bytes": times.memory[way] for way in WAYS},
        **{f"{way}_growth": times.growth(result.steps[0], way) for way in WAYS},
    }


def _scaling(times: ScalingTimes, count: int) -> Fields:
    return {
        "what": times.what,
        "count": count,
        "tokens_per_second": _spread(times.rate(count)),
        "gain": _spread(times.gain(count)),
        "relative_cost": times.relative_cost(count),
    }


def _sweep(times: SweepTimes) -> Fields:
    return {
        "variants": times.variants,
        "steps": times.steps,
        "scale": times.scale,
        "workers": times.workers,
        **{f"{way}_seconds": _spread(times.total(way)) for way in WAYS},
        "ratio": _spread(times.ratio),
        "beside_seconds": _spread(times.beside),
    }


def _orchestration(times: OrchestrationTimes) -> Fields:
    return {
        "trials": times.trials,
        "workers": times.workers,
        "seconds": times.wall,
        "parent_seconds_per_trial": times.parent_of_trial,
        "training_seconds_per_trial": times.training_of_trial,
        "evaluation_seconds_per_trial": times.evaluation_of_trial,
        "files_seconds_per_trial": times.files_of_trial,
    }


def _spread(spread: Spread) -> dict[str, float]:
    return dataclasses.asdict(spread)
