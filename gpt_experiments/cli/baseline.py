"""`baseline`: evaluate, sample and draw a pre-trained file."""

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
@click.argument("checkpoint", type=click.Path(path_type=Path))
@parameter_options("attention_scale")
@click.option("--seed", default=names.DEFAULT_SEED, show_default=True, help="Of the sample.")
@device_option
@data_option
@tracking_options
def baseline(
    checkpoint: Path,
    attention_scale: str,
    seed: int,
    device: str,
    data: str | None,
    tracking_uri: str | None,
    experiment: str,
) -> None:
    """Evaluate, sample and draw a pre-trained model.

    CHECKPOINT is a state dict in the notebook's format, whose configuration is read off the shapes, or a checkpoint of
    this program. The result is an MLflow run of its own, with attention heatmaps and a checkpoint that the other
    commands take.
    """
    from gpt_experiments.baseline import run_baseline
    from gpt_experiments.tracking import Store
    from gpt_experiments.training import resolve_device

    target = resolve_device(device)
    corpus = open_corpus(data)
    report = run_baseline(
        checkpoint,
        corpus,
        Store(tracking_uri, experiment),
        target,
        attention_scale=attention_scale,  # type: ignore[arg-type]  # the option allows no other
        seed=seed,
    )
    v = report.shape
    click.echo(f"{checkpoint.name}: {report.n_params:,} parameters")
    click.echo(f"n_head {v.n_head}, n_layer {v.n_layer}, n_embed {v.n_embed}, block_size {v.block_size}")
    click.echo(f"train loss {report.train_loss:.4f}, validation loss {report.val_loss:.4f} nats per character")
    click.echo(f"run {report.run_id}\n")
    click.echo(report.sample)
