"""The texts that the displays show of a sweep, from its first line to the commands to type next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import click
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding

from gpt_experiments import names
from gpt_experiments.cli.tables import best_first, format_seconds, literal, results_table, several_seeds

if TYPE_CHECKING:
    from gpt_experiments.cli.scoreboard import RunningTrial
    from gpt_experiments.config import Budget
    from gpt_experiments.records import PlannedTrial, SweepStart, SweepSummary, TrialRecord

NextCommands = Callable[["SweepSummary"], Sequence[tuple[str, str]]]

_OUTCOME_WORDS: Final = {"finished": "trained", "stopped": "stopped early"}
_MOST_FAILURES: Final = 10
_MOST_LEFT_OUT: Final = 20


def trial_name(planned: PlannedTrial, *, with_seed: bool) -> str:
    """`n_head=8`, or `n_head=8 (seed 1337)`, which is also its MLflow run's name."""
    return planned.name if with_seed else planned.label


def start_lines(start: SweepStart) -> list[tuple[str, str]]:
    """The first lines of a sweep's display: pairs of a word and its value."""
    done = start.total - start.to_train
    counts = [(start.to_train, "to train"), (done, "already done")]
    todo = ", ".join(f"{count} {what}" for count, what in counts if count)
    workers = f"{start.workers} with {counted(start.threads, 'thread')} each"
    if start.replicas > 1:
        workers += f", training up to {start.replicas} trials as one"
    if start.writers:
        workers += f"; each with {counted(start.writers, 'file writer')}"
    return [
        ("sweep", f"{start.name}: {counted(start.total, 'trial')} of {length_of(start.steps, start.budget)}, {todo}"),
        ("device", f"{start.device}, {start.hardware}"),
        *([("workers", workers)] if start.to_train else []),
        ("corpus", start.corpus),
        ("tracking", f"{start.experiment} in {start.tracking_uri}"),
    ]


def length_of(steps: int, budget: Budget) -> str:
    """How long each trial trains: `3,000 steps`, or `as many tokens as 3,000 steps of the baseline`."""
    of_baseline = counted(steps, "step")
    return of_baseline if budget == "steps" else f"as many {budget} as {of_baseline} of the baseline"


def counted(count: int, what: str) -> str:
    """`1 trial`, `3,000 trials`."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def describe_groups(groups: Sequence[int]) -> str:
    """`9 groups, each training as one model: 2 of 5 trials, 7 of 1 trial`; `groups` has each one's number of trials."""
    sizes = sorted(Counter(groups).items(), reverse=True)
    parts = ", ".join(f"{count} of {counted(size, 'trial')}" for size, count in sizes)
    return f"{counted(len(groups), 'group')}, each training as one model: {parts}"


def result(record: TrialRecord, trial: RunningTrial | None = None) -> str:
    """How a trial ended, after its name; `trial` says how far it was."""
    if record.stop is not None:
        return str(record.stop).removeprefix("stopped ")  # the line begins with that word
    if record.reason is not None:
        return record.reason
    if record.summary is None:
        return f"at step {trial.step:,} of {trial.steps:,}" if trial else "before its first step"
    time = "" if record.outcome == "reused" else format_seconds(record.summary.train_seconds)
    return f"best val loss {record.summary.best_val_loss:.4f}" + (f", {time}" if time else "")


def summary_line(summary: SweepSummary) -> str:
    """The sweep in one line."""
    cut_short = summary.interrupted or summary.timed_out
    counts = [(count, _OUTCOME_WORDS.get(outcome, outcome)) for outcome, count in summary.counts.items()]
    counts.append((summary.not_started, "not started"))
    outcome = ", ".join(f"{count} {what}" for count, what in counts if count) or "no trials"
    time = format_seconds(summary.seconds)
    if cut_short:
        text = f"{summary.name}: {'interrupted' if summary.interrupted else 'out of time'} after {time}: {outcome}"
    else:
        text = f"{summary.name}: {outcome} in {time}"
    scored = best_first(summary.trials)
    if not scored:
        return text
    best, loss = scored[0]
    name = trial_name(best.planned, with_seed=several_seeds(summary.trials))
    return f"{text}; best val loss {loss:.4f} nats/char: {name}"


def print_left_out(sentences: Sequence[str]) -> None:
    """Print to standard error what a report or a registration could not read, and what followed from it."""
    click.echo("Could not be read:", err=True)
    for sentence in sentences[:_MOST_LEFT_OUT]:
        click.echo(f"  {sentence}", err=True)
    if len(sentences) > _MOST_LEFT_OUT:
        click.echo(f"  ... and {len(sentences) - _MOST_LEFT_OUT} more", err=True)


def print_ending(console: Console, summary: SweepSummary, next_commands: NextCommands) -> None:
    """Print the table of results, failures with their reasons, the summary, and what to type next."""
    console.print()
    if summary.trials:
        console.print(results_table(summary.trials, console.width))
        tuned = sum(record.planned.is_tuning and record.summary is not None for record in summary.trials)
        if tuned:
            console.print(literal(f"{counted(tuned, 'trial')} that tuned variants are not compared", "dim"))
        console.print()
    if summary.failed:
        _print_failures(console, summary)
    console.print(literal(summary_line(summary), "bold"))
    commands = next_commands(summary)
    if commands:
        print_commands(console, commands)


def _print_failures(console: Console, summary: SweepSummary) -> None:
    with_seed = several_seeds(summary.trials)
    console.print(literal("Failed:", "red"))
    for trial in summary.failed[:_MOST_FAILURES]:
        text = f"{trial_name(trial.planned, with_seed=with_seed)}: {result(trial)}"
        console.print(Padding(literal(text), (0, 0, 0, 2), expand=False))
    left_out = len(summary.failed) - _MOST_FAILURES
    if left_out > 0:
        console.print(literal(f"  ... {left_out} more; the tag {names.FAILURE} of each MLflow run has its reason"))
    console.print()


def print_commands(console: Console, commands: Sequence[tuple[str, str]]) -> None:
    """Print each command on an unbroken line, so that it can be copied; its purpose is beside it where all fit."""
    console.print()
    console.print(literal("Next:", "bold"))
    longest = max(cell_len(command) for command, _ in commands)
    beside = all(2 + longest + 3 + cell_len(purpose) <= console.width for _, purpose in commands)
    for command, purpose in commands:
        if beside:
            console.print(literal(f"  {command:{longest}}   ", "cyan") + literal(purpose, "dim"))
        else:
            console.print(literal(f"  {purpose}", "dim"))
            console.print(literal(f"    {command}", "cyan"), soft_wrap=True)
