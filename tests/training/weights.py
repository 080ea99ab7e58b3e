"""Weights of the fused model in the plain one's layout."""

from __future__ import annotations

import torch

from gpt_experiments.config import ModelConfig
from gpt_experiments.model import GPT, from_notebook_state_dict
from tests.reference.plain_gpt import PlainGPT


def copy_into_plain(ours: GPT, plain: PlainGPT, config: ModelConfig) -> None:
    """Write the fused model's weights into the plain one, head by head."""
    with torch.no_grad():
        plain.token_embedding_table.weight.copy_(ours.token_embedding.weight)
        plain.position_embedding_table.weight.copy_(ours.position_embedding.weight)
        size = config.shape.head_size
        for mine, theirs in zip(ours.blocks, plain.blocks, strict=True):
            parts = mine.attention.qkv.weight.chunk(3)
            for h, head in enumerate(theirs.sa.heads):
                for layer, part in zip((head.query, head.key, head.value), parts, strict=True):
                    layer.weight.copy_(part[h * size : (h + 1) * size])
            theirs.sa.proj.load_state_dict(mine.attention.proj.state_dict())
            theirs.ffwd.net.load_state_dict(mine.feed_forward.state_dict())
            theirs.ln1.load_state_dict(mine.ln1.state_dict())
            theirs.ln2.load_state_dict(mine.ln2.state_dict())
        plain.ln_f.load_state_dict(ours.ln_f.state_dict())
        plain.lm_head.load_state_dict(ours.lm_head.state_dict())
    again = from_notebook_state_dict(plain.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), again.parameters(), strict=True))
