"""Runs and sweeps as the program leaves them, with made-up losses and small untrained models."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gpt_experiments import names
from gpt_experiments.config import ModelConfig, Trial, Variant
from gpt_experiments.corpus import Corpus
from gpt_experiments.model import GPT, Checkpoint, save_checkpoint
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.tracking import FinishedTrials, Store, schema
from gpt_experiments.training import TrainingSummary

BASELINE = Shape(n_head=2, n_layer=1, n_embed=8, dropout=0.0, block_size=16)
SAMPLE = "\n\nba be co\nda\n"
TRIAL_FILES = {
    "loss_curve.png",
    "loss_by_position.csv",
    "loss_by_character.npy",
    "sample.txt",
    "attention",
    "checkpoint",
    "images",
}
"""What a finished trial leaves in its run, at the top of its artifacts."""


def add_run(
    store: Store,
    corpus: Corpus,
    val_loss: float,
    *,
    trial: Trial | None = None,
    kind: str = "trial",
    sweep: str | None = None,
    checkpoint: bool = True,
) -> str:
    """A finished run of that final validation loss (nats per character); its id."""
    trial = trial or Trial(shape=BASELINE)
    config = trial.model_config(corpus.vocab_size)
    tags = {
        names.VARIANT: trial.variant.label(Variant(shape=BASELINE, training=trial.training)),
        names.CORPUS: corpus.name,
        names.CORPUS_DIGEST: corpus.digest,
        names.HARDWARE: "an abacus",
    }
    if kind == "trial":
        tags[names.CELL] = trial.cell(corpus.digest)
    params = dataclasses.asdict(trial.shape) | {"seed": trial.seed, **dataclasses.asdict(trial.training)}
    recorder = store.start_run(kind=kind, run_name="x", params=params, sweep=sweep, tags=tags)  # type: ignore[arg-type]
    recorder.log_corpus(corpus)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "sample.txt").write_text(SAMPLE, encoding="utf-8")
        if checkpoint:
            save_checkpoint(
                Checkpoint(model=_model(config, trial.seed), tokenizer=corpus.tokenizer), folder / "checkpoint"
            )
        recorder.log_artifacts(folder)
    summary = TrainingSummary(
        final_train_loss=val_loss - 0.125,
        final_val_loss=val_loss,
        best_val_loss=val_loss,
        n_params=config.n_params,
        train_seconds=1.0,
        eval_seconds=1.0,
        tokens_per_second=1.0,
    )
    recorder.log_model(
        store.experiment.experiment_id,
        name="x",
        params=params,
        tags=tags,
        metrics=schema.summary_metrics(summary),
    )
    recorder.finish()
    return recorder.run_id


def finished_trials(store: Store) -> FinishedTrials:
    """Every cell that has a finished run, with the newest such run that has its checkpoint."""
    return store.finished_among(store.search(f"tags.`{names.KIND}` = 'trial' and attributes.status = 'FINISHED'"))


def add_sweep(
    store: Store,
    corpus: Corpus,
    losses: Mapping[int, list[float | str]],
    name: str = "mine",
    training: TrainingSetup | None = None,
) -> str:
    """A sweep over n_head, its seeds 1, 2, ..., with a loss or else an outcome for each; its parent run's id."""
    training = training or TrainingSetup()
    parent = store.start_run(
        kind="sweep", run_name=name, sweep=name, params={"vocab_size": corpus.vocab_size, "method": "one-at-a-time"}
    )
    rows: list[dict[str, Any]] = []
    for n_head, results in losses.items():
        for seed, result in enumerate(results, start=1):
            trial = Trial(shape=dataclasses.replace(BASELINE, n_head=n_head), seed=seed, training=training)
            row = {
                "cell": trial.cell(corpus.digest),
                "label": trial.variant.label(Variant(shape=BASELINE, training=training)),
                "seed": seed,
                **trial.variant.values(),
            }
            if isinstance(result, float):
                outcome, run_id = "finished", add_run(store, corpus, result, trial=trial, sweep=name)
            elif result == "failed":
                failed = store.start_run(kind="trial", run_name="x", params={}, tags={names.CELL: str(row["cell"])})
                failed.fail("DivergedError: diverged: the loss is nan at step 3\nmore")
                outcome, run_id = "failed", failed.run_id
            else:
                outcome, run_id = result, ""
            rows.append({**row, "run_id": run_id or None, "outcome": None if outcome == "planned" else outcome})
    parent.log_text(json.dumps(rows), names.PLAN_FILE)
    parent.finish()
    return parent.run_id


def _model(config: ModelConfig, seed: int) -> GPT:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return GPT(config).eval()
