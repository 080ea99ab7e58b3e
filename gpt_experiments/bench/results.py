"""The results of a benchmark: measured times, ratios of them, and their JSON."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Way = Literal["plain", "ours"]
WAYS: tuple[Way, Way] = ("plain", "ours")


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The median of some measurements, and the least and the largest of them."""

    median: float
    least: float
    largest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(median=statistics.median(values), least=min(values), largest=max(values))

    @classmethod
    def of_ratios(cls, numerators: Sequence[float], denominators: Sequence[float]) -> Spread:
        """The spread of the ratios, round by round."""
        pairs = zip(numerators, denominators, strict=True)
        return cls.of([numerator / denominator for numerator, denominator in pairs])


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where and when it was measured.

    Attributes:
        hardware: the device's name.
        cores: CPU cores that this process may use.
        matrix_flops: floating-point operations a second of a large float32 matrix product on the device, one CPU
            thread; the best of several.
    """

    hardware: str
    device: str
    cores: int
    matrix_flops: float
    date: str
    versions: str
    commit: str | None


@dataclass(frozen=True, kw_only=True)
class StepTimes:
    """One variant's training steps, plain and ours in turn, one CPU thread each.

    Attributes:
        seconds: of a step, by way; one value for each round.
        flops: floating-point operations of a step, attention counted over the whole square of a window.
        memory: by way, the peak bytes: of the process on a CPU, reserved for its tensors on CUDA.
    """

    label: str
    n_params: int
    tokens: int
    flops: float
    seconds: dict[Way, list[float]]
    memory: dict[Way, int]

    @property
    def ratio(self) -> Spread:
        """How many times as fast ours is, round by round."""
        return Spread.of_ratios(self.seconds["plain"], self.seconds["ours"])

    @property
    def tokens_per_second(self) -> float:
        """Of ours, at the median."""
        return self.tokens / self.step("ours").median

    @property
    def flops_per_second(self) -> float:
        """Of ours, at the median."""
        return self.flops / self.step("ours").median

    def step(self, way: Way) -> Spread:
        return Spread.of(self.seconds[way])

    def growth(self, baseline: StepTimes, way: Way) -> float:
        """The median as a multiple of the baseline's."""
        return self.step(way).median / baseline.step(way).median


@dataclass(frozen=True, kw_only=True)
class ScalingTimes:
    """The speed of the baseline's steps with more `seeds` or `workers`.

    Attributes:
        tokens_per_second: of all of them together, by their number; one value for each round.
    """

    what: str
    tokens_per_second: dict[int, list[float]]

    def rate(self, count: int) -> Spread:
        return Spread.of(self.tokens_per_second[count])

    def gain(self, count: int) -> Spread:
        """How many times the tokens a second of a single one, round by round."""
        return Spread.of_ratios(self.tokens_per_second[count], self.tokens_per_second[1])

    def relative_cost(self, count: int) -> float:
        """How many times the time of a single one they take together."""
        return count / self.gain(count).median


@dataclass(frozen=True, kw_only=True)
class SweepTimes:
    """Whole sweeps, plain and ours in turn, each by a process of its own on the whole machine; start-up, compiling and
    evaluations are included, and for ours the writing to MLflow.

    Attributes:
        scale: the factor on the study's steps, evaluations and corpus.
        seconds: of the sweep, by way; one value for each round.
        in_trials: for ours, seconds of training and evaluation of all trials together; one value for each round.
    """

    variants: int
    steps: int
    scale: float
    workers: int
    seconds: dict[Way, list[float]]
    in_trials: list[float]

    def total(self, way: Way) -> Spread:
        return Spread.of(self.seconds[way])

    @property
    def beside(self) -> Spread:
        """Seconds of ours in which its workers, on average, neither train nor evaluate."""
        rounds = zip(self.seconds["ours"], self.in_trials, strict=True)
        return Spread.of([wall - inside / self.workers for wall, inside in rounds])

    @property
    def ratio(self) -> Spread:
        """How many times the throughput ours has, round by round."""
        return Spread.of_ratios(self.seconds["plain"], self.seconds["ours"])


@dataclass(frozen=True, kw_only=True)
class OrchestrationTimes:
    """A sweep of many trials of one step each: what it costs apart from the training, in seconds.

    Attributes:
        wall: of the whole sweep.
        parent: CPU time of the process that hands out trials and writes to MLflow.
        training, evaluation: of all trials together, in the workers.
    """

    trials: int
    workers: int
    wall: float
    parent: float
    training: float
    evaluation: float

    @property
    def parent_of_trial(self) -> float:
        """CPU time of the parent process for a trial."""
        return self.parent / self.trials

    @property
    def training_of_trial(self) -> float:
        return self.training / self.trials

    @property
    def evaluation_of_trial(self) -> float:
        return self.evaluation / self.trials

    @property
    def files_of_trial(self) -> float:
        """Worker time of a trial apart from training and evaluation: figures, sample, explorer, checkpoint, waiting."""
        return (self.wall * self.workers - self.training - self.evaluation) / self.trials


@dataclass(frozen=True, kw_only=True)
class BenchResult:
    """Everything that one benchmark measured; what was not asked for is empty or None."""

    machine: Machine
    steps: tuple[StepTimes, ...] = ()
    scaling: tuple[ScalingTimes, ...] = ()
    sweep: SweepTimes | None = None
    orchestration: OrchestrationTimes | None = None

    def write(self, path: Path) -> None:
        """Write everything as JSON, with every measured time."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n", encoding="utf-8")
