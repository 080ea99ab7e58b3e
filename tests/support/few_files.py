"""Trials that leave a checkpoint and nothing else, for tests of what does not depend on their files."""

from __future__ import annotations

from pathlib import Path

from gpt_experiments import names
from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.model import Checkpoint, save_checkpoint
from gpt_experiments.training import TrainingResult


def write_checkpoint(
    result: TrainingResult, trial: Trial, corpus: Corpus, label: str, folder: Path
) -> dict[str, list[float]]:
    """In place of `write_trial_files`, because pictures and a sample take far longer than a tiny model trains."""
    folder.mkdir(parents=True)
    save_checkpoint(Checkpoint(model=result.model, tokenizer=corpus.tokenizer), folder / names.CHECKPOINT_FOLDER)
    return {}
