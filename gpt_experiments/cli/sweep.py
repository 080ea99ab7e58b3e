"""`sweep`: train every variant of a definition."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

import click

from gpt_experiments import names
from gpt_experiments.cli.json_output import Answer, json_option
from gpt_experiments.cli.options import (
    attention_over_training_option,
    data_option,
    device_option,
    executor_options,
    open_corpus,
    quiet_option,
    tracking_options,
)

if TYPE_CHECKING:
    from gpt_experiments.app.sweep import LeftReport
    from gpt_experiments.corpus import Corpus
    from gpt_experiments.records import SweepSummary
    from gpt_experiments.sweep.definition import SweepDefinition
    from gpt_experiments.sweep.resources import RunOptions
    from gpt_experiments.tracking import Store


@click.command()
@click.argument("definition", metavar="NAME_OR_FILE")
@click.option("--steps", type=int, metavar="N", help="Optimisation steps, instead of the definition's.")
@click.option("--seeds", type=int, metavar="K", help="Seeds of each variant, instead of the definition's.")
@click.option(
    "--until-decided",
    is_flag=True,
    help="Add seeds at planned looks until each variant is better, worse or equivalent.",
)
@click.option("--max-seeds", type=int, metavar="K", help="With --until-decided: the most seeds.  [default: 12]")
@click.option(
    "--margin", type=float, metavar="NATS", help="A smaller difference counts as none, instead of the definition's."
)
@click.option("--trials", type=int, metavar="N", help="Variants to try in a grid, random, tpe or gp sweep.")
@click.option(
    "--budget",
    type=click.Choice(["steps", "tokens", "flops"]),
    help="What is equal for every variant, instead of the definition's.",
)
@click.option(
    "--pruner",
    type=click.Choice(["median", "halving", "hyperband", "none"]),
    help="What stops trials early whose losses are high, instead of the definition's; none lets all end.",
)
@click.option(
    "--workers",
    type=int,
    metavar="N",
    help="Processes at once. Default: one for each GPU; without a GPU, one for each CPU core.",
)
@click.option(
    "--replicas",
    type=int,
    metavar="N",
    help="Train at most N trials as one batched model. Default: what fits on a GPU; 1 on a CPU.",
)
@executor_options
@click.option(
    "--timeout", type=float, metavar="S", help="Stop after S seconds; trials that are training go on next time."
)
@click.option("--join", is_flag=True, help="Work at it together with others that have --join, also on other machines.")
@click.option("--status", is_flag=True, help="Say who trains what now, and what is left; train nothing.")
@click.option("--dry-run", is_flag=True, help="Print the plan and an estimate of the time; train nothing.")
@click.option("--force", is_flag=True, help="Train every trial, also those that have a finished run or were stopped.")
@click.option("--take-over", is_flag=True, help="Go on with a sweep that another machine began and left unfinished.")
@attention_over_training_option
@device_option
@data_option
@tracking_options
@quiet_option
@json_option
def sweep(
    definition: str,
    steps: int | None,
    seeds: int | None,
    until_decided: bool,
    max_seeds: int | None,
    margin: float | None,
    trials: int | None,
    budget: Literal["steps", "tokens", "flops"] | None,
    pruner: str | None,
    workers: int | None,
    replicas: int | None,
    executor: str,
    address: str | None,
    timeout: float | None,
    join: bool,
    status: bool,
    dry_run: bool,
    force: bool,
    take_over: bool,
    no_attention_over_training: bool,
    device: str,
    data: str | None,
    tracking_uri: str | None,
    experiment: str,
    quiet: bool,
) -> Answer:
    """Train every variant of a sweep as MLflow runs.

    NAME_OR_FILE is one-at-a-time, grid, quick, fair, or the path of a YAML file. Run it again and it continues: a trial
    that has a finished run is not trained again, nor one that the same pruner has stopped. With --status it may also be
    the name or the run id of any sweep in the store.
    """
    from gpt_experiments.sweep.definition_file import load_definition, sweep_name

    if status:
        from gpt_experiments.cli.status import sweep_status

        return sweep_status(sweep_name(definition), tracking_uri, experiment)

    wanted = load_definition(definition).with_overrides(
        steps=steps,
        seeds=seeds,
        trials=trials,
        budget=budget,
        pruner=pruner,
        margin=margin,
        until_decided=until_decided,
        max_seeds=max_seeds,
    )

    from gpt_experiments.sweep.resources import (
        RunOptions,  # not earlier: a mistyped name is reported before torch is loaded
    )

    options = RunOptions(
        device=device,
        workers=workers,
        timeout=timeout,
        force=force,
        replicas=replicas,
        take_over=take_over,
        join=join,
        executor=executor,
        address=address,
        attention_over_training=not no_attention_over_training,
    )
    corpus = open_corpus(data, quiet=quiet)
    if dry_run:
        if not quiet:
            click.echo("Timing a few steps ...", err=True)
        return _plan(wanted, corpus, options, tracking_uri, experiment)

    from gpt_experiments.app.sweep import KeptNotices, can_be_reported
    from gpt_experiments.cli.display import make_display
    from gpt_experiments.cli.ending import exit_status, next_commands
    from gpt_experiments.cli.sweep_fields import ended_fields
    from gpt_experiments.sweep.runner import run_sweep
    from gpt_experiments.tracking import Store

    store = Store(tracking_uri, experiment)
    what_next = partial(next_commands, store=store, tracking_uri=tracking_uri)
    with make_display(quiet=quiet, next_commands=what_next) as display:
        listener = KeptNotices(display)
        summary = run_sweep(wanted, corpus, store, options, listener)
    left = _report(store, summary, quiet=quiet) if can_be_reported(summary) else None
    fields = ended_fields(summary, corpus, store, report=left, notices=listener.notices, commands=what_next(summary))
    return Answer(fields=fields, exit_status=exit_status(summary, left))


def _report(store: Store, summary: SweepSummary, *, quiet: bool) -> LeftReport:
    """Leave a report in the sweep's run, and say so."""
    from gpt_experiments.app.sweep import leave_report
    from gpt_experiments.cli.messages import print_left_out

    if not quiet:
        click.echo("\nWriting the report ...")
    left = leave_report(store, summary)
    if left.problem is not None:
        click.echo(f"No report was made: {left.problem}", err=True)
        return left
    if left.left_out:
        print_left_out(left.left_out)
    if not quiet:
        click.echo(f"It is artifact {names.REPORT_PAGE} of run {summary.parent_run_id}.")
    return left


def _plan(
    definition: SweepDefinition, corpus: Corpus, options: RunOptions, tracking_uri: str | None, experiment: str
) -> Answer:
    """The plan, with times from a few steps timed here; nothing is written anywhere."""
    from gpt_experiments.cli.console import standard_console
    from gpt_experiments.cli.messages import counted, describe_groups, length_of
    from gpt_experiments.cli.sweep_fields import planned_fields
    from gpt_experiments.cli.tables import format_seconds, plan_table
    from gpt_experiments.sweep.dry_run import dry_run

    plan = dry_run(definition, corpus, options, tracking_uri, experiment)

    def show() -> None:
        console = standard_console()
        console.print(plan_table(plan.rows))
        each = length_of(definition.training.steps, definition.budget)
        console.print(
            f"{definition.name}: {len(plan.rows)} trials of {each} on {corpus.name}, "
            f"{plan.done} done, {f'{plan.stopped} stopped before, ' if plan.stopped else ''}{plan.to_train} to train"
        )
        if max(plan.groups, default=1) > 1:
            console.print(describe_groups(plan.groups))
        for notice in plan.notices:
            console.print(notice)
        console.print(
            f"about {format_seconds(plan.seconds)} with {counted(plan.hardware.workers, 'worker')} of "
            f"{counted(plan.hardware.threads, 'thread')} on {plan.hardware.name}"
        )

    return Answer(fields=planned_fields(plan, definition, corpus), show=show)
