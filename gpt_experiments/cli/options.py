"""Options that several commands share, and the corpus that they open."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gpt_experiments import names
from gpt_experiments.cli.progress import DownloadBar
from gpt_experiments.execution import EXECUTORS
from gpt_experiments.parameters import PARAMETERS

if TYPE_CHECKING:
    from gpt_experiments.corpus import Corpus

_Command = TypeVar("_Command", bound=Callable[..., Any])


def data_option(command: _Command) -> _Command:
    return click.option(
        "--data",
        metavar="FILE",
        help="Any UTF-8 text to learn from. Default: Tiny Shakespeare, found or fetched.",
    )(command)


def tracking_uri_option(command: _Command) -> _Command:
    return click.option(
        "--tracking-uri",
        metavar="URI",
        help="MLflow store. Default: $MLFLOW_TRACKING_URI, else mlflow.db here.",
    )(command)


def tracking_options(command: _Command) -> _Command:
    """The store and the experiment in it."""
    experiment = click.option(
        "--experiment", default=names.DEFAULT_EXPERIMENT, show_default=True, metavar="NAME", help="MLflow experiment."
    )
    return tracking_uri_option(experiment(command))


def device_option(command: _Command) -> _Command:
    return click.option(
        "--device", default="auto", show_default=True, metavar="NAME", help="auto, cpu, cuda, cuda:N or mps."
    )(command)


def executor_options(command: _Command) -> _Command:
    """What runs the trials, and where."""
    executor = click.option(
        "--executor",
        type=click.Choice(tuple(EXECUTORS)),
        default="local",
        show_default=True,
        help="Train in local processes, inline, in this process, for a debugger, or on a Ray cluster.",
    )
    address = click.option(
        "--address",
        metavar="ADDRESS",
        help="With --executor ray: auto, HOST:PORT or ray://HOST:PORT. Default: Ray is started on this machine.",
    )
    return executor(address(command))


def attention_over_training_option(command: _Command) -> _Command:
    return click.option(
        "--no-attention-over-training", is_flag=True, help="Draw no attention at the evaluations during training."
    )(command)


def quiet_option(command: _Command) -> _Command:
    return click.option("--quiet", "-q", is_flag=True, help="Print only failures and the result.")(command)


def parameter_options(*wanted: str) -> Callable[[_Command], _Command]:
    """An option for each of these parameters, as it is declared."""

    def decorated(command: _Command) -> _Command:
        for name in reversed(wanted):
            declared = PARAMETERS[name]
            option = click.option(
                f"--{name.replace('_', '-')}",
                type=click.Choice(declared.choices) if declared.choices else declared.kind,
                default=declared.default,
                show_default=True,
                help=declared.help,
            )
            command = option(command)
        return command

    return decorated


def open_corpus(data: str | None, *, quiet: bool = False) -> Corpus:
    """Open the corpus that `--data` names, or the default one; messages on the way go to standard error."""
    from gpt_experiments.corpus.sources import load_corpus

    def report(text: str) -> None:
        if not quiet:
            click.echo(text, err=True)

    with DownloadBar(hidden=quiet) as bar:
        return load_corpus(data, report=report, progress=bar)
