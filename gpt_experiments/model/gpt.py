"""The model being studied: a decoder-only, pre-norm character GPT, with one fused projection for all heads.

Axes: B batch, T time (position in the context), n_embed width of the residual stream, n_head and head_size its split.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gpt_experiments.config import ModelConfig
from gpt_experiments.kernels import add_dropped, causal_attention, feed_forward


class Attention(nn.Module):
    """Causal self-attention (Vaswani et al. 2017, section 3.2) whose heads share one query/key/value projection."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.shape.n_embed
        self.n_head, self.score_scale = config.shape.n_head, config.score_scale
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, dropout: float = 0.0) -> Tensor:
        """(B, T, n_embed) from the same, attention weights dropped with probability `dropout`."""
        return self._project(causal_attention(self._qkv(x), scale=self.score_scale, dropout=dropout))

    def with_weights(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The same output without dropout, computed from explicit weights, and the weights (B, n_head, T, T)."""
        q, k, v = self._qkv(x).permute(2, 0, 3, 1, 4)  # three of (B, n_head, T, head_size)
        scores = q @ k.transpose(-2, -1) * self.score_scale  # (B, n_head, T, T)
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=x.device).triu(1)
        weights = scores.masked_fill(future, float("-inf")).softmax(dim=-1)
        return self._project((weights @ v).transpose(1, 2)), weights

    def _qkv(self, x: Tensor) -> Tensor:
        """Queries, keys and values (B, T, 3, n_head, head_size) of x (B, T, n_embed)."""
        return self.qkv(x).unflatten(2, (3, self.n_head, -1))

    def _project(self, attended: Tensor) -> Tensor:
        """(B, T, n_head, head_size) -> (B, T, n_embed)."""
        return self.proj(attended.flatten(2))


class FeedForward(nn.Sequential):
    """Each position on its own: linear to four times the width, ReLU, linear back."""

    def __init__(self, config: ModelConfig) -> None:
        width = config.shape.n_embed
        super().__init__(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        widen, narrow = self.layers()
        return feed_forward(x, widen.weight, widen.bias, narrow.weight, narrow.bias)

    def layers(self) -> tuple[nn.Linear, nn.Linear]:
        """The one that widens and the one that narrows again."""
        widen, _, narrow = self
        assert isinstance(widen, nn.Linear)
        assert isinstance(narrow, nn.Linear)
        return widen, narrow


class Block(nn.Module):
    """Attention, then feed-forward, each on a normalised copy of the stream, dropped in part, and added back to it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.ln1, self.attention = nn.LayerNorm(config.shape.n_embed), Attention(config)
        self.ln2, self.feed_forward = nn.LayerNorm(config.shape.n_embed), FeedForward(config)
        self.dropout = config.shape.dropout

    def forward(self, x: Tensor) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        x = add_dropped(x, self.attention(self.ln1(x), dropout), dropout=dropout)
        return add_dropped(x, self.feed_forward(self.ln2(x)), dropout=dropout)

    def with_weights(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The block's output without dropout (B, T, n_embed) and its attention weights (B, n_head, T, T)."""
        attended, weights = self.attention.with_weights(self.ln1(x))
        x = x + attended
        return x + self.feed_forward(self.ln2(x)), weights


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

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, T, vocab_size) of the character that follows each of `tokens` (B, T), T at most block_size."""
        x = self._embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.lm_head(self.ln_f(x))

    @torch.no_grad()
    def attention_maps(self, tokens: Tensor) -> Tensor:
        """Attention weights (n_layer, n_head, T, T) of every layer on `tokens` (T,), in one pass, without dropout.

        Entry [l, h, i, j] is how much of head h's output at position i comes from position j; rows sum to one, and
        nothing lies above the diagonal.
        """
        was_training = self.training
        self.eval()
        x, maps = self._embed(tokens[None]), []
        for block in self.blocks:
            assert isinstance(block, Block)
            x, weights = block.with_weights(x)
            maps.append(weights[0])
        self.train(was_training)
        return torch.stack(maps)

    def _embed(self, tokens: Tensor) -> Tensor:
        T, block_size = tokens.shape[-1], self.config.shape.block_size
        if block_size < T:
            raise ValueError(f"{T} tokens exceed the context: at most block_size={block_size} fit")
        positions = self.position_embedding.weight[:T]  # (T, n_embed)
        return self.token_embedding(tokens) + positions  # (B, T, n_embed)
