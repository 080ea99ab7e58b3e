"""`attention`: heatmaps of a trained model on a text, and a page to explore them."""

from __future__ import annotations

import math
from pathlib import Path

import click

from gpt_experiments.cli.options import data_option, open_corpus, tracking_uri_option
from gpt_experiments.cli.typed_text import typed_text

_MOST_WEIGHTS = 2**28  # of all heads together, which take a GiB


@click.command()
@click.argument("model")
@click.option("--text", metavar="TEXT", help=r"What to look at; \n is a newline.  [default: the study's text]")
@click.option(
    "--output",
    default="attention",
    show_default=True,
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the figures and the page go.",
)
@data_option
@tracking_uri_option
def attention(model: str, text: str | None, output: Path, data: str | None, tracking_uri: str | None) -> None:
    r"""Draw where each head of MODEL looks.

    One figure a layer with a panel for each head, one with the mean over heads for every layer, and explorer.html, a
    page for the browser on which every weight can be read. MODEL is a run id, a models:/ URI, a checkpoint folder, or
    a notebook-format .pth file (whose vocabulary is that of --data). In --text, \n is a newline and \t a tab, unless
    the model knows the backslash itself.
    """
    from gpt_experiments.artifacts import STUDY_TEXT, write_attention, write_explorer
    from gpt_experiments.errors import ConfigError, shortened
    from gpt_experiments.model_source import load_model

    loaded = load_model(model, tracking_uri=tracking_uri, open_corpus=lambda: open_corpus(data))
    text = STUDY_TEXT if text is None else typed_text(text, loaded.tokenizer)
    variant = loaded.model.config.shape
    longest = min(variant.block_size, math.isqrt(_MOST_WEIGHTS // (variant.n_layer * variant.n_head)))
    if not text:
        raise ConfigError("--text is empty; give at least one character")
    if len(text) > longest:
        limit = "fit the model's context" if longest == variant.block_size else "are drawn"
        click.echo(f"--text has {len(text):,} characters; the first {longest:,} {limit}.", err=True)
        text = text[:longest]
    label = shortened(loaded.provenance.get("label", Path(model).name), 60)
    for path in write_attention(loaded.model, loaded.tokenizer, text, label, output):
        click.echo(path)
    click.echo(write_explorer(loaded.model, loaded.tokenizer, text, label, output))
