"""Which model a user means: a run, a registered model, a checkpoint folder, or a notebook-format file."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from gpt_experiments.config import AttentionScale
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import CheckpointError
from gpt_experiments.model import Checkpoint, load_checkpoint, load_notebook_file
from gpt_experiments.model.checkpoint import CONFIG_FILE
from gpt_experiments.tracking import model_folder


def load_model(location: str, *, tracking_uri: str | None, open_corpus: Callable[[], Corpus]) -> Checkpoint:
    """The model at `location`, on the CPU, in evaluation mode.

    Args:
        location: a run id, a `models:/` URI, a checkpoint folder, or the path of a notebook-format `.pth`.
        open_corpus: opened only for a notebook-format file, which records no vocabulary.

    Raises:
        CheckpointError: nothing of the four kinds is there, or what is there is no whole model.
        TrackingError: the run or registered model cannot be read.
    """
    path = Path(location)
    if location.startswith("models:/") or (re.fullmatch("[0-9a-f]{32}", location) and not path.exists()):
        with tempfile.TemporaryDirectory() as folder:
            return load_checkpoint(_checkpoint_inside(model_folder(location, tracking_uri, into=Path(folder))))
    if path.is_dir():
        return load_checkpoint(_checkpoint_inside(path))
    if path.is_file():
        return load_notebook(path, open_corpus())
    raise CheckpointError(
        f"{location!r} is no model: there is no such file or folder, and a run id has 32 hexadecimal digits; "
        "give a run id, models:/NAME/VERSION, a checkpoint folder, or a notebook-format .pth file"
    )


def load_notebook(path: Path, corpus: Corpus, *, attention_scale: AttentionScale = "n_embed") -> Checkpoint:
    """A notebook-format file together with the vocabulary of `corpus`, since the file records none.

    Raises:
        CheckpointError: the file is no whole model, or its vocabulary has another size than the corpus's.
    """
    model = load_notebook_file(path, attention_scale=attention_scale)
    if model.config.vocab_size != corpus.vocab_size:
        raise CheckpointError(
            f"{path} was trained on {model.config.vocab_size} distinct characters, but {corpus.name} has "
            f"{corpus.vocab_size}; give the text that it was trained on with --data"
        )
    return Checkpoint(model=model, tokenizer=corpus.tokenizer, provenance={"label": path.name})


def _checkpoint_inside(folder: Path) -> Path:
    """The checkpoint's own folder: `folder`, or the one place below it that holds one."""
    if (folder / CONFIG_FILE).exists():
        return folder
    found = sorted(path.parent for path in folder.rglob(CONFIG_FILE))
    return found[0] if len(found) == 1 else folder
