"""`diff`: what differs between two trials, or between two sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from gpt_experiments.cli.json_output import Answer, json_option
from gpt_experiments.cli.options import tracking_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from gpt_experiments.analysis.comparison import FactsComparison, TrialDiff
    from gpt_experiments.analysis.sweep_comparison import SweepDiff

_MOST_VARIANTS: Final = 30
_MOST_SAMPLES: Final = 3
_MOST_HEADS: Final = 8


@click.command()
@click.argument("a")
@click.argument("b")
@click.option(
    "--html",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the comparison with its figures as one page, too.",
)
@tracking_options
@json_option
def diff(a: str, b: str, html: Path | None, tracking_uri: str | None, experiment: str) -> Answer:
    """Show what differs between two trials, or two sweeps.

    A and B are ids of runs, names of sweeps, or names of trials' runs. Differences are B minus A. What cannot be read
    is left out and listed, and the exit status is then 1.
    """
    from gpt_experiments.analysis.comparison import TrialDiff
    from gpt_experiments.app.diff import diff_runs, write_diff
    from gpt_experiments.cli.comparison_fields import sweeps_fields, trials_fields
    from gpt_experiments.cli.console import standard_console
    from gpt_experiments.cli.messages import print_left_out

    found = diff_runs(a, b, tracking_uri=tracking_uri, experiment=experiment)
    if html is not None:
        write_diff(found, html)

    def show() -> None:
        if isinstance(found, TrialDiff):
            _show_trials(found, standard_console())
        else:
            _show_sweeps(found, standard_console())
        if html is not None:
            click.echo(f"\nThe page: {html}")
        if found.left_out:
            print_left_out(found.left_out)

    fields = trials_fields(found, html) if isinstance(found, TrialDiff) else sweeps_fields(found, html)
    return Answer(fields=fields, show=show, exit_status=1 if found.left_out else 0)


def _show_trials(found: TrialDiff, console: Console) -> None:
    from gpt_experiments.analysis.comparison_words import trial_lead
    from gpt_experiments.cli.comparison_tables import heads_table, losses_table, metrics_table, samples_table

    sides = [
        f"{side}  {trial.name}, run {trial.run_id}" + (f", of sweep {trial.sweep}" if trial.sweep else "")
        for side, trial in (("A", found.a), ("B", found.b))
    ]
    _show_lead(sides, trial_lead(found), console)
    _show_facts(found.facts, console)
    if found.curves.pairs:
        _show("Losses, nats per character", losses_table(found.curves, "A", "B"), console)
    if found.metrics:
        _show("At the end", metrics_table(found.metrics), console)
    if found.heads:
        heads = [("", head) for head in found.heads[:_MOST_HEADS]]
        _show("The scores of attention heads that differ most", heads_table(heads), console)
    _show("Samples", samples_table(found.a.sample, found.b.sample), console)


def _show_sweeps(found: SweepDiff, console: Console) -> None:
    from gpt_experiments.analysis.comparison_words import sweep_lead
    from gpt_experiments.cli.comparison_tables import heads_table, samples_table, variants_table

    sides = [f"{side}  sweep {sweep.name}, run {sweep.run_id}" for side, sweep in (("A", found.a), ("B", found.b))]
    _show_lead(sides, sweep_lead(found), console)
    _show_facts(found.facts, console)
    pairs = found.trials.variants
    if pairs:
        more = f", the {_MOST_VARIANTS} of {len(pairs)} that differ most" if len(pairs) > _MOST_VARIANTS else ""
        title = f"Validation loss of the variants of both, nats per character{more}"
        _show(title, variants_table(pairs[:_MOST_VARIANTS]), console)
    if found.heads:
        heads = [(f"{each.label} (seed {each.seed})", each.head) for each in found.heads[:_MOST_HEADS]]
        _show("The scores of attention heads that differ most", heads_table(heads), console)
    for pair in [pair for pair in pairs if not pair.is_one_run][:_MOST_SAMPLES]:
        _show(f"Samples of {pair.label} (seed {pair.seeds[0].seed})", samples_table(*found.samples(pair)), console)


def _show_lead(sides: Sequence[str], sentences: Sequence[str], console: Console) -> None:
    from gpt_experiments.cli.tables import literal

    for side in sides:
        console.print(literal(side, "bold"))
    console.print()
    for sentence in sentences:
        console.print(literal(sentence))


def _show_facts(facts: FactsComparison, console: Console) -> None:
    from gpt_experiments.analysis.comparison_words import alike
    from gpt_experiments.cli.comparison_tables import facts_table
    from gpt_experiments.cli.tables import literal

    title = "What the results depend on"
    if facts.differing:
        _show(title, facts_table(facts.differing, "A", "B"), console)
    else:
        console.print(literal(f"\n{title}", "bold"))
    console.print(literal(alike(facts)))


def _show(title: str, table: Table, console: Console) -> None:
    from gpt_experiments.cli.tables import literal

    console.print()
    console.print(literal(title, "bold"))
    console.print(table)
