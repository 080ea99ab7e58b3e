"""Runs the parts of a benchmark one after the other, and reports its progress."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gpt_experiments.bench.machine import describe_machine
from gpt_experiments.bench.results import BenchResult
from gpt_experiments.bench.scaling import time_seeds, time_workers
from gpt_experiments.bench.steps import time_steps
from gpt_experiments.bench.sweeps import time_orchestration, time_sweeps
from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import ConfigError
from gpt_experiments.parameters import check_whole_number
from gpt_experiments.sweep.definition import SweepDefinition
from gpt_experiments.sweep.definition_file import load_definition
from gpt_experiments.sweep.resources import usable_cores
from gpt_experiments.training import resolve_device, set_cublas_workspace


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What to measure, and how long.

    Args:
        parts: of `steps`, `scaling`, `sweep` and `orchestration`.
        quick: the baseline alone, and everything once.
        rounds: times that each measurement is repeated; None is 3, or 1 when quick.
        steps: training steps in each measurement; None is 8, or 300 on an accelerator.
        scale: of the measured sweep, as a factor on the study; None is 0.02, or 0.004 when quick.
        workers: processes of our sweeps; None is the sweep's own default.

    Raises:
        ConfigError: a number out of range.
    """

    parts: tuple[str, ...]
    quick: bool = False
    rounds: int | None = None
    steps: int | None = None
    scale: float | None = None
    workers: int | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        for name, most in (("rounds", 1_000), ("steps", 1_000_000), ("workers", 1_024)):
            if getattr(self, name) is not None:
                check_whole_number(name, getattr(self, name), 1, most)
        if self.scale is not None and not (math.isfinite(self.scale) and 0 < self.scale <= 1):
            raise ConfigError(f"scale must be above 0 and at most 1, the whole study, but got {self.scale:g}")


_QUICK_LEVELS: Final = {"n_layer": (1,), "n_embed": (32,)}  # two small variants beside the baseline

BenchProgress = str | tuple[BenchResult, str]
"""What is measured next, or everything so far with the part that has just been measured."""


def run_bench(options: BenchOptions, corpus: Corpus) -> Iterator[BenchProgress]:
    """Measure part by part; the last result holds everything.

    Raises:
        ExperimentError: there is no such device, the corpus is too short, or a measurement failed.
    """
    device = resolve_device(options.device)
    if device.type == "cuda":
        set_cublas_workspace()  # before anything multiplies: the machine's own measurement, and the plain way
    definition = load_definition("one-at-a-time")
    rounds = options.rounds or (1 if options.quick else 3)
    steps = options.steps or (8 if device.type == "cpu" else 300)
    trials = _trials(definition, steps)[: 1 if options.quick else None]
    corpus.require_context(definition.longest_context)
    result = BenchResult(machine=describe_machine(device))
    yield result, "machine"
    if "steps" in options.parts:
        for label, trial in trials:
            yield f"steps of {label}"
            times = time_steps(trial, label, corpus, device, rounds=rounds)
            result = dataclasses.replace(result, steps=(*result.steps, times))
        yield result, "steps"
    if "scaling" in options.parts:
        _, baseline = trials[0]
        yield "more seeds, and more workers"
        counts = sorted({1, 2, usable_cores() if device.type == "cpu" else 4})
        scaling = (
            time_seeds(baseline, corpus, device, [1, 2] if device.type == "cpu" else [1, 2, 5, 10], rounds=rounds),
            time_workers(baseline, corpus, device, counts, rounds=rounds),
        )
        result = dataclasses.replace(result, scaling=scaling)
        yield result, "scaling"
    swept = dataclasses.replace(definition, levels=_QUICK_LEVELS) if options.quick else definition
    if "sweep" in options.parts:
        scale = options.scale or (0.004 if options.quick else 0.02)
        yield f"{rounds} times two sweeps of {len(swept.one_at_a_time())} variants, {scale:g} of the study"
        sweep = time_sweeps(swept, corpus, str(device), scale=scale, rounds=rounds, workers=options.workers)
        result = dataclasses.replace(result, sweep=sweep)
        yield result, "sweep"
    if "orchestration" in options.parts:
        yield "what a sweep costs apart from its training"
        many = swept if options.quick else load_definition("grid")
        orchestration = time_orchestration(many, str(device), workers=options.workers)
        yield dataclasses.replace(result, orchestration=orchestration), "orchestration"


def _trials(definition: SweepDefinition, steps: int) -> list[tuple[str, Trial]]:
    """The sweep's variants with their labels, the baseline first, to be trained for so many steps."""
    training = dataclasses.replace(definition.training, steps=steps, eval_interval=steps)
    return [
        (variant.label(definition.baseline_variant), Trial(shape=variant.shape, training=training))
        for variant in definition.one_at_a_time()
    ]
