"""`generate`: text from a trained model."""

from __future__ import annotations

from collections.abc import Callable

import torch

from gpt_experiments.app.typed_text import typed_text
from gpt_experiments.corpus import Corpus
from gpt_experiments.model import generate
from gpt_experiments.models.source import load_model
from gpt_experiments.training import resolve_device


def generate_texts(
    model: str,
    prompt: str,
    *,
    max_new_tokens: int,
    temperature: float,
    top_k: int | None,
    num_samples: int,
    seed: int,
    device: str,
    tracking_uri: str | None,
    open_corpus: Callable[[], Corpus],
) -> list[str]:
    """`num_samples` texts that continue the prompt.

    Args:
        model: a run id, a models:/ URI, a checkpoint folder, or a notebook-format file.
        prompt: as a user types it on a command line.
        open_corpus: opens the corpus whose vocabulary a notebook-format file has.

    Raises:
        ExperimentError: there is no such model or device, the model does not know a character, or a value is wrong.
    """
    target = resolve_device(device)
    loaded = load_model(model, tracking_uri=tracking_uri, open_corpus=open_corpus)
    tokens = generate(
        loaded.model.to(target),
        torch.from_numpy(loaded.tokenizer.encode(typed_text(prompt, loaded.tokenizer))),
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        num_samples=num_samples,
        seed=seed,
    )
    return [loaded.tokenizer.decode(sample) for sample in tokens.numpy()]
