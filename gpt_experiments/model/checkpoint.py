"""A trained model on disk: weights, configuration and vocabulary, enough to rebuild it anywhere."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gpt_experiments.config import ModelConfig
from gpt_experiments.corpus.files import file_problem
from gpt_experiments.corpus.tokenizer import Tokenizer
from gpt_experiments.errors import CheckpointError, ExperimentError, shortened
from gpt_experiments.model.file_kinds import refuse_other_kinds
from gpt_experiments.model.gpt import GPT
from gpt_experiments.parameters import MOST_WEIGHTS, SHAPE, Shape

WEIGHTS_FILE: Final = "model.safetensors"
CONFIG_FILE: Final = "config.json"
MAX_CHECKPOINT_BYTES: Final = 4 * MOST_WEIGHTS + 13 * 2**30
"""No model that may be trained has a larger file: its blocks in float32, at most 12 GiB of embeddings (the vocabulary
twice, and the context, each of at most 65,536 rows that are 16,384 wide), and biases."""
_FORMAT: Final = 1
_MAX_CONFIG_BYTES: Final = 16 * 2**20


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A model in evaluation mode, the tokenizer it was trained with, and where it comes from (plain JSON values)."""

    model: GPT
    tokenizer: Tokenizer
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)


def save_checkpoint(checkpoint: Checkpoint, folder: Path) -> None:
    """Write the checkpoint's two files, `model.safetensors` and `config.json`, into `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    config = checkpoint.model.config
    described = {
        "format": _FORMAT,
        "variant": dataclasses.asdict(config.shape),
        "attention_scale": config.attention_scale,
        "vocabulary": checkpoint.tokenizer.vocabulary,
        "provenance": checkpoint.provenance,
    }
    save_file(
        {name: tensor.contiguous() for name, tensor in checkpoint.model.state_dict().items()}, folder / WEIGHTS_FILE
    )
    (folder / CONFIG_FILE).write_text(json.dumps(described, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read back what `save_checkpoint` wrote, on the CPU; weights of another precision become float32.

    What the configuration asks for is compared with the weights before anything is made from it.

    Raises:
        CheckpointError: a file is missing or damaged, or the weights do not fit the configuration.
    """
    where, described = shortened(folder / CONFIG_FILE), _read_config(folder)
    weights = _read_weights(folder / WEIGHTS_FILE)
    try:
        tokenizer = _tokenizer(described.get("vocabulary"))
        config = _model_config(described, tokenizer, weights)
    except (KeyError, TypeError, OverflowError, ExperimentError) as error:
        reason = shortened(f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else error, 200)
        raise CheckpointError(f"{where} does not describe a model ({reason}); save the checkpoint again") from error
    provenance = _provenance(described, where)
    _check_weights(weights, config, shortened(folder / WEIGHTS_FILE))
    model = GPT(config)
    model.load_state_dict(weights)
    return Checkpoint(model=model.eval(), tokenizer=tokenizer, provenance=provenance)


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG_FILE
    where, problem = shortened(path), file_problem(path, _MAX_CONFIG_BYTES)
    if problem is not None:
        raise CheckpointError(
            f"no checkpoint in {shortened(folder)}: {CONFIG_FILE} {problem}; "
            f"give a folder that holds {CONFIG_FILE} and {WEIGHTS_FILE}"
        )
    try:
        described = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        reason = shortened(error, 100)
        raise CheckpointError(f"{where} is not valid JSON ({reason}); save the checkpoint again") from error
    found = described.get("format") if isinstance(described, dict) else None
    if not isinstance(described, dict) or "format" not in described:
        raise CheckpointError(f"{where} is no checkpoint's configuration; give a folder that this program saved")
    if type(found) is not int or found != _FORMAT:
        raise CheckpointError(
            f"{where} has format {shortened(repr(found), 40)}; this program reads format {_FORMAT}; update the program"
        )
    return described


def _read_weights(path: Path) -> dict[str, Tensor]:
    """Every tensor, as the file has it; safetensors checks that they are as large as the file."""
    where, problem = shortened(path), file_problem(path, MAX_CHECKPOINT_BYTES)
    if problem is not None and problem.startswith("has "):
        raise CheckpointError(f"{where} {problem}; give a checkpoint that this program saved")
    try:
        if problem is None:
            refuse_other_kinds(path)
            return load_file(path)
    except CheckpointError:
        raise
    except Exception as error:  # its reader has no list of what it raises on damaged bytes
        problem = f"is damaged ({shortened(error, 100)})"
        raise CheckpointError(f"{where} {problem}; copy the whole checkpoint again") from error
    raise CheckpointError(f"{where} {problem}; copy the whole checkpoint again")


def _provenance(described: Mapping[str, Any], where: str) -> dict[str, Any]:
    provenance = described.get("provenance", {})
    if not isinstance(provenance, dict):
        problem = f"a {type(provenance).__name__} as its provenance, which must be a JSON object"
        raise CheckpointError(f"{where} has {problem}; save the checkpoint again")
    try:
        json.dumps(provenance, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        problem = "half a character in its provenance, which cannot be written as UTF-8"
        raise CheckpointError(f"{where} has {problem}; save the checkpoint again") from error
    return provenance


def _tokenizer(vocabulary: object) -> Tokenizer:
    if not isinstance(vocabulary, str):
        raise CheckpointError(f"the vocabulary must be a text, but is a {type(vocabulary).__name__}")
    if any("\ud800" <= character <= "\udfff" for character in vocabulary):
        raise CheckpointError("the vocabulary holds half a character, which cannot be written as UTF-8")
    return Tokenizer(vocabulary)


def _model_config(described: Mapping[str, Any], tokenizer: Tokenizer, weights: Mapping[str, Tensor]) -> ModelConfig:
    """What the configuration describes, after its sizes are found to be those of the weights.

    Raises:
        KeyError, TypeError, OverflowError, ExperimentError: it describes no model, or one of other sizes.
    """
    variant = described["variant"]
    if not isinstance(variant, dict):
        raise CheckpointError(f"the variant must be a JSON object, but is a {type(variant).__name__}")
    for name, declared in SHAPE.items():
        if (
            name not in variant and not declared.is_younger
        ):  # else its default would stand in for it, and the model would be another one
            raise KeyError(name)
    sizes = {
        name: len(tensor)
        for name, key in (("n_embed", "ln_f.weight"), ("block_size", "position_embedding.weight"))
        if (tensor := weights.get(key)) is not None and tensor.numel() and tensor.dim()
    } | {"n_layer": len({key.split(".")[1] for key in weights if key.startswith("blocks.")})}
    for name, size in sizes.items():
        if variant[name] != size:
            raise CheckpointError(f"{name} is {shortened(repr(variant[name]), 40)}, but the weights have {size:,}")
    if len(sizes) < 3:
        raise CheckpointError("the weights are of another model")
    return ModelConfig(
        shape=Shape(**variant), vocab_size=tokenizer.vocab_size, attention_scale=described["attention_scale"]
    )


def _expected_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Every key of the model's state dict with its shape; no model is built, which would take memory for it."""
    variant, width = config.shape, config.shape.n_embed
    linears = {
        "attention.proj": (width, width),
        "feed_forward.0": (4 * width, width),
        "feed_forward.2": (width, 4 * width),
    }
    shapes: dict[str, tuple[int, ...]] = {
        "token_embedding.weight": (config.vocab_size, width),
        "position_embedding.weight": (variant.block_size, width),
        "lm_head.weight": (config.vocab_size, width),
        "lm_head.bias": (config.vocab_size,),
    }
    for i in range(variant.n_layer):
        shapes[f"blocks.{i}.attention.qkv.weight"] = (3 * width, width)
        for name, shape in linears.items():
            shapes |= {f"blocks.{i}.{name}.weight": shape, f"blocks.{i}.{name}.bias": shape[:1]}
    for norm in ("ln_f", *(f"blocks.{i}.{name}" for i in range(variant.n_layer) for name in ("ln1", "ln2"))):
        shapes |= {f"{norm}.weight": (width,), f"{norm}.bias": (width,)}
    return shapes


def _check_weights(weights: Mapping[str, Tensor], config: ModelConfig, where: str) -> None:
    expected = _expected_shapes(config)
    problems = [f"{key} is missing" for key in expected if key not in weights]
    problems += [f"{key} is not of this model" for key in weights if key not in expected]
    if not problems:
        problems = [
            f"{key} has shape {tuple(weights[key].shape)}, not {shape}"
            for key, shape in expected.items()
            if tuple(weights[key].shape) != shape
        ]
    if not problems:
        problems = [f"{key} is {tensor.dtype}" for key, tensor in weights.items() if not tensor.is_floating_point()]
    if not problems:
        # As float32, which the model computes in, and in which a large value of double precision is infinite.
        finite = {key: bool(tensor.to(torch.float32).isfinite().all()) for key, tensor in weights.items()}
        problems = [f"{key} holds values that are not finite" for key in weights if not finite[key]]
    if problems:
        more = f" and {len(problems) - 3:,} more" if len(problems) > 3 else ""
        raise CheckpointError(
            f"{where} is damaged or not of this configuration ({', '.join(shortened(p, 90) for p in problems[:3])}"
            f"{more}); copy the whole checkpoint again"
        )
