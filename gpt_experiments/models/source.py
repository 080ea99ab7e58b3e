"""Which model a user means: a run, a registered model, a checkpoint, or a notebook-format file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import CheckpointError, shortened
from gpt_experiments.model import Checkpoint, load_checkpoint, load_notebook_file
from gpt_experiments.model.checkpoint import CONFIG_FILE, WEIGHTS_FILE
from gpt_experiments.parameters import AttentionScale
from gpt_experiments.scratch import scratch_folder
from gpt_experiments.tracking import model_folder

_SEARCH_DEPTH: Final = 3
_SEARCHED_FOLDERS: Final = 2000
_FOREIGN_WEIGHTS: Final = (".pth", ".pt", ".bin", ".ckpt", ".safetensors")


def load_model(location: str, *, tracking_uri: str | None, open_corpus: Callable[[], Corpus]) -> Checkpoint:
    """The model at `location`, on the CPU, in evaluation mode.

    Args:
        location: a run id, a `models:/` URI, a checkpoint folder, a file in it or a folder above it, or the path of a
            notebook-format file.
        open_corpus: opened only for a notebook-format file, which records no vocabulary.

    Raises:
        CheckpointError: there is nothing of these kinds, or no complete model.
        TrackingError: the run or registered model cannot be read.
    """
    if location.startswith("models:/") or (re.fullmatch("[0-9a-f]{32}", location) and not os.path.exists(location)):
        with scratch_folder() as folder:
            return load_checkpoint(_checkpoint_inside(model_folder(location, tracking_uri, into=folder)))
    if os.path.exists(location):
        return load_path(Path(location), open_corpus)
    raise CheckpointError(
        f"{shortened(repr(location), 120)} is no model: there is no such file or folder, and a run id has 32 "
        "hexadecimal digits; give a run id, models:/NAME/VERSION, a checkpoint folder, or a notebook-format .pth file"
    )


def load_path(
    path: Path, open_corpus: Callable[[], Corpus], *, attention_scale: AttentionScale = "n_embed"
) -> Checkpoint:
    """Load the checkpoint in or just below a folder, the one of a file in it, or the notebook-format file at `path`.

    Args:
        open_corpus: gives the vocabulary of a notebook-format file, which records none.
        attention_scale: of a notebook-format file, which does not record it either.

    Raises:
        CheckpointError: there is no complete model, or its vocabulary has another size than the corpus's.
    """
    if path.is_dir():
        return load_checkpoint(_checkpoint_inside(path))
    if path.name == CONFIG_FILE or (path.name == WEIGHTS_FILE and (path.parent / CONFIG_FILE).exists()):
        return load_checkpoint(path.parent)
    if path.name == WEIGHTS_FILE:
        raise CheckpointError(
            f"{shortened(path)} has no {CONFIG_FILE} beside it, which says what its weights mean; "
            "give the whole folder of the checkpoint"
        )
    model = load_notebook_file(path, attention_scale=attention_scale)
    corpus = open_corpus()
    if model.config.vocab_size != corpus.vocab_size:
        raise CheckpointError(
            f"{shortened(path)} was trained on {model.config.vocab_size:,} distinct characters, but "
            f"{shortened(corpus.name, 60)} has {corpus.vocab_size:,}; give the text that it was trained on with --data"
        )
    return Checkpoint(model=model, tokenizer=corpus.tokenizer, provenance={"label": shortened(path.name, 60)})


def _checkpoint_inside(folder: Path) -> Path:
    """The checkpoint's own folder: `folder`, or the only one within a few levels below it.

    Raises:
        CheckpointError: there is none, or there are several.
    """
    if (folder / CONFIG_FILE).exists():
        return folder
    found = sorted(_checkpoints_below(folder))
    if len(found) == 1:
        return found[0]
    where = shortened(folder)
    if found:
        names = ", ".join(shortened(path.relative_to(folder), 60) for path in found[:3])
        more = f" and {len(found) - 3:,} more" if len(found) > 3 else ""
        raise CheckpointError(f"{where} holds {len(found):,} checkpoints; give one of them: {names}{more}")
    others = sorted(path.name for path in folder.iterdir() if path.suffix in _FOREIGN_WEIGHTS)
    remedy = f"give the file in it, {shortened(others[0], 60)}" if len(others) == 1 else "give a checkpoint's folder"
    raise CheckpointError(f"no checkpoint in {where}: neither it nor a folder in it holds {CONFIG_FILE}; {remedy}")


def _checkpoints_below(folder: Path) -> Iterator[Path]:
    """Yield folders that hold a checkpoint's two files; the depth and the number of folders are limited."""
    for number, (place, folders, files) in enumerate(os.walk(folder)):
        if {CONFIG_FILE, WEIGHTS_FILE} <= set(files):
            yield Path(place)
        if len(Path(place).relative_to(folder).parts) >= _SEARCH_DEPTH:
            folders.clear()
        if number >= _SEARCHED_FOLDERS:
            return
