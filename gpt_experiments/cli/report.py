"""`report`: what a sweep found, and how sure we are."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from gpt_experiments.cli.json_output import Answer, json_option
from gpt_experiments.cli.options import tracking_options

_TABLES: Final = (
    "summary",
    "effects",
    "power",
    "variance-shares",
    "importances",
    "beliefs",
    "pretrained",
    "trials",
    "effects-at-best",
    "tuning",
)
"""The tables of a report that its JSON object has, too."""


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
@click.option(
    "--margin", type=float, metavar="NATS", help="A smaller difference counts as none.  [default: the sweep's]"
)
@click.option("--power", is_flag=True, help="Print how many seeds each comparison needs, too.")
@tracking_options
@json_option
def report(
    sweep: str | None,
    output: Path | None,
    attention: tuple[str, ...],
    pretrained: tuple[str, ...],
    margin: float | None,
    power: bool,
    tracking_uri: str | None,
    experiment: str,
) -> Answer:
    """Report what a sweep found.

    SWEEP is a sweep's name or the id of its run, by default the one last worked on. The report is a page with figures
    and tables, made from the store alone; it goes to a folder and to the sweep's run. What cannot be read is left out
    and listed, and the exit status is then 1.
    """
    from gpt_experiments.app.report import report_sweep
    from gpt_experiments.cli.console import standard_console
    from gpt_experiments.cli.messages import print_left_out
    from gpt_experiments.cli.tables import power_table

    written = report_sweep(
        sweep,
        output,
        tracking_uri=tracking_uri,
        experiment=experiment,
        attention=attention,
        pretrained=pretrained,
        margin=margin,
    )

    def show() -> None:
        for sentence in written.lead:
            click.echo(sentence)
        if power and "power" in written.tables:
            click.echo("\nSeeds that each comparison needs, with a chance of 80 %:")
            standard_console().print(power_table(written.tables["power"]))
        click.echo(f"\nThe whole report: {written.page}")
        if written.prediction:
            click.echo(f"Predictions of other variants: {written.prediction}")
        if written.left_out:
            print_left_out(written.left_out)

    results, tables = written.results, written.tables
    fields = {
        "name": results.name,
        "run_id": results.run_id,
        "method": results.method,
        "budget": results.budget,
        "corpus": results.corpus,
        "corpus_digest": results.corpus_digest,
        "folder": written.folder,
        "page": written.page,
        "prediction": written.prediction,
        "findings": written.lead,
        **{name.replace("-", "_"): tables[name].to_dict("records") if name in tables else [] for name in _TABLES},
        "left_out": written.left_out,
    }
    return Answer(fields=fields, show=show, exit_status=1 if written.left_out else 0)
