"""Several models of one shape as one batched model: every weight has a leading replica axis.

Axes: R replicas, B batch, T time, N = B * T, n_embed width of the residual stream, P parameters of one replica.

Small models leave a GPU idle: one kernel for R of them takes hardly longer than for one. All parameters lie in one
tensor (R, P), so an optimiser is a few kernels; the layers use views into it, and the gradient of the tensor is put
together by one concatenation.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt_experiments.config import ModelConfig
from gpt_experiments.model.gpt import GPT

_ALIGNMENT: Final = 8  # elements: replicas begin at 16 bytes, also in bfloat16, as vector loads of matrix products need


class ReplicaGPT(nn.Module):
    """R models that differ in their weights and their dropout alone, none of which sees another.

    Keep replicas of equal dropout together: attention is one call for each run of equal levels.

    Args:
        models: at least one; their weights are copied.

    Attributes:
        parameters_of_all: (R, P), the weights, those of linear layers last, padded with zeros at the end.
        shapes: of one replica's weights, by their names in GPT, in their order in `parameters_of_all`.

    Raises:
        ValueError: no models, or models that differ in more than dropout.
    """

    def __init__(self, models: Sequence[GPT]) -> None:
        super().__init__()
        self.configs = tuple(model.config for model in models)
        if len({_without_dropout(config) for config in self.configs}) != 1:
            raise ValueError(f"replicas must be models of one shape, at least one, but got {self.configs}")
        matrices = _of_linear_layers(models[0])
        named = sorted(models[0].named_parameters(), key=lambda item: item[0] in matrices)
        self.shapes = {name: parameter.shape for name, parameter in named}
        padding = -sum(shape.numel() for shape in self.shapes.values()) % _ALIGNMENT
        rows = [torch.cat([model.get_parameter(name).detach().flatten() for name in self.shapes]) for model in models]
        self.parameters_of_all = nn.Parameter(F.pad(torch.stack(rows), (0, padding)))
        self._others = [shape.numel() for name, shape in self.shapes.items() if name not in matrices]
        self._matrices = [*(shape.numel() for name, shape in self.shapes.items() if name in matrices), padding]
        self.n_head, self.score_scale = self.configs[0].shape.n_head, self.configs[0].score_scale
        self.block_size, self.vocab_size = self.configs[0].shape.block_size, self.configs[0].vocab_size
        dropouts = [config.shape.dropout for config in self.configs]
        # Neighbours of equal dropout: (dropout, how many).
        self._levels = [(level, len(list(equal))) for level, equal in itertools.groupby(dropouts)]
        keep = 1 - torch.tensor(dropouts, dtype=torch.float32, device=models[0].device)[:, None, None]  # (R, 1, 1)
        self.register_buffer("_keep", keep, persistent=False)
        self._keep: Tensor

    @property
    def device(self) -> torch.device:
        return self.parameters_of_all.device

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (R, B, T, vocab_size) from each replica's own tokens (R, B, T), or from (B, T) that all see.

        Raises:
            ValueError: T exceeds block_size.
        """
        weights = self._weights()
        tokens = tokens.expand(len(self.configs), *tokens.shape[-2:])  # (R, B, T)
        x = self._embed(weights, tokens)  # (R, N, n_embed)
        for i in range(self.configs[0].shape.n_layer):
            block = f"blocks.{i}."
            normed = _layer_norm(weights, block + "ln1", x)
            x = x + self._drop(self._attention(weights, block + "attention.", normed, tokens.shape[-1]))
            normed = _layer_norm(weights, block + "ln2", x)
            hidden = F.relu(_linear(weights, block + "feed_forward.0", normed))  # (R, N, 4 * n_embed)
            x = x + self._drop(_linear(weights, block + "feed_forward.2", hidden))
        logits = _linear(weights, "lm_head", _layer_norm(weights, "ln_f", x))  # (R, N, vocab_size)
        return logits.unflatten(1, tokens.shape[1:])

    def unstack(self) -> list[GPT]:
        """Each replica as an ordinary model of its own, with a copy of its weights."""
        models = []
        for config, row in zip(self.configs, self.parameters_of_all.detach(), strict=True):
            with torch.device("meta"):  # neither memory nor random numbers for weights that are replaced at once
                model = GPT(config)
            parts = row.split([*self._others, *self._matrices])[:-1]
            named = zip(self.shapes.items(), parts, strict=True)
            model.load_state_dict({name: part.clone().view(shape) for (name, shape), part in named}, assign=True)
            models.append(model.train(self.training))
        return models

    def _weights(self) -> dict[str, Tensor]:
        """Every parameter by its name in GPT, (R, ...): views of all, or of one cast of all where autocast is on."""
        others, matrices = self.parameters_of_all.split([sum(self._others), sum(self._matrices)], dim=1)
        if torch.is_autocast_enabled(self.device.type):
            matrices = matrices.to(torch.get_autocast_dtype(self.device.type))  # one kernel, not one for each weight
        parts = [*others.split(self._others, dim=1), *matrices.split(self._matrices, dim=1)[:-1]]
        named = zip(self.shapes.items(), parts, strict=True)
        return {name: part.unflatten(1, shape) for (name, shape), part in named}

    def _embed(self, weights: dict[str, Tensor], tokens: Tensor) -> Tensor:
        """(R, B, T) -> (R, N, n_embed)."""
        R, B, T = tokens.shape
        if self.block_size < T:
            raise ValueError(f"{T} tokens exceed the context: at most block_size={self.block_size} fit")
        first_rows = torch.arange(R, device=tokens.device)[:, None, None] * self.vocab_size
        table = weights["token_embedding.weight"].flatten(0, 1)  # (R * vocab_size, n_embed)
        embedded = F.embedding(tokens + first_rows, table)  # (R, B, T, n_embed)
        positions = weights["position_embedding.weight"][:, None, :T]  # (R, 1, T, n_embed)
        return (embedded + positions).view(R, B * T, -1)

    def _attention(self, weights: dict[str, Tensor], name: str, x: Tensor, n_time: int) -> Tensor:
        """(R, N, n_embed) from the same, before dropout of the output."""
        qkv = _linear(weights, name + "qkv", x)  # (R, N, 3 * n_embed)
        attended = []
        for (dropout, _), part in zip(self._levels, qkv.split([n for _, n in self._levels]), strict=True):
            q, k, v = part.reshape(-1, n_time, 3, self.n_head, x.shape[-1] // self.n_head).permute(2, 0, 3, 1, 4)
            dropout = dropout if self.training else 0.0
            values = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True, scale=self.score_scale)
            attended.append(values.transpose(1, 2).reshape(-1, *x.shape[1:]))  # (replicas, N, n_embed)
        together = attended[0] if len(attended) == 1 else torch.cat(attended)
        return _linear(weights, name + "proj", together)

    def _drop(self, x: Tensor) -> Tensor:
        """(R, N, n_embed) with entries dropped, each replica's by its own probability."""
        if not self.training or all(level == 0 for level, _ in self._levels):
            return x
        if len(self._levels) == 1:
            return F.dropout(x, self._levels[0][0])
        kept = torch.empty_like(x, dtype=torch.float32).bernoulli_(self._keep.expand_as(x))  # MPS demands its shape
        return x * kept.div_(self._keep)


def _linear(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """(R, N, in) -> (R, N, out)."""
    weight, bias = weights[name + ".weight"].transpose(1, 2), weights.get(name + ".bias")
    return torch.bmm(x, weight) if bias is None else torch.baddbmm(bias[:, None], x, weight)


def _layer_norm(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """(R, N, n_embed) normalised over its last axis, then scaled and shifted by each replica's own weights."""
    normed = F.layer_norm(x, x.shape[-1:])
    return torch.addcmul(weights[name + ".bias"][:, None], normed, weights[name + ".weight"][:, None])


def _of_linear_layers(model: GPT) -> set[str]:
    """The names of the parameters that matrix products use."""
    linear = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return {f"{name}.{parameter}" for name, module in linear for parameter, _ in module.named_parameters()}


def _without_dropout(config: ModelConfig) -> ModelConfig:
    return dataclasses.replace(config, shape=dataclasses.replace(config.shape, dropout=0.0))
