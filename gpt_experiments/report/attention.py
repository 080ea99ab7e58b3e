"""Draws the attention of models side by side, from the checkpoints of their runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from gpt_experiments.analysis import SweepResults
from gpt_experiments.artifacts import SPEAKER_TEXT, STUDY_TEXT
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import CheckpointError, CorpusError, MissingError
from gpt_experiments.figures import attention_mean
from gpt_experiments.model import Checkpoint
from gpt_experiments.models.source import load_model
from gpt_experiments.report.document import Picture
from gpt_experiments.tracking.run_files import LeftOut


def compared_runs(results: SweepResults) -> list[str]:
    """The runs of the baseline and of the single-head variant, or else of the best ones."""
    labels = list(results.by_variant["label"])
    wanted = [label for label in ("baseline", "n_head=1") if label in labels]
    chosen = list(dict.fromkeys([*wanted, *labels]))[:2]
    return [str(results.runs_of(label)["run_id"].iloc[0]) for label in chosen]


def compared_pictures(results: SweepResults, tracking_uri: str, left_out: LeftOut) -> list[Picture]:
    """The pictures of `compared_runs`; one whose checkpoint cannot be read is noted in `left_out`."""
    pictures: list[Picture] = []
    for run_id in compared_runs(results):
        try:
            pictures.append(_picture(len(pictures) + 1, run_id, tracking_uri))
        except (CheckpointError, MissingError) as error:
            left_out.add("the attention", f"cannot be drawn: {error}", f"run {run_id}")
    return pictures


def attention_pictures(run_ids: Sequence[str], tracking_uri: str) -> list[Picture]:
    """For each run, draw the mean over heads of every layer.

    The text is `KING HENRY:`, or the study's text, or the beginning of the model's own vocabulary.

    Raises:
        TrackingError, CheckpointError: a run has no complete checkpoint.
    """
    return [_picture(number, run_id, tracking_uri) for number, run_id in enumerate(run_ids, start=1)]


def _picture(number: int, run_id: str, tracking_uri: str) -> Picture:
    checkpoint = load_model(run_id, tracking_uri=tracking_uri, open_corpus=_no_corpus)
    label = str(checkpoint.provenance.get("label", run_id))
    text = _text_for(checkpoint)
    maps = checkpoint.model.attention_maps(torch.from_numpy(checkpoint.tokenizer.encode(text)))
    if not torch.isfinite(maps).all():
        raise CheckpointError(f"the weights of run {run_id} are not finite; train that trial again")
    title = f"{label}: attention, mean over {maps.shape[1]} heads" if maps.shape[1] > 1 else f"{label}: attention"
    return Picture(
        name=f"attention-{number}",
        caption=f"{_to_see(maps.float().mean(dim=1).numpy())} {label} (run {run_id}): where each character of the text "
        "looks, layer by layer. It is one model on one text; another seed's heads differ.",
        alt=f"Heatmaps of the attention of {label}, query down, key across",
        figure=attention_mean(maps.float().numpy(), text, title=title),
        as_image=True,
    )


def _to_see(maps: NDArray[np.floating]) -> str:
    """In which layer most attention stays close.

    Args:
        maps: means over heads (layers, query, key).
    """
    queries, keys = np.indices(maps.shape[1:])
    back = (maps * (queries - keys)).sum(axis=-1).mean(axis=-1)  # (layers,)
    near = int(back.argmin())
    text = f"What to see: layer {near + 1} looks {back[near]:.1f} characters back on average"
    if len(back) == 1:
        return f"{text}."
    far = int(back.argmax())
    return f"{text}, the least; layer {far + 1} looks {back[far]:.1f} back, the most."


def _text_for(checkpoint: Checkpoint) -> str:
    vocabulary, block_size = set(checkpoint.tokenizer.vocabulary), checkpoint.model.config.shape.block_size
    for text in (SPEAKER_TEXT, STUDY_TEXT):
        if set(text) <= vocabulary:
            return text[:block_size]
    return checkpoint.tokenizer.vocabulary[: min(block_size, 16)]


def _no_corpus() -> Corpus:
    raise CorpusError("a run's checkpoint holds its vocabulary; no corpus is needed")
