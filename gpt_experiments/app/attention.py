"""`attention`: heatmaps of a trained model on a text, and a page to explore them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpt_experiments.app.typed_text import typed_text
from gpt_experiments.artifacts import STUDY_TEXT, write_attention, write_explorer
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import ConfigError, shortened
from gpt_experiments.models.source import load_model

_MOST_WEIGHTS: Final = 2**28  # weights of all heads together, which take 1 GiB


@dataclass(frozen=True, kw_only=True)
class DrawnAttention:
    """What was drawn.

    Attributes:
        text: what the model looked at; each of its characters is a row and a column of every heatmap.
        figures: one for each layer, and the last with the means over heads.
        page: the explorer.
        notice: for the user; empty when there is nothing to say.
    """

    text: str
    figures: tuple[Path, ...]
    page: Path
    notice: str


def draw_attention(
    model: str, text: str | None, folder: Path, *, tracking_uri: str | None, open_corpus: Callable[[], Corpus]
) -> DrawnAttention:
    """Draw one figure for each layer, one with the mean over heads, and the explorer, into the new `folder`.

    Args:
        model: a run id, a models:/ URI, a checkpoint folder, or a notebook-format file.
        text: as a user types it on a command line; None is the study's.
        open_corpus: opens the corpus whose vocabulary a notebook-format file has.

    Raises:
        ConfigError: the text is empty.
        ExperimentError: there is no such model, or it does not know a character.
    """
    loaded = load_model(model, tracking_uri=tracking_uri, open_corpus=open_corpus)
    text = STUDY_TEXT if text is None else typed_text(text, loaded.tokenizer)
    if not text:
        raise ConfigError("--text is empty; give at least one character")
    shape = loaded.model.config.shape
    longest = min(shape.block_size, math.isqrt(_MOST_WEIGHTS // (shape.n_layer * shape.n_head)))
    notice = ""
    if len(text) > longest:
        limit = "fit the model's context" if longest == shape.block_size else "are drawn"
        notice = f"--text has {len(text):,} characters; the first {longest:,} {limit}."
        text = text[:longest]
    label = shortened(loaded.provenance.get("label", Path(model).name), 60)
    figures = write_attention(loaded.model, loaded.tokenizer, text, label, folder)
    page = write_explorer(loaded.model, loaded.tokenizer, text, label, folder)
    return DrawnAttention(text=text, figures=tuple(figures), page=page, notice=notice)
