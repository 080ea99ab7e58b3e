"""Pre-trained weights in the notebook's format: a state dict with one query, key and value matrix for each head."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from gpt_experiments.config import ModelConfig
from gpt_experiments.errors import CheckpointError, ConfigError, shortened
from gpt_experiments.model.gpt import GPT
from gpt_experiments.model.weight_file import read_state_dict
from gpt_experiments.parameters import AttentionScale, Shape

MARKER_KEY: Final = "token_embedding_table.weight"
"""A key that only the notebook's format has."""

_PROJECTIONS = ("query", "key", "value")
_RENAMED = {
    MARKER_KEY: "token_embedding.weight",
    "position_embedding_table.weight": "position_embedding.weight",
}


def load_notebook_file(path: Path, *, attention_scale: AttentionScale = "n_embed") -> GPT:
    """The model in evaluation mode that the file at `path` holds; its configuration is read off keys and shapes.

    The file is one of PyTorch's or safetensors. Its state dict may lie in a dict with other entries, its keys may
    begin with `module.` or the like, its weights may be of half or double precision. It records neither dropout, which
    is set to 0, nor the vocabulary, nor the attention scale.

    Raises:
        CheckpointError: no such file, not a file of tensors, damaged, or not in this format.
    """
    return from_notebook_state_dict(
        read_state_dict(path, MARKER_KEY), where=shortened(path), attention_scale=attention_scale
    )


def from_notebook_state_dict(
    state: Mapping[str, Tensor], *, where: str = "the state dict", attention_scale: AttentionScale = "n_embed"
) -> GPT:
    """The model in evaluation mode with the weights of `state`, whose keys and shapes say its configuration.

    Weights become float32, the masks are left out.

    Raises:
        CheckpointError: a key is missing or unknown, or a tensor has an unexpected shape or type, or values that are
            not finite.
    """
    config = _read_config(state, where, attention_scale)
    _check_shapes(state, config, where)
    weights = {key: tensor.detach().to(torch.float32) for key, tensor in state.items() if not key.endswith(".tril")}
    _refuse(where, "tensors hold values that are not finite", [k for k, v in weights.items() if not v.isfinite().all()])
    model = GPT(config)
    model.load_state_dict(fuse_heads(weights, config.shape))
    return model.eval()


def fuse_heads(state: Mapping[str, Tensor], variant: Shape) -> dict[str, Tensor]:
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


def _read_config(state: Mapping[str, Tensor], where: str, attention_scale: AttentionScale) -> ModelConfig:
    """The configuration that the keys and the two embedding tables imply; dropout, which is not recorded, is 0."""
    shapes: dict[str, tuple[int, int]] = {}
    for table in _RENAMED:
        tensor = state.get(table)
        if tensor is None or tensor.dim() != 2 or not tensor.numel():
            raise CheckpointError(
                f"{where} is not in the notebook's format: {table!r} is missing or no matrix; "
                "give a state dict of the notebook's model"
            )
        shapes[table] = (int(tensor.shape[0]), int(tensor.shape[1]))
    (vocab_size, n_embed), (block_size, _) = shapes.values()
    n_layer = _count(state, r"blocks\.([0-9]+)\.", "blocks", where)
    n_head = _count(state, r"blocks\.0\.sa\.heads\.([0-9]+)\.", "heads", where)
    if n_layer * n_head > len(state):
        _refuse(where, "keys are missing", [f"not all {n_layer:,} blocks have {n_head:,} heads"])
    if n_embed % n_head:
        raise CheckpointError(
            f"{where} holds no usable model: its {n_embed:,} columns cannot be shared by {n_head:,} heads; "
            "save the complete state dict of one model"
        )
    try:
        variant = Shape(n_head=n_head, n_layer=n_layer, n_embed=n_embed, dropout=0.0, block_size=block_size)
        return ModelConfig(shape=variant, vocab_size=vocab_size, attention_scale=attention_scale)
    except ConfigError as error:
        raise CheckpointError(f"{where} holds no usable model: {error}") from error


def _count(state: Mapping[str, Tensor], pattern: str, what: str, where: str) -> int:
    """How many parts of a kind the keys number; they must be 0, 1, 2 and on, so a damaged key cannot ask for more."""
    numbers = {match[1] for key in state if (match := re.match(pattern, key))}
    expected = {str(number) for number in range(len(numbers))}
    if not numbers or numbers != expected:
        found = ", ".join(shortened(number, 20) for number in sorted(numbers - expected)[:3])
        raise CheckpointError(
            f"{where} holds no usable model: it has {len(numbers):,} {what}, numbered from 0 on"
            f"{f', but a key with {found}' if found else ''}; save the complete state dict of one model"
        )
    return len(numbers)


def _expected_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Every key of the format with its shape, for one configuration."""
    variant, width = config.shape, config.shape.n_embed
    shapes: dict[str, tuple[int, ...]] = {
        MARKER_KEY: (config.vocab_size, width),
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


def _check_shapes(state: Mapping[str, Tensor], config: ModelConfig, where: str) -> None:
    expected = _expected_shapes(config)
    # The causal mask is a buffer that only some saved files carry, of any type.
    masks = {key for key in expected if key.endswith(".tril")}
    _refuse(where, "keys are missing", [key for key in expected if key not in state and key not in masks])
    _refuse(where, "keys are not of the format", [key for key in state if key not in expected])
    kinds = {key: _unusable_kind(tensor) for key, tensor in state.items() if key not in masks}
    unusable = [f"{key} is {kind}" for key, kind in kinds.items() if kind]
    _refuse(where, "tensors are not of plain floating-point numbers", unusable)
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    reshaped = [f"{key} has shape {shapes[key]}, not {expected[key]}" for key in state if shapes[key] != expected[key]]
    _refuse(where, "tensors do not fit the rest", reshaped)


def _unusable_kind(tensor: Tensor) -> str | None:
    """What makes the tensor none of plain numbers that can be read; None where it is one."""
    if tensor.is_meta:
        return "without values (meta)"
    if tensor.is_nested or tensor.layout != torch.strided:
        return "sparse"
    if not tensor.is_floating_point():
        return str(tensor.dtype).removeprefix("torch.")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return "larger than its values"
    return None


def _refuse(where: str, problem: str, keys: list[str]) -> None:
    """Raise a CheckpointError that names the first three of the keys, if there are any."""
    if keys:
        shown = ", ".join(shortened(key, 100) for key in keys[:3])
        more = f" and {len(keys) - 3:,} more" if len(keys) > 3 else ""
        raise CheckpointError(
            f"{where} is not a whole model in the notebook's format: {problem}: {shown}{more}; "
            "save the complete state dict of one model"
        )
