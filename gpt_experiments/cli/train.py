"""`train`: one variant, every hyperparameter an option."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import click

from gpt_experiments import names
from gpt_experiments.cli.options import (
    attention_scale_option,
    data_option,
    device_option,
    open_corpus,
    quiet_option,
    tracking_options,
)
from gpt_experiments.config import HYPERPARAMETERS, TrainingSetup, Trial, Variant

_VARIANT, _SETUP = Variant(), TrainingSetup()


@click.command()
@click.option("--n-head", default=_VARIANT.n_head, show_default=True, help="Attention heads a block.")
@click.option("--n-layer", default=_VARIANT.n_layer, show_default=True, help="Blocks.")
@click.option("--n-embed", default=_VARIANT.n_embed, show_default=True, help="Width; divisible by n-head.")
@click.option("--dropout", default=_VARIANT.dropout, show_default=True, help="Probability of dropping.")
@click.option("--block-size", default=_VARIANT.block_size, show_default=True, help="Context, characters.")
@click.option("--seed", default=names.DEFAULT_SEED, show_default=True, help="Of weights, batches and dropout.")
@click.option("--steps", default=_SETUP.steps, show_default=True, help="Optimisation steps.")
@click.option("--batch-size", default=_SETUP.batch_size, show_default=True, help="Windows a batch.")
@click.option("--learning-rate", default=_SETUP.learning_rate, show_default=True, help="AdamW's.")
@click.option(
    "--schedule",
    type=click.Choice(["constant", "cosine"]),
    default=_SETUP.schedule,
    show_default=True,
    help="Of the learning rate.",
)
@click.option(
    "--warmup-steps",
    default=_SETUP.warmup_steps,
    show_default=True,
    help="In which the learning rate rises to its value.",
)
@click.option("--min-learning-rate", default=_SETUP.min_learning_rate, show_default=True, help="Where the cosine ends.")
@click.option("--weight-decay", default=_SETUP.weight_decay, show_default=True, help="AdamW's.")
@click.option("--beta1", default=_SETUP.beta1, show_default=True, help="AdamW's.")
@click.option("--beta2", default=_SETUP.beta2, show_default=True, help="AdamW's.")
@click.option("--eval-interval", default=_SETUP.eval_interval, show_default=True, help="Steps between evaluations.")
@attention_scale_option
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    default=_SETUP.precision,
    show_default=True,
    help="Of the matrix products.",
)
@click.option("--force", is_flag=True, help="Train even if a finished run has this trial.")
@device_option
@data_option
@tracking_options
@quiet_option
def train(
    seed: int,
    force: bool,
    device: str,
    data: str | None,
    tracking_uri: str | None,
    experiment: str,
    quiet: bool,
    **settings: Any,
) -> None:
    """Train one variant as an MLflow run.

    The defaults are the study's reduced baseline and its training setup.
    """
    variant = Variant(**{name: settings.pop(name) for name in HYPERPARAMETERS})
    trial = Trial(variant=variant, seed=seed, training=TrainingSetup(**settings))

    from gpt_experiments.cli.display import make_display
    from gpt_experiments.cli.ending import exit_status, next_commands
    from gpt_experiments.sweep.resources import RunOptions
    from gpt_experiments.sweep.runner import run_single
    from gpt_experiments.tracking import Store

    options = RunOptions(device=device, force=force)
    corpus = open_corpus(data, quiet=quiet)
    store = Store(tracking_uri, experiment)
    what_next = partial(next_commands, store=store, tracking_uri=tracking_uri)
    with make_display(quiet=quiet, next_commands=what_next) as display:
        summary = run_single(trial, corpus, store, options, display)
    sys.exit(exit_status(summary))
