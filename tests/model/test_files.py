"""Weights on disk: the notebook's format, and checkpoints of our own."""

from __future__ import annotations

import json
import math
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gpt_experiments.config import ModelConfig
from gpt_experiments.corpus import Tokenizer
from gpt_experiments.corpus.text import MAX_VOCABULARY
from gpt_experiments.errors import CheckpointError
from gpt_experiments.model import GPT, Checkpoint, load_checkpoint, load_notebook_file, save_checkpoint
from gpt_experiments.model.checkpoint import MAX_CHECKPOINT_BYTES
from gpt_experiments.parameters import MOST_WEIGHTS, Shape
from tests.reference.plain_gpt import PlainGPT

CONFIG = ModelConfig(shape=Shape(n_head=3, n_layer=2, n_embed=12, dropout=0.0, block_size=10), vocab_size=7)


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


def as_old_file(state: Mapping[str, Tensor], path: Path) -> None:
    torch.save(state, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
        lambda state: {f"module._orig_mod.{key}": value for key, value in state.items()},
        lambda state: {key.replace("blocks.1.", "blocks.1._orig_mod."): value for key, value in state.items()},
        lambda state: {"model": state, "epoch": 3, "loss": 1.5, "optimizer": {"state": {0: {"step": torch.ones(1)}}}},
        lambda state: {"state_dict": {f"model.{key}": value for key, value in state.items()}},
        lambda state: {"model_state_dict": state, "ema": state},
        lambda state: {"checkpoint": {"weights": state}},
        lambda state: {key: torch.nn.Parameter(value) for key, value in state.items() if "tril" not in key},
        lambda state: {key: value.bool() if "tril" in key else value for key, value in state.items()},
        lambda state: {key: value.double() for key, value in state.items()},
    ],
    ids="module orig_mod both inside wrapped lightning two deep parameters boolean-masks double".split(),
)
@pytest.mark.parametrize("write", [torch.save, as_old_file], ids=["new", "old"])
def test_weights_as_people_have_them_give_the_same_model(
    tmp_path: Path,
    plain: PlainGPT,
    change: Callable[[dict[str, Tensor]], Any],
    write: Callable[[Any, Path], None],
) -> None:
    path = tmp_path / "theirs.bin"
    write(change(plain.state_dict()), path)
    model, tokens = load_notebook_file(path), torch.randint(7, (4, 10))
    assert model.config == CONFIG
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    torch.testing.assert_close(model(tokens), plain(tokens), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_float32_with_the_same_values(
    tmp_path: Path, plain: PlainGPT, dtype: torch.dtype
) -> None:
    path = _saved(tmp_path / "half.pt", {key: value.to(dtype) for key, value in plain.state_dict().items()})
    head = load_notebook_file(path).lm_head.weight
    assert head.dtype == torch.float32
    assert torch.equal(head, plain.state_dict()["lm_head.weight"].to(dtype).float())


def test_safetensors_in_the_notebooks_keys_are_read(tmp_path: Path, plain: PlainGPT) -> None:
    path = tmp_path / "notebook.safetensors"
    save_file(plain.state_dict(), path)
    assert load_notebook_file(path).config == CONFIG
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    padding = (ord("<") - length) % 256  # so that the file begins as a web page does
    path.write_bytes(
        (length + padding).to_bytes(8, "little") + content[8 : 8 + length] + b" " * padding + content[8 + length :]
    )
    assert path.read_bytes().startswith(b"<")
    assert load_notebook_file(path).config == CONFIG


def test_what_is_no_model_is_refused_with_the_reason(tmp_path: Path, notebook: Path, plain: PlainGPT) -> None:
    state = plain.state_dict()
    path = tmp_path / "bad.pth"

    def refused(match: str) -> None:
        with pytest.raises(CheckpointError, match=match) as raised:
            load_notebook_file(path)
        assert "\n" not in str(raised.value)
        assert len(str(raised.value)) < 700

    refused("no file of weights at .*bad.pth")
    path.write_bytes(notebook.read_bytes()[:3000])
    refused("damaged or truncated")
    _saved(path, plain)
    refused("holds more than tensors .*PlainGPT.*torch.save")
    _saved(path, {"model": state, "seen": bytearray(3)})
    refused("holds more than tensors .a bytearray")
    path.write_bytes(pickle.dumps({"a": print}))
    refused("a pickle that torch.save did not write")
    _saved(path, [1, 2])
    refused("holds a list that is not a state dict")
    _saved(path, {"net": state, "ema": state})
    refused("holds 2 models .net, ema.")
    _saved(path, {})
    refused("not in the notebook's format: .* its keys begin with nothing")
    _saved(path, {"transformer.wte.weight": torch.ones(3), "lm_head.weight": torch.ones(2)})
    refused("its keys begin with 'transformer.wte.weight', 'lm_head.weight'")
    _saved(path, state | {5: torch.ones(2)})
    refused("5 is under a key that is no text")
    _saved(path, state | {"epoch": 3})
    refused("'epoch' is a int")
    _saved(path, state | {"_orig_mod.ln_f.bias": torch.ones(12)})
    refused("holds ln_f.bias twice")
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
    _saved(path, state | {"ln_f.weight": torch.full((12,), 1e300, dtype=torch.float64)})
    refused(r"not finite: ln_f\.weight")
    _saved(path, {key: value for key, value in state.items() if not key.startswith("blocks")})
    refused("it has 0 blocks")


@pytest.mark.parametrize("number", ["1000000000", "9" * 5000, "-1"])
@pytest.mark.parametrize("key", ["blocks.{}.ln1.weight", "blocks.0.sa.heads.{}.key.weight"])
def test_a_number_in_a_key_asks_for_nothing(tmp_path: Path, plain: PlainGPT, key: str, number: str) -> None:
    path = _saved(tmp_path / "bad.pth", plain.state_dict() | {key.format(number): torch.ones(12)})
    with pytest.raises(CheckpointError, match=r"numbered from 0 on|keys are not of the format") as raised:
        load_notebook_file(path)
    assert len(str(raised.value)) < 700


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tensor: tensor.to_sparse(), "sparse"),
        (lambda tensor: tensor.to_sparse_csr(), "sparse"),
        (lambda tensor: tensor.cfloat(), "complex64"),
        (lambda tensor: tensor.bool(), "bool"),
        (lambda tensor: tensor.int(), "int32"),
        (lambda tensor: tensor.to("meta"), "meta"),
        (lambda tensor: torch.zeros(1, 1).expand(tensor.shape), "larger than its values"),
        (lambda tensor: torch.zeros(1).expand(7, 10**12), "declares more values than it holds"),
        (lambda tensor: torch.empty(7, 10**12, device="meta"), "meta|columns"),
        (lambda tensor: torch.empty(0, 10**12), "no matrix|has shape"),
        (lambda tensor: torch.tensor(1.0), "no matrix|has shape"),
    ],
)
@pytest.mark.parametrize("key", ["token_embedding_table.weight", "lm_head.weight"])
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state")
def test_tensors_of_other_kinds_are_refused(
    tmp_path: Path, plain: PlainGPT, change: Callable[[Tensor], Tensor], reason: str, key: str
) -> None:
    state = plain.state_dict()
    path = _saved(tmp_path / "bad.pth", state | {key: change(state[key])})
    with pytest.raises(CheckpointError, match=reason):
        load_notebook_file(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"hello", "is no PyTorch file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 43\n", "Git LFS pointer.*git lfs pull"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html><html>", "web page.*download the file itself"),
        (b"GIF89a\x01\x00", "is a picture"),
        (b"%PDF-1.7", "PDF"),
        (b"\x1f\x8b\x08\x00", "gunzip"),
        (b'{"format": 1}', "JSON text"),
        (b"\x80\x04\x95\x00", "a pickle that torch.save did not write"),
    ],
)
def test_another_kind_of_file_is_named_with_what_to_do(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=f"weights.pth.* {expected}"):
        load_notebook_file(tmp_path / "weights.pth")


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, expected in (
        (tmp_path, "is a folder"),
        (tmp_path / "pipe", "is a pipe"),
        (Path("/dev/zero"), "a device"),
    ):
        with pytest.raises(CheckpointError, match=expected):
            load_notebook_file(path)
    for path, expected in ((Path("x" * 5000), "File name too long"), (Path("a\0b"), "null")):
        with pytest.raises(CheckpointError, match=expected) as raised:
            load_notebook_file(path)
        assert len(str(raised.value)) < 500


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read every file")
def test_a_file_without_permission_is_named(notebook: Path) -> None:
    notebook.chmod(0)
    with pytest.raises(CheckpointError, match="Permission denied"):
        load_notebook_file(notebook)


def test_zip_archives_are_checked_before_they_are_read(tmp_path: Path, notebook: Path, plain: PlainGPT) -> None:
    content = notebook.read_bytes()
    at = content.index(plain.state_dict()["lm_head.weight"].numpy().tobytes())
    bad = tmp_path / "bad.pth"
    bad.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    with pytest.raises(CheckpointError, match=r"damaged or truncated \(Bad CRC"):
        load_notebook_file(bad)
    with zipfile.ZipFile(notebook) as whole, zipfile.ZipFile(bad, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in whole.namelist():
            packed.writestr(name, whole.read(name))
    with pytest.raises(CheckpointError, match="compressed records"):
        load_notebook_file(bad)
    with zipfile.ZipFile(bad, "w") as other:
        other.writestr("word/document.xml", "<w/>")
    with pytest.raises(CheckpointError, match=r"a zip archive that torch\.save did not write"):
        load_notebook_file(bad)


def test_an_old_file_cannot_ask_for_more_than_it_holds(tmp_path: Path, plain: PlainGPT) -> None:
    path = tmp_path / "old.pth"
    as_old_file(plain.state_dict(), path)
    content, size = path.read_bytes(), plain.state_dict()["lm_head.weight"].numel()
    at = content.index(b"K" + bytes([size]), content.index(b"lm_head.weight"))
    path.write_bytes(content[:at] + b"J\xff\xff\xff\x7f" + content[at + 2 :])  # 2**31 - 1 values
    with pytest.raises(CheckpointError, match="declares more values than it holds"):
        load_notebook_file(path)


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


@pytest.mark.parametrize("n_layer", [1, 2, 4, 32, 512])
def test_a_checkpoint_of_every_model_that_may_be_trained_is_of_a_size_that_is_read(n_layer: int) -> None:
    widest = min(16_384, math.isqrt(MOST_WEIGHTS // (12 * n_layer)))
    variant = Shape(n_head=1, n_layer=n_layer, n_embed=widest, block_size=65_536)
    file_bytes = 4 * ModelConfig(shape=variant, vocab_size=MAX_VOCABULARY).n_params + 2**20  # a header and weights
    assert file_bytes <= MAX_CHECKPOINT_BYTES


def test_a_checkpoint_is_refused_for_its_size_only_beyond_what_can_be_trained(folder: Path, tmp_path: Path) -> None:
    """The files are holes; the smaller one is seen to hold no weights, so it was not refused for its size."""
    for size, expected in (
        (24 * 2**30, "model.safetensors is damaged"),
        (MAX_CHECKPOINT_BYTES + 1, "bytes, but at most .* are read; give a checkpoint that this program saved"),
    ):
        os.truncate(folder / "model.safetensors", 0)
        os.truncate(folder / "model.safetensors", size)
        with pytest.raises(CheckpointError, match=expected):
            load_checkpoint(folder)
    foreign = tmp_path / "foreign.pth"
    foreign.touch()
    os.truncate(foreign, 5 * 2**30)
    with pytest.raises(CheckpointError, match="at most 4,294,967,296 are read; save the weights alone"):
        load_notebook_file(foreign)


def test_damaged_checkpoints_are_refused_with_the_reason(folder: Path) -> None:
    config, weights = folder / "config.json", folder / "model.safetensors"
    described, whole = json.loads(config.read_text()), weights.read_bytes()

    def refused(match: str) -> None:
        with pytest.raises(CheckpointError, match=match):
            load_checkpoint(folder)
        config.write_text(json.dumps(described))
        weights.write_bytes(whole)

    weights.write_bytes(whole[:-10])
    refused("model.safetensors is damaged")
    weights.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 43\n")
    refused("model.safetensors is a Git LFS pointer.*git lfs pull")
    weights.unlink()
    refused("model.safetensors does not exist")
    config.write_text("{")
    refused("not valid JSON")
    config.write_text("[" * 100_000)
    refused("not valid JSON")
    config.write_text('{"model_type": "gpt2"}')
    refused("no checkpoint's configuration")
    for wrong in (99, True, 1.0, "1" * 500):
        config.write_text(json.dumps(described | {"format": wrong}))
        refused("has format .*; this program reads format 1")
    config.unlink()
    refused("no checkpoint in .*config.json does not exist")


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("variant.n_head", 5, "n_embed=12 is not divisible by n_head=5"),
        ("variant.n_head", 10**400, "n_head"),
        ("variant.n_layer", 1, "n_layer is 1, but the weights have 2"),
        ("variant.n_layer", 10**9, "n_layer is 1000000000, but the weights have 2"),
        ("variant.n_embed", 10**12, "n_embed is 1000000000000, but the weights have 12"),
        ("variant.n_embed", "wide" * 1000, "n_embed is 'wide"),
        ("variant.block_size", 10**12, "block_size is 1000000000000, but the weights have 10"),
        ("variant.dropout", 10**400, "does not describe a model"),
        ("variant.colour", 1, "colour"),
        ("variant", [1, 2], "variant must be a JSON object, but is a list"),
        ("attention_scale", ["n_embed"], "attention_scale must be one of"),
        ("vocabulary", "\n abcdéf", "token_embedding.weight has shape .7, 12., not .8, 12."),
        ("vocabulary", ["a", "b"], "vocabulary must be a text, but is a list"),
        ("vocabulary", "\n abcd\ud800", "half a character"),
        ("vocabulary", "aabcdef", "twice"),
        ("provenance", "nobody", "a str as its provenance"),
        ("provenance", None, "a NoneType as its provenance"),
        ("provenance", {"label": "\ud800"}, "half a character in its provenance"),
    ],
)
def test_a_configuration_that_does_not_fit_its_weights_is_refused_before_anything_is_made_of_it(
    folder: Path, field: str, value: Any, expected: str
) -> None:
    described = json.loads((folder / "config.json").read_text())
    *place, name = field.split(".")
    (described[place[0]] if place else described)[name] = value
    (folder / "config.json").write_text(json.dumps(described))
    with pytest.raises(CheckpointError, match=expected) as raised:
        load_checkpoint(folder)
    assert len(str(raised.value)) < 600


@pytest.mark.parametrize("field", ["vocabulary", "variant", "attention_scale", "variant.n_head", "variant.dropout"])
def test_a_configuration_that_lacks_something_is_refused(folder: Path, field: str) -> None:
    described = json.loads((folder / "config.json").read_text())
    *place, name = field.split(".")
    del (described[place[0]] if place else described)[name]
    (folder / "config.json").write_text(json.dumps(described))
    with pytest.raises(CheckpointError, match=f"does not describe a model .*{name}"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda tensors: tensors | {"ln_f.bias": torch.full((12,), float("inf"))}, "ln_f.bias holds values that are"),
        (lambda tensors: tensors | {"ln_f.bias": torch.ones(12, dtype=torch.int64)}, "ln_f.bias is torch.int64"),
        (lambda tensors: tensors | {"ln_f.bias": torch.ones(3)}, r"ln_f.bias has shape \(3,\), not \(12,\)"),
        (lambda tensors: tensors | {"more": torch.ones(3)}, "more is not of this model"),
        (lambda tensors: {key: tensors[key] for key in tensors if key != "ln_f.bias"}, "ln_f.bias is missing"),
        (lambda tensors: {"x": torch.ones(1)}, "n_layer is 2, but the weights have 0"),
    ],
)
def test_weights_that_do_not_fit_their_configuration_are_refused(
    folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]], expected: str
) -> None:
    save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors.new")
    (folder / "model.safetensors.new").replace(folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=expected):
        load_checkpoint(folder)


def test_a_checkpoint_of_half_precision_loads_as_float32(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file({key: tensor.bfloat16() for key, tensor in tensors.items()}, folder / "half")
    (folder / "half").replace(folder / "model.safetensors")
    assert {parameter.dtype for parameter in load_checkpoint(folder).model.parameters()} == {torch.float32}
