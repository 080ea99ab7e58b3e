"""`generate`: text from a trained model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch

from gpt_experiments.app.typed_text import typed_text
from gpt_experiments.corpus import Corpus
from gpt_experiments.model import generate
from gpt_experiments.models.source import load_model
from gpt_experiments.training import resolve_device


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How texts are drawn; see `gpt_experiments.model.generate`."""

    max_new_tokens: int
    temperature: float
    top_k: int | None
    num_samples: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class GeneratedTexts:
    """Texts of a model.

    Attributes:
        prompt: what the model was given; each text begins with it.
        device: where they were computed.
    """

    prompt: str
    texts: tuple[str, ...]
    device: str


def generate_texts(
    model: str,
    prompt: str,
    sampling: Sampling,
    *,
    device: str,
    tracking_uri: str | None,
    open_corpus: Callable[[], Corpus],
) -> GeneratedTexts:
    """Texts that continue the prompt.

    Args:
        model: a run id, a models:/ URI, a checkpoint folder, or a notebook-format file.
        prompt: as a user types it on a command line.
        open_corpus: opens the corpus whose vocabulary a notebook-format file has.

    Raises:
        ExperimentError: there is no such model or device, the model does not know a character, or a value is wrong.
    """
    target = resolve_device(device)
    loaded = load_model(model, tracking_uri=tracking_uri, open_corpus=open_corpus)
    prompt = typed_text(prompt, loaded.tokenizer)
    tokens = generate(
        loaded.model.to(target),
        torch.from_numpy(loaded.tokenizer.encode(prompt)),
        **dataclasses.asdict(sampling),
    )
    texts = tuple(loaded.tokenizer.decode(sample) for sample in tokens.numpy())
    return GeneratedTexts(prompt=prompt, texts=texts, device=str(target))
