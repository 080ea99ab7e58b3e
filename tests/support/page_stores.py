"""Sweeps whose runs are all that MLflow's pages need: parameters, curves and results, made up and without files."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from gpt_experiments import names
from gpt_experiments.config import Trial, Variant
from gpt_experiments.corpus import Corpus
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.records import PlannedTrial
from gpt_experiments.tracking import Store, schema
from gpt_experiments.training import TrainingSummary

STEPS = (0, 100, 200, 300, 400, 500)


def final_loss(shape: Shape, seed: int = 0) -> float:
    """A plausible one, nats per character: lower for wider, deeper and longer models, and different for each."""
    size = math.log2(shape.n_embed) * 0.11 + math.log2(shape.n_layer) * 0.06 + math.log2(shape.block_size) * 0.03
    return 2.9 - size + 0.15 * shape.dropout + 0.02 * abs(shape.n_head - 4) / 4 + 0.004 * seed


def add_sweep(
    store: Store, corpus: Corpus, shapes: Iterable[Shape], *, seeds: Sequence[int] = (0,), name: str = "made-up"
) -> str:
    """A finished sweep with a trial for each shape and seed; its parent run's id."""
    parent = store.start_run(
        kind="sweep", run_name=name, sweep=name, params={"vocab_size": corpus.vocab_size, "method": "grid"}
    )
    for shape in shapes:
        for seed in seeds:
            add_trial(store, corpus, shape, seed=seed, sweep=name, parent_run_id=parent.run_id)
    parent.finish()
    return parent.run_id


def add_trial(
    store: Store,
    corpus: Corpus,
    shape: Shape,
    *,
    seed: int = 0,
    sweep: str | None = None,
    parent_run_id: str | None = None,
    images: bool = False,
) -> str:
    """A finished trial; its run's id. With `images` it has one of its attention for each step."""
    trial = Trial(shape=shape, seed=seed, training=TrainingSetup(steps=STEPS[-1], eval_interval=100))
    label, config = trial.variant.label(Variant(training=trial.training)), trial.model_config(corpus.vocab_size)
    planned = PlannedTrial(
        trial=trial, variant=trial.variant, label=label, cell=trial.cell(corpus.digest), n_params=config.n_params
    )
    recorder = store.start_run(
        kind="trial",
        run_name=planned.name,
        sweep=sweep,
        parent_run_id=parent_run_id,
        params=schema.trial_params(trial, device="cpu", vocab_size=corpus.vocab_size),
        tags=schema.trial_tags(planned, corpus, hardware="an abacus", threads=1, replicas=1, kernels=True),
    )
    loss = final_loss(shape, seed)
    for step in STEPS:
        now = loss + 1.5 * math.exp(-step / 120)
        recorder.log_metrics({names.TRAIN_LOSS: now - 0.05, names.VAL_LOSS: now}, step)
    seconds = trial.flops(corpus.vocab_size) / 2e10
    summary = TrainingSummary(
        final_train_loss=loss - 0.05,
        final_val_loss=loss,
        best_val_loss=loss,
        n_params=config.n_params,
        train_seconds=seconds,
        eval_seconds=1.0,
        tokens_per_second=STEPS[-1] * trial.training.batch_size * shape.block_size / seconds,
    )
    recorder.log_metrics(schema.summary_metrics(summary))
    recorder.log_metrics(schema.cost_metrics(trial, vocab_size=corpus.vocab_size))
    recorder.log_series({f"{names.HEADS_SECTION}{score}": [0.1, 0.2] for score in names.HEAD_SCORES})
    for step in STEPS if images else ():
        drawn = np.random.default_rng(step).integers(0, 255, size=(60, 80, 3)).astype(np.uint8)
        store.client.log_image(recorder.run_id, drawn, key=names.ATTENTION_IMAGE, step=step)
    recorder.finish()
    return recorder.run_id
