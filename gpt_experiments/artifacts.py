"""The files that a trained model leaves behind: its loss curve, a sample, its attention, its checkpoint."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Final

import torch

from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus, Tokenizer
from gpt_experiments.figures import attention_heads, attention_mean, loss_curve, save_png
from gpt_experiments.model import GPT, Checkpoint, generate, save_checkpoint
from gpt_experiments.training import TrainingResult

SAMPLE_LENGTH: Final = 300
STUDY_TEXT: Final = "First Citizen:\nBefore we proceed"
SPEAKER_TEXT: Final = "KING HENRY:"
_OWN_TEXT_LENGTH: Final = 32


def write_trial_files(result: TrainingResult, trial: Trial, corpus: Corpus, label: str, folder: Path) -> None:
    """All files of a finished trial, below `folder`, which is made, under the names that its run shows."""
    folder.mkdir(parents=True, exist_ok=True)
    figure = loss_curve(result.evaluations, title=label, uniform_loss=math.log(corpus.vocab_size))
    save_png(figure, folder / "loss_curve.png")
    write_model_files(result.model, corpus, label, folder, seed=trial.seed)
    provenance = {
        "label": label,
        "seed": trial.seed,
        "training": dataclasses.asdict(trial.training),
        "losses": dataclasses.asdict(result.evaluations[-1]),
        "corpus": {"name": corpus.name, "digest": corpus.digest},
    }
    checkpoint = Checkpoint(model=result.model, tokenizer=corpus.tokenizer, provenance=provenance)
    save_checkpoint(checkpoint, folder / "checkpoint")


def write_model_files(model: GPT, corpus: Corpus, label: str, folder: Path, *, seed: int) -> None:
    """What can be said of a model without its training: `sample.txt`, and `attention/` on the study's two texts.

    A corpus that lacks a character of those texts is shown on the beginning of its own validation split instead.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sample.txt").write_text(sample_text(model, corpus.tokenizer, seed=seed), encoding="utf-8")
    shown = False
    for text, subfolder in ((STUDY_TEXT, ""), (SPEAKER_TEXT, "king_henry")):
        if set(text) <= set(corpus.tokenizer.vocabulary):
            write_attention(model, corpus.tokenizer, text, label, folder / "attention" / subfolder)
            shown = True
    if not shown:
        own_text = corpus.tokenizer.decode(corpus.val[:_OWN_TEXT_LENGTH])
        write_attention(model, corpus.tokenizer, own_text, label, folder / "attention")


def sample_text(model: GPT, tokenizer: Tokenizer, *, seed: int) -> str:
    """The study's sample: 300 characters after a newline, or after token 0 where the corpus has no newline."""
    start = tokenizer.encode("\n" if "\n" in tokenizer.vocabulary else tokenizer.vocabulary[0])
    tokens = generate(model, torch.from_numpy(start), max_new_tokens=SAMPLE_LENGTH, seed=seed)
    return tokenizer.decode(tokens[0, 1:].numpy())


def write_attention(model: GPT, tokenizer: Tokenizer, text: str, label: str, folder: Path) -> list[Path]:
    """One heatmap a layer, `layer_1.png` and on, and `mean.png`, on `text` as far as the model's context reaches.

    Returns the files' paths. Raises CorpusError for a character that the model does not know.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = text[: model.config.variant.block_size]
    tokens = torch.from_numpy(tokenizer.encode(text)).to(model.device)
    maps = model.attention_maps(tokens).float().cpu().numpy()  # (n_layer, n_head, T, T)
    paths = []
    for layer, weights in enumerate(maps, start=1):
        title = f"{label}: attention in layer {layer} of {len(maps)}"
        paths.append(folder / f"layer_{layer}.png")
        save_png(attention_heads(weights, text, title=title), paths[-1])
    paths.append(folder / "mean.png")
    save_png(attention_mean(maps, text, title=f"{label}: attention, mean over heads"), paths[-1])
    return paths
