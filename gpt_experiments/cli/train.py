"""`train`: trains one variant; every parameter is an option."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from gpt_experiments import names
from gpt_experiments.cli.json_output import Answer, json_option
from gpt_experiments.cli.options import (
    attention_over_training_option,
    data_option,
    device_option,
    executor_options,
    open_corpus,
    parameter_options,
    quiet_option,
    tracking_options,
)
from gpt_experiments.config import Trial, Variant
from gpt_experiments.parameters import SHAPE, TRAINING


@click.command()
@parameter_options(*SHAPE)
@click.option("--seed", default=names.DEFAULT_SEED, show_default=True, help="Seed of weights, batches and dropout.")
@parameter_options(*TRAINING)
@click.option("--force", is_flag=True, help="Train even if this trial has a finished run.")
@executor_options
@attention_over_training_option
@device_option
@data_option
@tracking_options
@quiet_option
@json_option
def train(
    seed: int,
    force: bool,
    executor: str,
    address: str | None,
    no_attention_over_training: bool,
    device: str,
    data: str | None,
    tracking_uri: str | None,
    experiment: str,
    quiet: bool,
    **parameters: Any,
) -> Answer:
    """Train one variant as an MLflow run.

    The defaults are the study's reduced baseline and its training setup.
    """
    variant = Variant.of(parameters)
    trial = Trial(shape=variant.shape, seed=seed, training=variant.training)

    from gpt_experiments.app.sweep import KeptNotices
    from gpt_experiments.cli.display import make_display
    from gpt_experiments.cli.ending import exit_status, next_commands
    from gpt_experiments.cli.sweep_fields import ended_fields
    from gpt_experiments.sweep.resources import RunOptions
    from gpt_experiments.sweep.runner import run_single
    from gpt_experiments.tracking import Store

    options = RunOptions(
        device=device,
        force=force,
        executor=executor,
        address=address,
        attention_over_training=not no_attention_over_training,
    )
    corpus = open_corpus(data, quiet=quiet)
    store = Store(tracking_uri, experiment)
    what_next = partial(next_commands, store=store, tracking_uri=tracking_uri)
    with make_display(quiet=quiet, next_commands=what_next) as display:
        listener = KeptNotices(display)
        summary = run_single(trial, corpus, store, options, listener)
    fields = ended_fields(summary, corpus, store, report=None, notices=listener.notices, commands=what_next(summary))
    return Answer(fields=fields, exit_status=exit_status(summary))
