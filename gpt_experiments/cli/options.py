"""Options that several commands share, and the corpus that they open."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gpt_experiments import names
from gpt_experiments.cli.progress import DownloadBar

if TYPE_CHECKING:
    from gpt_experiments.corpus import Corpus

_Command = TypeVar("_Command", bound=Callable[..., Any])
_Decorator = Callable[[_Command], _Command]


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


def quiet_option(command: _Command) -> _Command:
    return click.option("--quiet", "-q", is_flag=True, help="Print only failures and the result.")(command)


def attention_scale_option(command: _Command) -> _Command:
    return click.option(
        "--attention-scale",
        type=click.Choice(["n_embed", "head_size"]),
        default="n_embed",
        show_default=True,
        help="Scores are multiplied by this width to the power of -1/2; the study's is n_embed.",
    )(command)


def open_corpus(data: str | None, *, quiet: bool = False) -> Corpus:
    """The corpus that `--data` names, or the default one; what is tried on the way goes to standard error."""
    from gpt_experiments.corpus import load_corpus

    def report(text: str) -> None:
        if not quiet:
            click.echo(text, err=True)

    with DownloadBar(hidden=quiet) as bar:
        return load_corpus(data, report=report, progress=bar)
