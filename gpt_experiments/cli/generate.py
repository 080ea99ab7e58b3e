"""`generate`: text from a trained model."""

from __future__ import annotations

import dataclasses

import click

from gpt_experiments import names
from gpt_experiments.cli.json_output import Answer, json_option
from gpt_experiments.cli.options import data_option, device_option, open_corpus, tracking_uri_option


@click.command()
@click.argument("model")
@click.option(
    "--prompt", default="\n", metavar="TEXT", help=r"Text to continue; \n is a newline.  [default: a newline]"
)
@click.option("--max-new-tokens", default=300, show_default=True, help="Characters to generate.")
@click.option("--temperature", default=1.0, show_default=True, help="0 always takes the likeliest character.")
@click.option("--top-k", type=int, metavar="K", help="Sample among the K likeliest characters; 0: among all.")
@click.option("--num-samples", default=1, show_default=True, help="Samples to draw at once.")
@click.option("--seed", default=names.DEFAULT_SEED, show_default=True, help="Equal seeds give equal text.")
@device_option
@data_option
@tracking_uri_option
@json_option
def generate(
    model: str,
    prompt: str,
    max_new_tokens: int,
    temperature: float,
    top_k: int | None,
    num_samples: int,
    seed: int,
    device: str,
    data: str | None,
    tracking_uri: str | None,
) -> Answer:
    r"""Generate text with MODEL.

    MODEL is a run id, a models:/ URI, a checkpoint folder, or a notebook-format .pth file (with the vocabulary of
    --data). In --prompt, \n is a newline and \t a tab, unless the model's vocabulary has the backslash.
    """
    from gpt_experiments.app.generate import Sampling, generate_texts

    sampling = Sampling(
        max_new_tokens=max_new_tokens, temperature=temperature, top_k=top_k, num_samples=num_samples, seed=seed
    )
    generated = generate_texts(
        model, prompt, sampling, device=device, tracking_uri=tracking_uri, open_corpus=lambda: open_corpus(data)
    )

    def show() -> None:
        for number, text in enumerate(generated.texts, start=1):
            if num_samples > 1:
                click.echo(f"--- sample {number} ---")
            click.echo(text)

    fields = {
        "model": model,
        "prompt": generated.prompt,
        "texts": generated.texts,
        **dataclasses.asdict(sampling),
        "device": generated.device,
    }
    return Answer(fields=fields, show=show)
