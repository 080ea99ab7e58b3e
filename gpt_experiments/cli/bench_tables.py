"""The tables of a benchmark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from gpt_experiments.bench.results import WAYS
from gpt_experiments.cli.tables import format_seconds

if TYPE_CHECKING:
    from rich.console import RenderableType

    from gpt_experiments.bench.results import BenchResult, ScalingTimes, Spread, StepTimes


def tables(result: BenchResult, part: str) -> Iterator[RenderableType]:
    """Yield what is shown of one part of the result."""
    if part == "machine":
        machine = result.machine
        yield (
            f"{machine.hardware}, {machine.cores} cores; {machine.versions}; {machine.date}\n"
            f"A large float32 matrix product reaches {machine.matrix_flops / 1e9:,.0f} GFLOP/s on {machine.device}."
        )
    elif part == "steps":
        yield _steps(result)
        yield _use(result)
        if len(result.steps) > 1:
            yield _growth(result.steps)
    elif part == "scaling":
        yield from (_scaling(times) for times in result.scaling)
    elif part == "sweep" and result.sweep is not None:
        yield _sweep(result)
    elif part == "orchestration" and result.orchestration is not None:
        yield _orchestration(result)


def _table(title: str, *headers: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, header in enumerate(headers):
        table.add_column(header, justify="left" if number == 0 else "right", no_wrap=True)
    return table


def _steps(result: BenchResult) -> Table:
    table = _table(
        "Training steps, one CPU thread: median ms, least to largest of the rounds", "variant", "plain", "ours", "ratio"
    )
    for times in result.steps:
        plain, ours = (_spread(times.step(way), unit=1000) for way in WAYS)
        table.add_row(times.label, plain, ours, _spread(times.ratio, sign="×"))
    return table


def _use(result: BenchResult) -> Table:
    table = _table(
        "Throughput (GFLOP/s count the whole square of attention) and memory",
        "variant",
        "tokens/s",
        "GFLOP/s",
        "of peak",
        "MiB plain",
        "MiB ours",
    )
    for times in result.steps:
        table.add_row(
            times.label,
            f"{times.tokens_per_second:,.0f}",
            f"{times.flops_per_second / 1e9:,.0f}",
            f"{times.flops_per_second / result.machine.matrix_flops:.0%}",
            *(f"{times.memory[way] / 2**20:,.0f}" for way in WAYS),
        )
    return table


def _growth(steps: Sequence[StepTimes]) -> Table:
    table = _table("How a step's cost grows: multiples of the baseline's", "variant", "plain", "ours")
    for times in steps[1:]:
        table.add_row(times.label, *(f"{times.growth(steps[0], way):.2f}×" for way in WAYS))
    return table


def _scaling(times: ScalingTimes) -> Table:
    title = {"seeds": "Seeds of the baseline as one batched model", "workers": "Processes that train side by side"}
    table = _table(title[times.what], times.what, "total tokens/s", "speed-up", "relative cost")
    for count in times.tokens_per_second:
        gain = times.gain(count)
        cost = f"{times.relative_cost(count):.2f}×"
        table.add_row(str(count), _spread(times.rate(count)), _spread(gain, sign="×"), cost)
    return table


def _sweep(result: BenchResult) -> Table:
    sweep = result.sweep
    assert sweep is not None
    table = _table(
        f"{sweep.variants} variants at {sweep.scale:g} of the study, {sweep.steps} steps, timed with the whole command",
        "",
        "seconds",
        "throughput",
    )
    table.add_row("plain, one process", _spread(sweep.total("plain")), "1×")
    table.add_row(f"ours, {sweep.workers} workers", _spread(sweep.total("ours")), _spread(sweep.ratio, sign="×"))
    table.add_row("ours, apart from training and evaluation", _spread(sweep.beside), "")
    return table


def _orchestration(result: BenchResult) -> Table:
    times = result.orchestration
    assert times is not None
    table = _table(
        f"A sweep of {times.trials} trials of one step on {times.workers} workers: {format_seconds(times.wall)}",
        "for each trial",
        "ms",
    )
    for name, seconds in (
        ("the parent process: MLflow, Optuna, scheduling", times.parent_of_trial),
        ("a worker: training", times.training_of_trial),
        ("a worker: evaluation", times.evaluation_of_trial),
        ("a worker: files, start-up and waiting", times.files_of_trial),
    ):
        table.add_row(name, f"{seconds * 1000:,.0f}")
    return table


def _spread(spread: Spread, *, unit: float = 1, sign: str = "") -> str:
    """Formatted as '2.55× (2.41–2.60)'; a single measurement is the number alone."""
    median, least, largest = (value * unit for value in (spread.median, spread.least, spread.largest))
    digits = 2 if median < 10 else 1 if median < 100 else 0
    between = "" if least == largest else f" ({least:,.{digits}f}–{largest:,.{digits}f})"
    return f"{median:,.{digits}f}{sign}{between}"
