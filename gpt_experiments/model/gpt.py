"""The model being studied: a decoder-only, pre-norm character GPT, with one fused projection for all heads.

Axes: B batch, T time (position in the context), n_embed width of the residual stream, n_head and head_size its split.

The arithmetic of a block is written once. What differs between training, drawing attention and sampling is how
positions attend to each other, so that is an argument: see `Attend`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt_experiments.config import ModelConfig
from gpt_experiments.kernels import add_dropped, causal_attention, feed_forward


class Attend(Protocol):
    """How positions attend to each other, as `causal_attention` does; that function is the way that trains."""

    def __call__(self, qkv: Tensor, *, scale: float, dropout: float) -> Tensor:
        """Attended values (B, T, n_head, head_size) of queries, keys and values (B, T, 3, n_head, head_size).

        A way whose caller needs the last positions alone may return the values of these only.

        Args:
            scale: factor on the scores.
            dropout: probability with which a weight is dropped.
        """
        ...


class ExplicitAttention:
    """Attends through weights that are computed as the formula has them, and keeps the weights.

    Attributes:
        weights: (B, n_head, T, T), of the latest call, before dropout.
    """

    weights: Tensor

    def __call__(self, qkv: Tensor, *, scale: float, dropout: float) -> Tensor:
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # three of (B, n_head, T, head_size)
        scores = q @ k.transpose(-2, -1) * scale  # (B, n_head, T, T)
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=qkv.device).triu(1)
        self.weights = scores.masked_fill(future, float("-inf")).softmax(dim=-1)
        return (F.dropout(self.weights, dropout) @ v).transpose(1, 2)


class Attention(nn.Module):
    """Causal self-attention (Vaswani et al. 2017, section 3.2) whose heads share one query/key/value projection."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.shape.n_embed
        self.n_head, self.score_scale = config.shape.n_head, config.score_scale
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, *, dropout: float, attend: Attend) -> Tensor:
        """(B, T, n_embed) from the same; of the last positions alone where `attend` gives no others."""
        qkv = self.qkv(x).unflatten(2, (3, self.n_head, -1))  # (B, T, 3, n_head, head_size)
        return self.proj(attend(qkv, scale=self.score_scale, dropout=dropout).flatten(2))


class FeedForward(nn.Sequential):
    """Each position on its own: linear to four times the width, ReLU, linear back."""

    def __init__(self, config: ModelConfig) -> None:
        width = config.shape.n_embed
        super().__init__(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        widen, _, narrow = self
        assert isinstance(widen, nn.Linear)
        assert isinstance(narrow, nn.Linear)
        return feed_forward(x, widen.weight, widen.bias, narrow.weight, narrow.bias)


class Block(nn.Module):
    """Attention, then feed-forward, each on a normalised copy of the stream, dropped in part, and added back to it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.ln1, self.attention = nn.LayerNorm(config.shape.n_embed), Attention(config)
        self.ln2, self.feed_forward = nn.LayerNorm(config.shape.n_embed), FeedForward(config)
        self.dropout = config.shape.dropout

    def forward(self, x: Tensor, *, attend: Attend) -> Tensor:
        """(B, T, n_embed) from the same; of the last positions alone where `attend` gives no others."""
        dropout = self.dropout if self.training else 0.0
        attended = self.attention(self.ln1(x), dropout=dropout, attend=attend)
        if attended.shape[1] < x.shape[1]:
            x = x[:, -attended.shape[1] :]
        x = add_dropped(x, attended, dropout=dropout)
        return add_dropped(x, self.feed_forward(self.ln2(x)), dropout=dropout)


class GPT(nn.Module):
    """Token and learned position embeddings, `n_layer` blocks, a final LayerNorm and an untied linear head.

    Initialisation is PyTorch's default for every layer, drawn from torch's global generator.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width = config.shape.n_embed
        self.token_embedding = nn.Embedding(config.vocab_size, width)
        self.position_embedding = nn.Embedding(config.shape.block_size, width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.shape.n_layer))
        self.ln_f = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, config.vocab_size)

    @property
    def device(self) -> torch.device:
        return self.lm_head.weight.device

    def forward(self, tokens: Tensor, *, attend: Sequence[Attend] | None = None, start: int = 0) -> Tensor:
        """Logits (B, T, vocab_size) of the character that follows each of `tokens` (B, T).

        Args:
            attend: how the positions attend to each other, for each block; by default all by `causal_attention`.
            start: the position of the first token; start + T is at most block_size.
        """
        x = self._embed(tokens, start)
        for block, way in zip(self.blocks, attend or [causal_attention] * len(self.blocks), strict=True):
            x = block(x, attend=way)
        return self.lm_head(self.ln_f(x))

    @torch.no_grad()
    def attention_maps(self, tokens: Tensor) -> Tensor:
        """Attention weights (n_layer, n_head, T, T) of every layer on `tokens` (T,), in one pass, without dropout.

        Entry [l, h, i, j] is how much of head h's output at position i comes from position j; rows sum to one, and
        nothing lies above the diagonal.
        """
        layers = [ExplicitAttention() for _ in self.blocks]
        was_training = self.training
        self.eval()
        self(tokens[None], attend=layers)
        self.train(was_training)
        return torch.stack([layer.weights[0] for layer in layers])

    def _embed(self, tokens: Tensor, start: int) -> Tensor:
        end, block_size = start + tokens.shape[-1], self.config.shape.block_size
        if block_size < end:
            raise ValueError(f"{end} tokens exceed the context: at most block_size={block_size} fit")
        positions = self.position_embedding.weight[start:end]  # (T, n_embed)
        return self.token_embedding(tokens) + positions  # (B, T, n_embed)
