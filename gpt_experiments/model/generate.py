"""Text from a model, one character at a time."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gpt_experiments.errors import ConfigError
from gpt_experiments.model.gpt import GPT


@torch.no_grad()
def generate(
    model: GPT,
    prompt: Tensor,
    *,
    max_new_tokens: int,
    seed: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    num_samples: int = 1,
) -> Tensor:
    """Continue `prompt` (T,) by sampling: tokens (num_samples, T + max_new_tokens), the prompt included.

    Only the last block_size tokens are seen by the model. Draws come from a generator of its own on the CPU, so equal
    seeds give equal text whatever else draws random numbers, and whatever the device as far as its arithmetic agrees.

    Args:
        temperature: divides the logits; 0 takes the most likely character every time.
        top_k: sample among the k most likely characters alone.

    Raises:
        ConfigError: an option is out of range, or the prompt is empty.
    """
    _check_options(len(prompt), max_new_tokens, temperature, top_k, num_samples)
    was_training, block_size = model.training, model.config.variant.block_size
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    tokens = prompt.to(model.device).expand(num_samples, -1)  # (num_samples, T)
    for _ in range(max_new_tokens):
        logits = model(tokens[:, -block_size:])[:, -1].float().cpu()  # (num_samples, vocab_size); waits for the device
        following = _choose(logits, temperature, top_k, generator)
        tokens = torch.cat([tokens, following.to(model.device)], dim=1)
    model.train(was_training)
    return tokens.cpu()


def _choose(logits: Tensor, temperature: float, top_k: int | None, generator: torch.Generator) -> Tensor:
    """One token for each row of logits (num_samples, vocab_size): (num_samples, 1)."""
    if temperature == 0:
        return logits.argmax(dim=-1, keepdim=True)
    if top_k is not None and top_k < logits.shape[-1]:
        weakest_kept = logits.topk(top_k).values[:, -1:]
        logits = logits.masked_fill(logits < weakest_kept, float("-inf"))
    return torch.multinomial((logits / temperature).softmax(dim=-1), 1, generator=generator)


def _check_options(
    prompt_length: int, max_new_tokens: int, temperature: float, top_k: int | None, num_samples: int
) -> None:
    if prompt_length < 1:
        raise ConfigError("the prompt is empty; give at least one character, a newline for instance")
    if not math.isfinite(temperature) or temperature < 0:
        raise ConfigError(f"temperature must be a finite number of at least 0, but got {temperature}; 1 is neutral")
    for name, value in (("max_new_tokens", max_new_tokens), ("top_k", top_k), ("num_samples", num_samples)):
        if value is not None and value < 1:
            raise ConfigError(f"{name} must be at least 1, but got {value}")
