"""`evaluate`: a pre-trained file as a run."""

from __future__ import annotations

from pathlib import Path

from gpt_experiments.corpus import Corpus
from gpt_experiments.models.pretrained import PretrainedScores, evaluate_pretrained
from gpt_experiments.parameters import AttentionScale
from gpt_experiments.tracking import Store
from gpt_experiments.tracking.pages import keep_views
from gpt_experiments.training import resolve_device


def evaluate_file(
    path: Path,
    corpus: Corpus,
    *,
    attention_scale: AttentionScale,
    seed: int,
    device: str,
    tracking_uri: str | None,
    experiment: str,
) -> PretrainedScores:
    """Evaluate a file's model on the corpus, and record the results as a run. See `evaluate_pretrained`.

    Raises:
        ExperimentError: the device, the file, the corpus or the store cannot be used.
    """
    target = resolve_device(device)
    store = Store(tracking_uri, experiment)
    scores = evaluate_pretrained(path, corpus, store, target, attention_scale=attention_scale, seed=seed)
    keep_views(store, notice=store.retries.notice)
    return scores
