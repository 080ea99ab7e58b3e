"""`bench`: how fast training is here, against the plain way."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpt_experiments.cli.json_output import Answer, json_option
from gpt_experiments.cli.options import data_option, device_option, open_corpus

if TYPE_CHECKING:
    from gpt_experiments.bench.results import BenchResult
    from gpt_experiments.bench.run import BenchOptions
    from gpt_experiments.corpus import Corpus

PARTS = ("steps", "scaling", "sweep", "orchestration")


@click.command()
@click.option(
    "--part",
    "parts",
    type=click.Choice(PARTS),
    multiple=True,
    help="Measure only this part; can be repeated. Default: all.",
)
@click.option("--quick", is_flag=True, help="Measure only the baseline and a tiny sweep: about a minute.")
@click.option(
    "--rounds", type=int, metavar="N", help="Times that each measurement is repeated.  [default: 3; quick: 1]"
)
@click.option("--steps", type=int, metavar="N", help="Training steps in each measurement.  [default: 8; on a GPU 300]")
@click.option(
    "--scale", type=float, metavar="X", help="The measured sweep: the study times X.  [default: 0.02; quick: 0.004]"
)
@click.option("--workers", type=int, metavar="N", help="Processes of our sweeps. Default: as many as `sweep` uses.")
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write every measured time to this file, as JSON.",
)
@device_option
@data_option
@json_option
def bench(
    parts: tuple[str, ...],
    quick: bool,
    rounds: int | None,
    steps: int | None,
    scale: float | None,
    workers: int | None,
    output: Path | None,
    device: str,
    data: str | None,
) -> Answer:
    """Measure how fast training is here.

    Measures this program and plain training, as a notebook does it, in turn: single training steps of the study's
    eleven variants, whole small sweeps, more seeds and more workers, and what a sweep costs apart from its training.
    It takes a few minutes.
    """
    from gpt_experiments.bench.run import BenchOptions

    options = BenchOptions(
        parts=parts or PARTS, quick=quick, rounds=rounds, steps=steps, scale=scale, workers=workers, device=device
    )
    from gpt_experiments.cli.bench_fields import bench_fields

    result = _measure(options, open_corpus(data), output)

    def show() -> None:
        if output is not None:
            click.echo(f"\nEvery measured time: {output}")

    return Answer(fields={**bench_fields(result), "output": output}, show=show)


def _measure(options: BenchOptions, corpus: Corpus, output: Path | None) -> BenchResult:
    """Print each part's table and write the results so far, as soon as the part is measured; returns all of them."""
    from gpt_experiments.bench.run import run_bench
    from gpt_experiments.cli.bench_tables import tables
    from gpt_experiments.cli.console import standard_console

    console = standard_console()
    with ExitStack() as stack:
        status = stack.enter_context(console.status("measuring the device ...")) if console.is_interactive else None
        for progress in run_bench(options, corpus):
            if isinstance(progress, str):
                if status is not None:
                    status.update(f"measuring {progress} ...")
            else:
                result, part = progress
                if output is not None:
                    result.write(output)
                for renderable in tables(result, part):
                    console.print(renderable)
    return result
