"""Text from a model, one character at a time."""

from __future__ import annotations

import math
from functools import partial
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from gpt_experiments.config import ModelConfig
from gpt_experiments.errors import CheckpointError, ConfigError, shortened
from gpt_experiments.model.gpt import GPT
from gpt_experiments.parameters import check_value

MAX_NEW_TOKENS: Final = 1_000_000
"""Characters of one sample: minutes to hours of work, and a text that nobody reads to its end."""

_MAX_CHARACTERS: Final = 10_000_000
_MAX_KEPT_BYTES: Final = 2 * 2**30


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
        top_k: sample among the k most likely characters alone; 0 or None among all.

    Raises:
        ConfigError: an option is out of range, the prompt is empty, or so much text is asked for that it would not fit
            in memory.
        CheckpointError: the model's logits are not finite.
    """
    check_value("seed", seed)
    _check_options(max_new_tokens, temperature, top_k, num_samples)
    _check_memory(model.config, len(prompt), max_new_tokens, num_samples)
    was_training, T, end = model.training, len(prompt), len(prompt) + max_new_tokens
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.empty(num_samples, end, dtype=prompt.dtype, device=model.device)
    tokens[:, :T] = prompt
    reader = _Reader(model, num_samples, end)
    with torch.inference_mode():
        for i in range(T, end):
            logits = reader.logits(tokens[:, :i]).float().cpu()  # (num_samples, vocab_size); waits for the device
            tokens[:, i] = _choose(logits, temperature, top_k, generator)[:, 0]
    model.train(was_training)
    return tokens.cpu()


class _Reader:
    """Logits of the character after a text that grows, as the model's forward gives them for the last position.

    As long as the text fits the context, keys and values of what was read before are kept, and only new characters
    are read. From then on the window slides: the learned absolute position of every character in it changes with each
    step, so everything in it is read again, but for the queries of the last block, of which only the last counts.
    """

    def __init__(self, model: GPT, num_samples: int, length: int) -> None:
        shape, weight = model.config.shape, model.lm_head.weight
        self._model, self._block_size, self._read = model, shape.block_size, 0
        size = (2, num_samples, shape.n_head, min(length, shape.block_size), shape.head_size)
        self._kept = [torch.empty(size, dtype=weight.dtype, device=weight.device) for _ in range(shape.n_layer)]

    def logits(self, tokens: Tensor) -> Tensor:
        """Logits (num_samples, vocab_size) after `tokens` (num_samples, T), which begin as those given before."""
        T, last = tokens.shape[1], len(self._kept) - 1
        start = self._read if self._block_size >= T else 0
        window = tokens[:, max(0, T - self._block_size) + start :]  # (num_samples, T_new)
        self._read = start + window.shape[1]
        attend = [partial(_attend, kept=kept, start=start, only_last=i == last) for i, kept in enumerate(self._kept)]
        return self._model(window, attend=attend, start=start)[:, -1]


def _attend(qkv: Tensor, *, scale: float, dropout: float, kept: Tensor, start: int, only_last: bool) -> Tensor:
    """Attended values (num_samples, T_new, n_head, head_size) of all that was read; T_new is 1 where `only_last`.

    Args:
        qkv: (num_samples, T_new, 3, n_head, head_size); of a part of the text that begins at 0, or of one character.
        kept: keys and values (2, num_samples, n_head, context, head_size), written from position `start` on.
    """
    end = start + qkv.shape[1]
    qkv = qkv.permute(2, 0, 3, 1, 4)  # (3, num_samples, n_head, T_new, head_size)
    kept[:, :, :, start:end] = qkv[1:]
    q, (k, v) = qkv[0], kept[:, :, :, :end]
    if only_last:
        q = q[:, :, -1:]
    values = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=q.shape[2] > 1, scale=scale)
    return values.transpose(1, 2)


def _choose(logits: Tensor, temperature: float, top_k: int | None, generator: torch.Generator) -> Tensor:
    """One token for each row of logits (num_samples, vocab_size): (num_samples, 1)."""
    if not logits.isfinite().all():
        raise CheckpointError(
            "the model's logits are not finite, so no text can be drawn from it; its weights are damaged or its "
            "training diverged; take another checkpoint"
        )
    if temperature == 0:
        return logits.argmax(dim=-1, keepdim=True)
    if top_k and top_k < logits.shape[-1]:
        weakest_kept = logits.topk(top_k).values[:, -1:]
        logits = logits.masked_fill(logits < weakest_kept, float("-inf"))
    largest = logits.amax(dim=-1, keepdim=True)
    # Below the largest, and divided in double precision: no temperature, however low, makes an infinite logit of it.
    scaled = ((logits - largest).double() / temperature).float()
    return torch.multinomial(scaled.softmax(dim=-1), 1, generator=generator)


def _check_options(max_new_tokens: int, temperature: float, top_k: int | None, num_samples: int) -> None:
    if not math.isfinite(temperature) or temperature < 0:
        raise ConfigError(f"temperature must be a finite number of at least 0, but got {temperature}; 1 is neutral")
    if top_k is not None and top_k < 0:
        raise ConfigError(f"top_k must be at least 0, but got {shortened(top_k, 40)}; 0 samples among all characters")
    for name, value in (("max_new_tokens", max_new_tokens), ("num_samples", num_samples)):
        if value < 1:
            raise ConfigError(f"{name} must be at least 1, but got {shortened(value, 40)}")
    if max_new_tokens > MAX_NEW_TOKENS:
        raise ConfigError(
            f"max_new_tokens must be at most {MAX_NEW_TOKENS:,}, but got {shortened(max_new_tokens, 40)}; "
            "continue the text that you get with another call"
        )


def _check_memory(config: ModelConfig, prompt_length: int, max_new_tokens: int, num_samples: int) -> None:
    if prompt_length < 1:
        raise ConfigError("the prompt is empty; give at least one character, a newline for instance")
    variant, length = config.shape, prompt_length + max_new_tokens
    kept = 8 * variant.n_layer * variant.n_embed * min(length, variant.block_size)  # bytes of keys and values a sample
    most = max(1, min(_MAX_CHARACTERS // length, _MAX_KEPT_BYTES // kept))
    if num_samples > most:
        raise ConfigError(
            f"{shortened(num_samples, 40)} samples of {length:,} characters are more than are drawn at once; ask for "
            f"num_samples of at most {most:,}, and again with other seeds"
        )
