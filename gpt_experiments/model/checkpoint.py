"""A trained model on disk: weights, configuration and vocabulary, enough to rebuild it anywhere."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from gpt_experiments.config import ModelConfig, Variant
from gpt_experiments.corpus.tokenizer import Tokenizer
from gpt_experiments.errors import CheckpointError, ExperimentError
from gpt_experiments.model.gpt import GPT

WEIGHTS_FILE: Final = "model.safetensors"
CONFIG_FILE: Final = "config.json"
_FORMAT: Final = 1


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
        "variant": dataclasses.asdict(config.variant),
        "attention_scale": config.attention_scale,
        "vocabulary": checkpoint.tokenizer.vocabulary,
        "provenance": checkpoint.provenance,
    }
    save_file(
        {name: tensor.contiguous() for name, tensor in checkpoint.model.state_dict().items()}, folder / WEIGHTS_FILE
    )
    (folder / CONFIG_FILE).write_text(json.dumps(described, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read back what `save_checkpoint` wrote, on the CPU.

    Raises:
        CheckpointError: a file is missing or damaged, or the weights do not fit the configuration.
    """
    described = _read_config(folder)
    try:
        tokenizer = Tokenizer(described["vocabulary"])
        model = GPT(
            ModelConfig(
                variant=Variant(**described["variant"]),
                vocab_size=tokenizer.vocab_size,
                attention_scale=described["attention_scale"],
            )
        )
    except (KeyError, TypeError, ExperimentError) as error:
        raise CheckpointError(f"{folder / CONFIG_FILE} does not describe a model ({error}); save it again") from error
    try:
        model.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except (SafetensorError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{folder / WEIGHTS_FILE} is missing, damaged or not of this configuration ({reason}); save it again"
        ) from error
    return Checkpoint(model=model.eval(), tokenizer=tokenizer, provenance=described.get("provenance", {}))


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG_FILE
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(
            f"no checkpoint in {folder}: {CONFIG_FILE} cannot be read ({error.strerror}); "
            f"give a folder that holds {CONFIG_FILE} and {WEIGHTS_FILE}"
        ) from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}); save the checkpoint again") from error
    if not isinstance(described, dict) or described.get("format") != _FORMAT:
        found = described.get("format") if isinstance(described, dict) else type(described).__name__
        raise CheckpointError(f"{path} has format {found!r}; this program reads format {_FORMAT}; update the program")
    return described
