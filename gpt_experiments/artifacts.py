"""The files that a trained model leaves behind: losses, a sample, its attention, its checkpoint."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpt_experiments import names
from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus, Tokenizer
from gpt_experiments.explorer import explorer_page
from gpt_experiments.figures import attention_heads, attention_mean, head_score_maps, loss_curve, save_png
from gpt_experiments.model import (
    GPT,
    Checkpoint,
    HeadScores,
    generate,
    head_scores,
    head_scores_on,
    save_checkpoint,
)
from gpt_experiments.training import SplitLoss, TrainingResult

SAMPLE_LENGTH: Final = 300
STUDY_TEXT: Final = "First Citizen:\nBefore we proceed"
SPEAKER_TEXT: Final = "KING HENRY:"
_OWN_TEXT_LENGTH: Final = 32


def write_trial_files(
    result: TrainingResult, trial: Trial, corpus: Corpus, label: str, folder: Path
) -> dict[str, list[float]]:
    """Write all files of a finished trial into the new `folder`, under the names that its run shows.

    Returns the scores of its attention heads, as `write_model_files`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figure = loss_curve(result.evaluations, title=label, uniform_loss=math.log(corpus.vocab_size))
    save_png(figure, folder / names.LOSS_CURVE_FILE)
    scores_by_head = write_model_files(result.model, corpus, label, result.val, folder, seed=trial.seed)
    provenance = {
        "label": label,
        "seed": trial.seed,
        "training": dataclasses.asdict(trial.training),
        "losses": dataclasses.asdict(result.evaluations[-1]),
        "corpus": {"name": corpus.name, "digest": corpus.digest},
    }
    checkpoint = Checkpoint(model=result.model, tokenizer=corpus.tokenizer, provenance=provenance)
    save_checkpoint(checkpoint, folder / names.CHECKPOINT_FOLDER)
    return scores_by_head


def write_model_files(
    model: GPT, corpus: Corpus, label: str, val: SplitLoss, folder: Path, *, seed: int
) -> dict[str, list[float]]:
    """Write the files that describe a model without its training, below `folder`.

    `sample.txt`; `loss_by_position.csv`; `loss_by_character.npy`; `attention/` with heatmaps and an explorer on each of
    the study's two texts, and the scores of every head. A corpus that lacks a character of those texts is shown on the
    beginning of its own validation split instead.

    Returns the scores as series over heads, layer by layer, named as `heads/entropy`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names.SAMPLE_FILE).write_text(sample_text(model, corpus.tokenizer, seed=seed), encoding="utf-8")
    rows = [{"characters_seen": seen, "val_loss": loss} for seen, loss in enumerate(val.by_position, start=1)]
    _write_csv(rows, folder / names.POSITIONS_FILE)
    np.save(folder / names.CHARACTERS_FILE, val.by_character)
    measured = head_scores(model, corpus)
    for subfolder, text in shown_texts(corpus).items():
        shown = folder / names.ATTENTION_FOLDER / subfolder
        write_attention(model, corpus.tokenizer, text, label, shown)
        write_explorer(model, corpus.tokenizer, text, label, shown, scores=measured)
    return _write_head_scores(measured, label, folder)


def shown_texts(corpus: Corpus) -> dict[str, str]:
    """The texts on which attention is shown, by the subfolder that each goes to."""
    studied = {"": STUDY_TEXT, names.SPEAKER_FOLDER: SPEAKER_TEXT}
    known = {where: text for where, text in studied.items() if set(text) <= set(corpus.tokenizer.vocabulary)}
    return known or {"": corpus.tokenizer.decode(corpus.val[:_OWN_TEXT_LENGTH])}


def _write_head_scores(measured: HeadScores, label: str, folder: Path) -> dict[str, list[float]]:
    rows = [{"repeat_length": measured.repeat_length} | row for row in measured.rows()]
    _write_csv(rows, folder / names.HEADS_FILE)
    maps = {name: tensor.numpy() for name, tensor in measured.scores.items()}
    save_png(head_score_maps(maps, title=f"{label}: what each head does"), folder / names.HEAD_MAPS_FILE)
    return {f"{names.HEADS_SECTION}{name}": values.flatten().tolist() for name, values in maps.items()}


def _write_csv(rows: Sequence[Mapping[str, object]], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def sample_text(model: GPT, tokenizer: Tokenizer, *, seed: int) -> str:
    """The study's sample: 300 characters after a newline, or after token 0 where the corpus has no newline."""
    start = tokenizer.encode("\n" if "\n" in tokenizer.vocabulary else tokenizer.vocabulary[0])
    tokens = generate(model, torch.from_numpy(start), max_new_tokens=SAMPLE_LENGTH, seed=seed)
    return tokenizer.decode(tokens[0, 1:].numpy())


def write_attention(model: GPT, tokenizer: Tokenizer, text: str, label: str, folder: Path) -> list[Path]:
    """Draw a heatmap for each layer, `layer_1.png` and on, and `mean.png`, on the `text` that fits the context.

    Returns the files' paths. Raises CorpusError for a character that the model does not know.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = text[: model.config.shape.block_size]
    maps = _attention_maps(model, _tokens(model, tokenizer, text))
    paths = []
    for layer, weights in enumerate(maps, start=1):
        title = f"{label}: attention in layer {layer} of {len(maps)}"
        paths.append(folder / f"layer_{layer}.png")
        save_png(attention_heads(weights, text, title=title), paths[-1])
    paths.append(folder / "mean.png")
    save_png(attention_mean(maps, text, title=f"{label}: attention, mean over heads"), paths[-1])
    return paths


def write_explorer(
    model: GPT, tokenizer: Tokenizer, text: str, label: str, folder: Path, *, scores: HeadScores | None = None
) -> Path:
    """Write `explorer.html`, a page that shows every head on `text`, as far as the context and the page reach.

    `scores` are the heads' as measured elsewhere, on the validation split; without them they are measured on `text`.

    Raises CorpusError for a character that the model does not know.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = text[: model.config.shape.block_size]
    tokens = _tokens(model, tokenizer, text)
    where = "passages of the validation split" if scores else "this text"
    measured = scores or head_scores_on(model, [tokens.cpu()], tokenizer.vocabulary)
    maps = _attention_maps(model, tokens)
    page = explorer_page(
        maps,
        text,
        title=f"{label}: attention",
        scores={_score_title(name): tensor.numpy() for name, tensor in measured.scores.items()},
        head_names=[[measured.name(layer, head) for head in range(maps.shape[1])] for layer in range(maps.shape[0])],
        scores_note=f"Measured on {where}; induction is measured on a random sequence repeated twice.",
    )
    path = folder / Path(names.EXPLORER_FILE).name
    path.write_text(page, encoding="utf-8", newline="\n")
    return path


def _tokens(model: GPT, tokenizer: Tokenizer, text: str) -> Tensor:
    return torch.from_numpy(tokenizer.encode(text)).to(model.device)


def _attention_maps(model: GPT, tokens: Tensor) -> NDArray[np.floating[Any]]:
    """Weights (n_layer, n_head, T, T)."""
    return model.attention_maps(tokens).float().cpu().numpy()


def _score_title(name: str) -> str:
    return name.replace("_", " ") + (" (×\N{NO-BREAK SPACE}chance)" if name in names.MULTIPLES_OF_CHANCE else "")
