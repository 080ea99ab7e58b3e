"""Damaged and foreign files: each is read, or refused in one short message; none ends in a traceback.

GPT_EXPERIMENTS_FUZZ=100 tries a hundred times as many. `pytest -s` shows how many of each kind were tried, and how long
the slowest took.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from gpt_experiments.config import ModelConfig
from gpt_experiments.corpus import Tokenizer
from gpt_experiments.corpus.sources import load_corpus
from gpt_experiments.errors import CheckpointError, CorpusError, ExperimentError
from gpt_experiments.model import GPT, Checkpoint, generate, load_checkpoint, load_notebook_file, save_checkpoint
from gpt_experiments.parameters import Shape
from tests.fuzz.damage import ODD_VALUES, mutated, mutated_archive, noise, truncated, with_odd_value
from tests.reference.plain_gpt import PlainGPT

TIMES: Final = int(os.environ.get("GPT_EXPERIMENTS_FUZZ", "1"))
CONFIG: Final = ModelConfig(shape=Shape(n_head=2, n_layer=2, n_embed=4, dropout=0.0, block_size=6), vocab_size=5)
TEXT: Final = "Speak, speak.\nYou are all resolved rather to die than to famish?\n" * 4


def survive(kind: str, read: Callable[[], object], error: type[ExperimentError], count: int, seed: int) -> None:
    """Read one input, which may be refused with `error` in one short line."""
    try:
        read()
    except error as refused:
        message = str(refused)
        assert "\n" not in message, (kind, count, seed)
        assert len(message) < 800, (kind, count, seed)
    except Exception as unexpected:
        raise AssertionError(f"{kind} file {count} of seed {seed} ended in {unexpected!r}") from unexpected


def try_all(kind: str, inputs: Iterator[Callable[[], object]], error: type[ExperimentError], seed: int = 0) -> None:
    slowest, count = 0.0, 0
    for count, read in enumerate(inputs, start=1):
        started = time.perf_counter()
        survive(kind, read, error, count, seed)
        slowest = max(slowest, time.perf_counter() - started)
    print(f"\n{kind}: {count:,} tried, slowest {slowest:.2f} s")


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return PlainGPT(CONFIG).state_dict()


@pytest.fixture(scope="module")
def notebooks(state: dict[str, Tensor]) -> list[bytes]:
    """The same model as a file of each kind that is read."""
    new, old = io.BytesIO(), io.BytesIO()
    torch.save(state, new)
    torch.save({"model": state, "epoch": 3}, old, _use_new_zipfile_serialization=False)
    return [new.getvalue(), old.getvalue(), save(state)]


def read_notebook(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    write_a_little(load_notebook_file(path))


def write_a_little(model: GPT) -> None:
    """What loads must also serve."""
    generate(model, torch.zeros(1, dtype=torch.int64), max_new_tokens=2, seed=0)


def test_mutated_notebook_files(notebooks: list[bytes], tmp_path: Path) -> None:
    def inputs() -> Iterator[Callable[[], object]]:
        random = Random(1)
        for number in range(40 * TIMES):
            content = notebooks[number % len(notebooks)]
            inside = content is notebooks[0] and random.random() < 0.7
            changed = (
                mutated_archive(content, random)
                if inside
                else mutated(content, random, reach=random.choice((None, 1500)))
            )
            yield lambda changed=changed: read_notebook(tmp_path / "weights.pth", changed)

    try_all("mutated notebook", inputs(), CheckpointError)


def test_truncated_notebook_files(notebooks: list[bytes], tmp_path: Path) -> None:
    def inputs() -> Iterator[Callable[[], object]]:
        random = Random(2)
        for number in range(20 * TIMES):
            changed = truncated(notebooks[number % len(notebooks)], random)
            yield lambda changed=changed: read_notebook(tmp_path / "weights.pth", changed)

    try_all("truncated notebook", inputs(), CheckpointError)


def odd_tensor(tensor: Tensor, random: Random) -> Any:
    """Something else under the tensor's key."""
    shape = [random.choice((0, 1, 2, 3, 7)) for _ in range(random.randrange(4))]
    return random.choice(
        (
            lambda: torch.zeros(shape),
            lambda: torch.zeros(1).expand(4, random.choice((3, 10**6, 10**12))),
            lambda: torch.empty(5, random.choice((4, 10**12)), device="meta"),
            lambda: torch.empty(0, 10**12),
            lambda: tensor.to(random.choice((torch.int8, torch.bool, torch.complex64, torch.float64, torch.bfloat16))),
            lambda: tensor.to_sparse(),
            lambda: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
            lambda: torch.full_like(tensor, random.choice((float("nan"), float("inf"), 3e38))),
            lambda: tensor.t() if tensor.dim() == 2 else tensor[None],
            lambda: random.choice(ODD_VALUES),
        )
    )()


def odd_key(key: str, random: Random) -> Any:
    number = random.choice(("0", "1", "2", "7", "1000000000", "9" * 5000, "-1", "01", "x", "\u0663"))
    return random.choice(
        (
            f"module.{key}",
            f"blocks.{number}.ln1.weight",
            f"blocks.0.sa.heads.{number}.key.weight",
            key.upper(),
            key[:-3],
            3,
            None,
            ("a", 1),
            "x" * 5000,
            "\ud800",
            "",
        )
    )


def odd_state(state: dict[str, Tensor], random: Random) -> Any:
    """A state dict of which some entries are odd, perhaps inside something else."""
    changed: dict[Any, Any] = dict(state)
    for _ in range(random.randint(0, 3)):
        key = random.choice(list(state))
        match random.randrange(3):
            case 0:
                changed[key] = odd_tensor(state[key], random)
            case 1:
                changed[odd_key(key, random)] = changed.pop(key, state[key])
            case _:
                changed[odd_key(key, random)] = odd_tensor(state[key], random)
    name = random.choice(("model", "state_dict", "ema", "", 3))
    return random.choice((changed, changed, {name: changed}, {name: changed, "ema": state}, [changed], {1: {2: state}}))


def odd_file(state: dict[str, Tensor], random: Random) -> bytes:
    """The next odd state dict that torch itself does not refuse to write, in a new or an old file."""
    while True:
        written, old = io.BytesIO(), random.random() < 0.3
        with warnings.catch_warnings(), contextlib.suppress(RuntimeError, NotImplementedError, ValueError, TypeError):
            warnings.simplefilter("ignore")  # of kinds of tensors that torch will not have for ever
            torch.save(odd_state(state, random), written, _use_new_zipfile_serialization=not old)
            return written.getvalue()


def test_random_notebook_files(state: dict[str, Tensor], tmp_path: Path) -> None:
    def inputs() -> Iterator[Callable[[], object]]:
        random = Random(3)
        for number in range(75 * TIMES):
            content = odd_file(state, random) if number % 2 else noise(random)
            yield lambda content=content: read_notebook(tmp_path / "weights.pth", content)

    try_all("random notebook", inputs(), CheckpointError)


def read_checkpoint(folder: Path) -> None:
    loaded = load_checkpoint(folder)
    json.dumps([loaded.provenance, loaded.tokenizer.vocabulary], ensure_ascii=False).encode()
    loaded.tokenizer.decode([0]).encode()
    write_a_little(loaded.model)


def test_damaged_checkpoints(tmp_path: Path) -> None:
    provenance = {"label": "n_head=2", "seed": 3, "losses": {"val_loss": 1.5}}
    save_checkpoint(Checkpoint(model=GPT(CONFIG), tokenizer=Tokenizer("\n abc"), provenance=provenance), tmp_path)
    config, weights = tmp_path / "config.json", tmp_path / "model.safetensors"
    described, whole = json.loads(config.read_text()), weights.read_bytes()
    header = int.from_bytes(whole[:8], "little")

    def damage(random: Random) -> None:
        text, content = json.dumps(described).encode(), whole
        match random.randrange(6):
            case 0:
                text = random.choice((mutated(text, random), truncated(text, random), noise(random)))
            case 1:
                content = random.choice((mutated(whole, random, reach=header + 8), truncated(whole, random)))
            case 2:
                names = with_odd_value(json.loads(whole[8 : 8 + header]), random)
                packed = json.dumps(names).encode()
                content = len(packed).to_bytes(8, "little") + packed + whole[8 + header :]
            case _:
                text = json.dumps(with_odd_value(described, random)).encode()
        config.write_bytes(text)
        weights.write_bytes(content)

    def inputs() -> Iterator[Callable[[], object]]:
        random = Random(4)
        for _ in range(50 * TIMES):
            damage(random)
            yield lambda: read_checkpoint(tmp_path)

    try_all("damaged checkpoint", inputs(), CheckpointError)


def odd_text(random: Random) -> bytes:
    text = random.choice((TEXT, "a", "", "\r\n\r" * 20, "\x00", "ab" * 5, "\u4e16\U0001f600\u0301" * 30))
    encoding = random.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-7"))
    content = text.encode(encoding)
    extra = random.choice((b"", b"\xed\xa0\x80", b"\xff", b"\0", b"\r", b"\xef\xbb\xbf", b"\xf4\x90\x80\x80"))
    content += extra
    return random.choice((content, content, mutated(content, random), truncated(content + b" ", random), noise(random)))


def read_corpus(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    corpus = load_corpus(path)
    assert corpus.tokenizer.decode(corpus.tokenizer.encode(corpus.text)) == corpus.text
    assert len(corpus.train) + len(corpus.val) == len(corpus.text)
    corpus.require_context(8)


def test_odd_corpora(tmp_path: Path) -> None:
    def inputs() -> Iterator[Callable[[], object]]:
        random = Random(5)
        for _ in range(100 * TIMES):
            content = odd_text(random)
            yield lambda content=content: read_corpus(tmp_path / "text.txt", content)

    try_all("odd corpus", inputs(), CorpusError)
