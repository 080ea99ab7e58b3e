"""`evaluate`: losses, a sample and attention of a pre-trained file."""

from __future__ import annotations

from pathlib import Path

import click

from gpt_experiments import names
from gpt_experiments.cli.json_output import Answer, json_option
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
@json_option
def evaluate(
    file: Path,
    attention_scale: str,
    seed: int,
    device: str,
    data: str | None,
    tracking_uri: str | None,
    experiment: str,
) -> Answer:
    """Evaluate, sample and draw a pre-trained model.

    FILE is a state dict in the notebook's format, whose configuration is read from the shapes, or a checkpoint of
    this program. The result is an MLflow run of its own, with attention heatmaps and a checkpoint that the other
    commands accept.
    """
    from gpt_experiments.app.evaluate import evaluate_file

    corpus = open_corpus(data)
    scores = evaluate_file(
        file,
        corpus,
        attention_scale=attention_scale,  # type: ignore[arg-type]  # the option allows no other
        seed=seed,
        device=device,
        tracking_uri=tracking_uri,
        experiment=experiment,
    )
    known = {name: getattr(scores.shape, name) for name in ("n_head", "n_layer", "n_embed", "block_size")}

    def show() -> None:
        click.echo(f"{file.name}: {scores.n_params:,} parameters")
        click.echo(", ".join(f"{name} {value}" for name, value in known.items()))
        click.echo(f"train loss {scores.train_loss:.4f}, validation loss {scores.val_loss:.4f} nats per character")
        click.echo(f"run {scores.run_id}\n")
        click.echo(scores.sample)

    fields = {
        "file": file,
        "run_id": scores.run_id,
        "experiment": experiment,
        "corpus": corpus.name,
        "corpus_digest": corpus.digest,
        **known,
        "n_params": scores.n_params,
        "final_train_loss": scores.train_loss,
        "final_val_loss": scores.val_loss,
        "seed": seed,
        "sample": scores.sample,
    }
    return Answer(fields=fields, show=show)
