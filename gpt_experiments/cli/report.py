"""`report`: what a sweep found, and how sure we are."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gpt_experiments.cli.options import tracking_options


@click.command()
@click.argument("sweep", required=False)
@click.option(
    "--output",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the files go.  [default: report-SWEEP]",
)
@click.option(
    "--attention",
    metavar="RUN",
    multiple=True,
    help="Show the attention of this run; give it twice to compare two. Default: the baseline and the single head.",
)
@click.option(
    "--pretrained", metavar="RUN", multiple=True, help="Show this run of `evaluate` beside the sweep's variants."
)
@tracking_options
def report(
    sweep: str | None,
    output: Path | None,
    attention: tuple[str, ...],
    pretrained: tuple[str, ...],
    tracking_uri: str | None,
    experiment: str,
) -> None:
    """Report what a sweep found.

    SWEEP is a sweep's name or the id of its run, by default the one last worked on. The report is a page with figures
    and tables, made from the store alone; it goes to a folder and to the sweep's run. What cannot be read is left out
    and listed, and the exit status is then 1.
    """
    from gpt_experiments.app.report import report_sweep
    from gpt_experiments.cli.messages import print_left_out

    written = report_sweep(
        sweep, output, tracking_uri=tracking_uri, experiment=experiment, attention=attention, pretrained=pretrained
    )
    for sentence in written.lead:
        click.echo(sentence)
    click.echo(f"\nThe whole report: {written.page}")
    if written.left_out:
        print_left_out(written.left_out)
        sys.exit(1)
