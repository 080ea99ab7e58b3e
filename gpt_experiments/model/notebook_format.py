"""Pre-trained weights in the notebook's format: a state dict with one query, key and value matrix for each head."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpt_experiments.config import AttentionScale, ModelConfig, Variant
from gpt_experiments.errors import CheckpointError, ConfigError
from gpt_experiments.model.gpt import GPT

_PROJECTIONS = ("query", "key", "value")
_RENAMED = {
    "token_embedding_table.weight": "token_embedding.weight",
    "position_embedding_table.weight": "position_embedding.weight",
}


def load_notebook_file(path: Path, *, attention_scale: AttentionScale = "n_embed") -> GPT:
    """The model in evaluation mode that the file at `path` holds; its configuration is read off keys and shapes.

    The file records neither dropout, which is set to 0, nor the vocabulary, nor the attention scale.

    Raises:
        CheckpointError: no such file, not a PyTorch file of tensors, truncated, or not in this format.
    """
    return from_notebook_state_dict(_read(path), where=str(path), attention_scale=attention_scale)


def from_notebook_state_dict(
    state: Mapping[str, Tensor], *, where: str = "the state dict", attention_scale: AttentionScale = "n_embed"
) -> GPT:
    """The model in evaluation mode with the weights of `state`, whose keys and shapes say its configuration.

    Raises:
        CheckpointError: a key is missing or unknown, or a tensor has an unexpected shape or values that are not finite.
    """
    config = _read_config(state, where, attention_scale)
    _check_tensors(state, config, where)
    model = GPT(config)
    model.load_state_dict(fuse_heads(state, config.variant))
    return model.eval()


def fuse_heads(state: Mapping[str, Tensor], variant: Variant) -> dict[str, Tensor]:
    """Per-head tensors under the notebook's keys as the fused tensors of `GPT`: weights, or their gradients.

    Rows of `qkv.weight` (3 * n_embed, n_embed) are all heads' queries, then keys, then values.
    """
    fused = {_RENAMED.get(key, key): value for key, value in state.items() if ".heads." not in key}
    for i in range(variant.n_layer):
        rows = [
            state[f"blocks.{i}.sa.heads.{h}.{projection}.weight"]  # (head_size, n_embed)
            for projection in _PROJECTIONS
            for h in range(variant.n_head)
        ]
        fused[f"blocks.{i}.attention.qkv.weight"] = torch.cat(rows)
    return {_rename_block_key(key): value for key, value in fused.items()}


def _rename_block_key(key: str) -> str:
    return key.replace(".sa.proj.", ".attention.proj.").replace(".ffwd.net.", ".feed_forward.")


def _read(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(f"no file of weights at {path}; give the path of a state dict saved as .pth")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of unusual pickle protocols; what cannot be read is told below
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors, or is no PyTorch file; only a state dict of tensors is read, since "
            "anything else could run code; save it with torch.save(model.state_dict(), path)"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} is damaged or truncated ({reason}); copy or download it again") from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(
            f"{path} holds a {type(state).__name__} that is not a plain state dict of tensors; "
            "save it with torch.save(model.state_dict(), path)"
        )
    return state


def _read_config(state: Mapping[str, Tensor], where: str, attention_scale: AttentionScale) -> ModelConfig:
    """The configuration that the keys and the two embedding tables imply; dropout, which is not recorded, is 0."""
    shapes: dict[str, tuple[int, int]] = {}
    for table in _RENAMED:
        tensor = state.get(table)
        if tensor is None or tensor.dim() != 2:
            raise CheckpointError(
                f"{where} is not in the notebook's format: {table!r} is missing or no matrix; "
                f"its keys begin with {', '.join(map(repr, list(state)[:3])) or 'nothing'}"
            )
        shapes[table] = (int(tensor.shape[0]), int(tensor.shape[1]))
    (vocab_size, n_embed), (block_size, _) = shapes.values()
    layers = [int(m[1]) for key in state if (m := re.match(r"blocks\.(\d+)\.", key))]
    heads = [int(m[1]) for key in state if (m := re.match(r"blocks\.0\.sa\.heads\.(\d+)\.", key))]
    try:
        variant = Variant(
            n_head=max(heads, default=-1) + 1,
            n_layer=max(layers, default=-1) + 1,
            n_embed=n_embed,
            dropout=0.0,
            block_size=block_size,
        )
        return ModelConfig(variant=variant, vocab_size=vocab_size, attention_scale=attention_scale)
    except ConfigError as error:
        raise CheckpointError(f"{where} holds no usable model: {error}") from error


def _expected_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Every key of the format with its shape, for one configuration."""
    variant, width = config.variant, config.variant.n_embed
    shapes: dict[str, tuple[int, ...]] = {
        "token_embedding_table.weight": (config.vocab_size, width),
        "position_embedding_table.weight": (variant.block_size, width),
    }
    for i in range(variant.n_layer):
        block = f"blocks.{i}"
        for h in range(variant.n_head):
            for projection in _PROJECTIONS:
                shapes[f"{block}.sa.heads.{h}.{projection}.weight"] = (variant.head_size, width)
            shapes[f"{block}.sa.heads.{h}.tril"] = (variant.block_size, variant.block_size)
        shapes |= {f"{block}.sa.proj.weight": (width, width), f"{block}.sa.proj.bias": (width,)}
        shapes |= {f"{block}.ffwd.net.0.weight": (4 * width, width), f"{block}.ffwd.net.0.bias": (4 * width,)}
        shapes |= {f"{block}.ffwd.net.2.weight": (width, 4 * width), f"{block}.ffwd.net.2.bias": (width,)}
        for norm in ("ln1", "ln2"):
            shapes |= {f"{block}.{norm}.weight": (width,), f"{block}.{norm}.bias": (width,)}
    shapes |= {"ln_f.weight": (width,), "ln_f.bias": (width,)}
    return shapes | {"lm_head.weight": (config.vocab_size, width), "lm_head.bias": (config.vocab_size,)}


def _check_tensors(state: Mapping[str, Any], config: ModelConfig, where: str) -> None:
    expected = _expected_shapes(config)
    # The causal mask is a buffer that only some saved files carry.
    missing = [key for key in expected if key not in state and not key.endswith(".tril")]
    unknown = [key for key in state if key not in expected]
    reshaped = [
        f"{key} has shape {tuple(state[key].shape)}, not {shape}"
        for key, shape in expected.items()
        if key in state and tuple(state[key].shape) != shape
    ]
    broken = [key for key in expected if key in state and not torch.isfinite(state[key]).all()]
    for problem, keys in (
        ("keys are missing", missing),
        ("keys are not of the format", unknown),
        ("tensors do not fit the rest", reshaped),
        ("tensors hold values that are not finite", broken),
    ):
        if keys:
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            raise CheckpointError(
                f"{where} is not a whole model in the notebook's format: {problem}: {', '.join(keys[:3])}{more}; "
                "save the complete state dict of one model"
            )
