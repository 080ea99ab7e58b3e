"""The study's model as a textbook writes it, one small module a head: the oracle for every faster path.

Nothing here is tuned. Module and buffer names are those of the notebook's state dict, so `state_dict()` is a file of
that format.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt_experiments.config import ModelConfig


class Head(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, size = config.shape.n_embed, config.shape.head_size
        self.key = nn.Linear(width, size, bias=False)
        self.query = nn.Linear(width, size, bias=False)
        self.value = nn.Linear(width, size, bias=False)
        self.register_buffer("tril", torch.tril(torch.ones(config.shape.block_size, config.shape.block_size)))
        self.dropout = nn.Dropout(config.shape.dropout)
        self.scale = config.score_scale
        self.last_weights: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        time = x.shape[1]
        scores = torch.matmul(self.query(x), self.key(x).transpose(1, 2)) * self.scale  # (B, T, T)
        scores = scores.masked_fill(self.tril[:time, :time] == 0, float("-inf"))
        weights = F.softmax(scores, dim=-1)
        self.last_weights = weights.detach()
        return torch.matmul(self.dropout(weights), self.value(x))  # (B, T, head_size)


class MultiHead(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = nn.ModuleList([Head(config) for _ in range(config.shape.n_head)])
        self.proj = nn.Linear(config.shape.n_embed, config.shape.n_embed)
        self.dropout = nn.Dropout(config.shape.dropout)

    def forward(self, x: Tensor) -> Tensor:
        side_by_side = torch.cat([head(x) for head in self.heads], dim=-1)  # (B, T, n_embed)
        return self.dropout(self.proj(side_by_side))


class FeedForward(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.shape.n_embed
        self.net = nn.Sequential(
            nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width), nn.Dropout(config.shape.dropout)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Block(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.sa = MultiHead(config)
        self.ffwd = FeedForward(config)
        self.ln1 = nn.LayerNorm(config.shape.n_embed)
        self.ln2 = nn.LayerNorm(config.shape.n_embed)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.sa(self.ln1(x))
        return x + self.ffwd(self.ln2(x))


class PlainGPT(nn.Module):
    """Logits (B, T, vocab_size) from tokens (B, T)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        variant = config.shape
        self.token_embedding_table = nn.Embedding(config.vocab_size, variant.n_embed)
        self.position_embedding_table = nn.Embedding(variant.block_size, variant.n_embed)
        self.blocks = nn.Sequential(*[Block(config) for _ in range(variant.n_layer)])
        self.ln_f = nn.LayerNorm(variant.n_embed)
        self.lm_head = nn.Linear(variant.n_embed, config.vocab_size)

    def forward(self, tokens: Tensor) -> Tensor:
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.token_embedding_table(tokens) + self.position_embedding_table(positions)
        return self.lm_head(self.ln_f(self.blocks(x)))

    def last_attention(self) -> Tensor:
        """Attention weights (n_layer, n_head, T, T) of the first row of the latest batch."""
        return torch.stack([torch.stack([head.last_weights[0] for head in block.sa.heads]) for block in self.blocks])
