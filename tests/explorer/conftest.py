"""A small GPT's attention, and how a page's numbers are read back without a browser."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gpt_experiments.config import ModelConfig
from gpt_experiments.corpus import Corpus
from gpt_experiments.model import GPT
from gpt_experiments.parameters import Shape

TEXT = "First Miller:\nBa da lo, ne"


@pytest.fixture(scope="session")
def maps(corpus: Corpus) -> NDArray[np.float32]:
    """The maps (3, 2, T, T) of a GPT on TEXT, with scores large enough that heads look at something."""
    torch.manual_seed(3)
    variant = Shape(n_head=2, n_layer=3, n_embed=16, dropout=0.0, block_size=32)
    model = GPT(ModelConfig(shape=variant, vocab_size=corpus.vocab_size))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("qkv.weight"):
                weight *= 4
    return model.attention_maps(torch.from_numpy(corpus.tokenizer.encode(TEXT))).numpy()


def causal(n_layer: int, n_head: int, length: int, *, seed: int = 0, peak: float = 3.0) -> NDArray[np.float64]:
    """Random causal maps whose rows sum to one; the larger `peak`, the fewer keys get most of a row."""
    logits = np.random.default_rng(seed).normal(scale=peak, size=(n_layer, n_head, length, length))
    weights = np.tril(np.exp(logits))
    return weights / weights.sum(axis=-1, keepdims=True)


def data_of(page: str) -> dict[str, Any]:
    """What a page carries for its script."""
    (block,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    data = json.loads(block)
    assert isinstance(data, dict)
    return data


def maps_of(page: str) -> NDArray[np.float64]:
    """The weights that a page carries: (n_layer, n_head, T, T)."""
    data = data_of(page)
    length = len(data["text"])
    levels = np.frombuffer(base64.b64decode(data["weights"]), dtype=np.uint8)
    maps = np.zeros((data["layers"], data["heads"], length, length))
    queries, keys = np.tril_indices(length)
    maps[..., queries, keys] = (levels.reshape(data["layers"], data["heads"], -1) / 255.0) ** 2
    return maps
