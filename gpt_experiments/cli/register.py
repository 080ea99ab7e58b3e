"""`register`: the best model to the model registry."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

import click

from gpt_experiments import names
from gpt_experiments.cli.json_output import Answer, json_option
from gpt_experiments.cli.options import (
    data_option,
    device_option,
    executor_options,
    open_corpus,
    quiet_option,
    tracking_options,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpt_experiments.models.fresh_seeds import ConfirmOptions
    from gpt_experiments.records import SweepSummary

_DEFAULT_SEEDS = 3


@click.command()
@click.argument("reference", metavar="[SWEEP | RUN]", required=False)
@click.option(
    "--name", default=names.DEFAULT_MODEL, show_default=True, metavar="NAME", help="Name of the registered model."
)
@click.option("--force", is_flag=True, help="Make it the champion even if it is not better than the present one.")
@click.option(
    "--confirm",
    type=int,
    metavar="K",
    help=f"Fresh seeds to choose with, and others to measure with; 0 trains nothing. Default: {_DEFAULT_SEEDS} for a "
    "sweep, 0 for a run.",
)
@click.option(
    "--contenders", type=int, default=8, show_default=True, metavar="N", help="Variants to choose among, at most."
)
@click.option(
    "--margin", type=float, default=0.01, show_default=True, metavar="NATS", help="Smaller differences do not matter."
)
@click.option("--workers", type=int, metavar="N", help="Processes at once, as in `sweep`.")
@executor_options
@device_option
@data_option
@tracking_options
@quiet_option
@json_option
def register(
    reference: str | None,
    name: str,
    force: bool,
    confirm: int | None,
    contenders: int,
    margin: float,
    workers: int | None,
    executor: str,
    address: str | None,
    device: str,
    data: str | None,
    tracking_uri: str | None,
    experiment: str,
    quiet: bool,
) -> Answer:
    """Register the best model of a sweep.

    The variants that the sweep cannot tell from its best one are trained on K fresh seeds. The lowest mean over the
    sweep's seeds and these wins. It is trained on K further seeds, and their mean is its loss, because they had no part
    in the choice. The model of the median one becomes a new version in MLflow's model registry. It is the `champion` if
    it is better than the present one by a test, or equivalent and smaller.

    SWEEP is a sweep's name or run id, by default the one last worked on; the RUN id of a trial or of a pre-trained
    model registers that run. Typed again, the command goes on. What cannot be read is listed, and the exit status is
    then 1.
    """
    from gpt_experiments.app.register import find_text, register_best
    from gpt_experiments.cli.console import standard_console
    from gpt_experiments.cli.display import make_display
    from gpt_experiments.cli.ending import command_fields, model_commands
    from gpt_experiments.cli.messages import print_commands, print_left_out
    from gpt_experiments.cli.register_fields import registered_fields
    from gpt_experiments.config import check_margin
    from gpt_experiments.models.fresh_seeds import ConfirmOptions, check_confirm
    from gpt_experiments.sweep.resources import RunOptions

    run = RunOptions(device=device, workers=workers, executor=executor, address=address)
    check_margin(margin)
    seeds = _seeds_wanted(confirm, reference, tracking_uri, experiment)
    check_confirm(seeds)
    said: list[str] = []

    def say(sentence: str) -> None:
        said.append(sentence)
        if not quiet:
            click.echo(sentence)

    options: ConfirmOptions | None = None
    if seeds:
        options = ConfirmOptions(
            run=run,
            open_corpus=partial(find_text, data=data, load=partial(open_corpus, quiet=quiet)),
            display=partial(make_display, quiet=quiet, next_commands=_go_on),
            say=say,
            seeds=seeds,
            contenders=contenders,
            margin=margin,
        )
    done = register_best(
        reference, name, tracking_uri=tracking_uri, experiment=experiment, force=force, options=options
    )
    address = f"models:/{name}@{names.CHAMPION}" if done.is_champion else done.model_uri
    commands = model_commands(address, done.example_prompt, tracking_uri=tracking_uri)

    def show() -> None:
        for sentence in done.messages[0 if quiet else len(said) :]:
            click.echo(sentence)
        print_commands(standard_console(), commands)
        if done.left_out:
            print_left_out(done.left_out)

    fields = registered_fields(done, command_fields(commands))
    return Answer(fields=fields, show=show, exit_status=1 if done.left_out else 0)


def _seeds_wanted(confirm: int | None, reference: str | None, tracking_uri: str | None, experiment: str) -> int:
    """How many fresh seeds: as many as were asked for, else some for a sweep and none for a single run."""
    if confirm is not None:
        return confirm
    if reference is None or not re.fullmatch("[0-9a-f]{32}", reference):
        return _DEFAULT_SEEDS
    from gpt_experiments.app.register import is_sweep

    return _DEFAULT_SEEDS if is_sweep(reference, tracking_uri=tracking_uri, experiment=experiment) else 0


def _go_on(summary: SweepSummary) -> Sequence[tuple[str, str]]:
    """The same command, if trials are missing; what follows a registration is said at its end."""
    from gpt_experiments.cli.ending import same_command

    return [] if summary.is_complete else [same_command()]
