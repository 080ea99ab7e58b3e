"""`attention`: heatmaps of a trained model on a text, and a page to explore them."""

from __future__ import annotations

from pathlib import Path

import click

from gpt_experiments.cli.json_output import Answer, json_option
from gpt_experiments.cli.options import data_option, open_corpus, tracking_uri_option


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
@json_option
def attention(model: str, text: str | None, output: Path, data: str | None, tracking_uri: str | None) -> Answer:
    r"""Draw where each head of MODEL looks.

    Writes one figure for each layer with a panel for each head, one figure with the mean over heads of every layer,
    and explorer.html, a page on which every weight can be read. MODEL is a run id, a models:/ URI, a checkpoint
    folder, or a notebook-format .pth file (with the vocabulary of --data). In --text, \n is a newline and \t a tab,
    unless the model's vocabulary has the backslash.
    """
    from gpt_experiments.app.attention import draw_attention

    drawn = draw_attention(model, text, output, tracking_uri=tracking_uri, open_corpus=lambda: open_corpus(data))
    if drawn.notice:
        click.echo(drawn.notice, err=True)

    def show() -> None:
        for path in (*drawn.figures, drawn.page):
            click.echo(path)

    fields = {
        "model": model,
        "text": drawn.text,
        "folder": output,
        "figures": drawn.figures,
        "page": drawn.page,
        "notices": [drawn.notice] if drawn.notice else [],
    }
    return Answer(fields=fields, show=show)
