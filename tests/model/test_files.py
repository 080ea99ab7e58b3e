"""Weights on disk: the notebook's format, and checkpoints of our own."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from gpt_experiments.config import ModelConfig, Variant
from gpt_experiments.corpus import Tokenizer
from gpt_experiments.errors import CheckpointError
from gpt_experiments.model import GPT, Checkpoint, load_checkpoint, load_notebook_file, save_checkpoint
from tests.reference.plain_gpt import PlainGPT

CONFIG = ModelConfig(variant=Variant(n_head=3, n_layer=2, n_embed=12, dropout=0.0, block_size=10), vocab_size=7)


@pytest.fixture
def plain() -> PlainGPT:
    torch.manual_seed(0)
    return PlainGPT(CONFIG).eval()


@pytest.fixture
def notebook(tmp_path: Path, plain: PlainGPT) -> Path:
    path = tmp_path / "model_weights.pth"
    torch.save(plain.state_dict(), path)
    return path


def test_a_notebook_file_gives_its_configuration_and_its_logits(notebook: Path, plain: PlainGPT) -> None:
    model = load_notebook_file(notebook)
    assert model.config == CONFIG
    assert not model.training
    tokens = torch.randint(7, (4, 10))
    torch.testing.assert_close(model(tokens), plain(tokens), atol=1e-5, rtol=1e-5)


def test_the_masks_may_be_missing(tmp_path: Path, plain: PlainGPT) -> None:
    path = tmp_path / "without.pth"
    torch.save({key: value for key, value in plain.state_dict().items() if not key.endswith("tril")}, path)
    assert load_notebook_file(path).config == CONFIG


def _saved(path: Path, value: Any) -> Path:
    torch.save(value, path)
    return path


def test_files_that_are_no_model_are_refused_with_the_reason(tmp_path: Path, notebook: Path, plain: PlainGPT) -> None:
    state = plain.state_dict()
    path = tmp_path / "bad.pth"

    def refused(match: str) -> None:
        with pytest.raises(CheckpointError, match=match):
            load_notebook_file(path)

    refused("no file of weights at .*bad.pth")
    path.write_bytes(notebook.read_bytes()[:3000])
    refused("damaged or truncated|no PyTorch file")
    path.write_bytes(b"")
    refused("damaged or truncated|no PyTorch file")
    path.write_text("hello")
    refused("no PyTorch file|damaged")
    _saved(path, plain)
    refused("holds more than tensors")
    path.write_bytes(pickle.dumps({"a": print}))
    refused("holds more than tensors")
    _saved(path, [1, 2])
    refused("holds a list that is not a plain state dict")
    _saved(path, {"epoch": 3, "model": state})
    refused("not a plain state dict of tensors")
    _saved(path, {})
    refused("not in the notebook's format")
    _saved(path, {f"module.{key}": value for key, value in state.items()})
    refused("its keys begin with 'module.token_embedding_table.weight'")
    _saved(path, {key: value for key, value in state.items() if "heads.1.key" not in key})
    refused(r"keys are missing: blocks\.0\.sa\.heads\.1\.key\.weight")
    _saved(path, {key: value for key, value in state.items() if ".heads.2." not in key})
    refused(r"blocks\.0\.sa\.heads\.0\.key\.weight has shape \(4, 12\), not \(6, 12\)")
    _saved(path, state | {"blocks.0.sa.rotary": torch.zeros(1)})
    refused(r"not of the format: blocks\.0\.sa\.rotary")
    _saved(path, state | {"lm_head.bias": torch.zeros(8)})
    refused(r"lm_head\.bias has shape \(8,\), not \(7,\)")
    _saved(path, state | {"ln_f.weight": torch.full((12,), float("nan"))})
    refused(r"not finite: ln_f\.weight")
    _saved(path, {key: value for key, value in state.items() if not key.startswith("blocks")})
    refused("n_head must be at least 1, but got 0")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    checkpoint = Checkpoint(model=GPT(CONFIG), tokenizer=Tokenizer("\n abcdé"), provenance={"seed": 3})
    save_checkpoint(checkpoint, tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def test_a_checkpoint_comes_back_as_it_was(folder: Path) -> None:
    torch.manual_seed(1)
    original = GPT(CONFIG).eval()
    loaded = load_checkpoint(folder)
    assert loaded.model.config == CONFIG
    assert loaded.tokenizer == Tokenizer("\n abcdé")
    assert loaded.provenance == {"seed": 3}
    tokens = torch.randint(7, (2, 10))
    assert torch.equal(loaded.model(tokens), original(tokens))


def test_damaged_checkpoints_are_refused_with_the_reason(folder: Path) -> None:
    config, weights = folder / "config.json", folder / "model.safetensors"
    described, whole = json.loads(config.read_text()), weights.read_bytes()

    def refused(match: str) -> None:
        with pytest.raises(CheckpointError, match=match):
            load_checkpoint(folder)
        config.write_text(json.dumps(described))
        weights.write_bytes(whole)

    weights.write_bytes(whole[:-10])
    refused("model.safetensors is missing, damaged")
    weights.unlink()
    refused("model.safetensors is missing, damaged")
    config.write_text("{")
    refused("not valid JSON")
    config.write_text(json.dumps(described | {"format": 99}))
    refused("has format 99; this program reads format 1")
    config.write_text(json.dumps(described | {"variant": {**described["variant"], "n_head": 5}}))
    refused("n_embed=12 is not divisible by n_head=5")
    config.write_text(json.dumps(described | {"variant": {**described["variant"], "n_layer": 1}}))
    refused("not of this configuration")
    config.write_text(json.dumps({key: value for key, value in described.items() if key != "vocabulary"}))
    refused("does not describe a model")
    config.unlink()
    refused("no checkpoint in")
