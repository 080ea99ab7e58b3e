"""`evaluate`: losses, a sample and attention of a pre-trained file."""

from __future__ import annotations

from pathlib import Path

import click

from gpt_experiments import names
from gpt_experiments.cli.options import (
    data_option,
    device_option,
    open_corpus,
    parameter_options,
    tracking_options,
)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@parameter_options("attention_scale")
@click.option("--seed", default=names.DEFAULT_SEED, show_default=True, help="Seed of the sample.")
@device_option
@data_option
@tracking_options
def evaluate(
    file: Path,
    attention_scale: str,
    seed: int,
    device: str,
    data: str | None,
    tracking_uri: str | None,
    experiment: str,
) -> None:
    """Evaluate, sample and draw a pre-trained model.

    FILE is a state dict in the notebook's format, whose configuration is read from the shapes, or a checkpoint of
    this program. The result is an MLflow run of its own, with attention heatmaps and a checkpoint that the other
    commands accept.
    """
    from gpt_experiments.app.evaluate import evaluate_file

    scores = evaluate_file(
        file,
        open_corpus(data),
        attention_scale=attention_scale,  # type: ignore[arg-type]  # the option allows no other
        seed=seed,
        device=device,
        tracking_uri=tracking_uri,
        experiment=experiment,
    )
    shape = scores.shape
    click.echo(f"{file.name}: {scores.n_params:,} parameters")
    click.echo(
        f"n_head {shape.n_head}, n_layer {shape.n_layer}, n_embed {shape.n_embed}, block_size {shape.block_size}"
    )
    click.echo(f"train loss {scores.train_loss:.4f}, validation loss {scores.val_loss:.4f} nats per character")
    click.echo(f"run {scores.run_id}\n")
    click.echo(scores.sample)
