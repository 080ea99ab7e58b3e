"""A pre-trained model as an MLflow run of its own: evaluated, sampled, drawn."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from gpt_experiments import names
from gpt_experiments.artifacts import write_model_files
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import CheckpointError, shortened
from gpt_experiments.model import Checkpoint, save_checkpoint
from gpt_experiments.models.source import load_path
from gpt_experiments.parameters import AttentionScale, Shape, check_value
from gpt_experiments.scratch import scratch_folder
from gpt_experiments.tracking import RunRecorder, Store, schema
from gpt_experiments.training import describe_device, evaluate


@dataclass(frozen=True, kw_only=True)
class PretrainedScores:
    """What a pre-trained model scores, over the validation split and a training subset of the same size.

    Attributes:
        shape: read from the file; the notebook's format does not record the dropout.
        train_loss, val_loss: nats per character.
    """

    run_id: str
    shape: Shape
    n_params: int
    train_loss: float
    val_loss: float
    sample: str


def evaluate_pretrained(
    path: Path, corpus: Corpus, store: Store, device: torch.device, *, attention_scale: AttentionScale, seed: int
) -> PretrainedScores:
    """Evaluate the file's model on the corpus, and record losses, sample, attention and checkpoint in a run.

    Args:
        path: a notebook-format file, or a checkpoint.
        attention_scale: of a notebook-format file, which does not record it.

    Raises:
        ExperimentError: the file, the corpus or the store cannot be used; a refused file leaves no run behind.
    """
    check_value("seed", seed)
    name = shortened(path.name)
    checkpoint = load_path(path, lambda: corpus, attention_scale=attention_scale)
    _require_vocabulary(checkpoint, corpus, path)
    model, notebook = checkpoint.model.to(device), checkpoint.tokenizer is corpus.tokenizer
    corpus.require_context(model.config.shape.block_size)
    params = schema.pretrained_params(model.config, seed=seed, device=str(device), dropout_is_known=not notebook)
    tags = {names.VARIANT: name, names.HARDWARE: describe_device(device), **schema.corpus_tags(corpus)}
    recorder = store.start_run(kind="pretrained", run_name=name, params=params, tags=tags)
    with _run_ended(recorder), scratch_folder() as folder:
        recorder.log_corpus(corpus)
        started, part = time.perf_counter(), len(corpus.val)
        train_loss = evaluate(model, torch.from_numpy(corpus.train[:part]).to(device)).mean
        val = evaluate(model, torch.from_numpy(corpus.val).to(device))
        seconds = time.perf_counter() - started
        scores_by_head = write_model_files(model, corpus, name, val, folder, seed=seed)
        save_checkpoint(checkpoint, folder / names.CHECKPOINT_FOLDER)
        recorder.log_artifacts(folder)
        n_params = model.config.n_params
        recorder.log_model(
            store.experiment.experiment_id,
            name=name,
            params=params,
            tags=tags,
            metrics={
                names.FINAL_TRAIN_LOSS: train_loss,
                names.FINAL_VAL_LOSS: val.mean,
                names.BEST_VAL_LOSS: val.mean,
                names.N_PARAMS: n_params,
                names.EVAL_SECONDS: seconds,
            },
        )
        recorder.log_series(scores_by_head)
        sample = (folder / names.SAMPLE_FILE).read_text(encoding="utf-8")
    return PretrainedScores(
        run_id=recorder.run_id,
        shape=model.config.shape,
        n_params=n_params,
        train_loss=train_loss,
        val_loss=val.mean,
        sample=sample,
    )


def _require_vocabulary(checkpoint: Checkpoint, corpus: Corpus, path: Path) -> None:
    if checkpoint.tokenizer != corpus.tokenizer:
        raise CheckpointError(
            f"{shortened(path)} was trained on other characters than those of {shortened(corpus.name, 60)}; "
            "give the text that it was trained on with --data"
        )


@contextmanager
def _run_ended(recorder: RunRecorder) -> Iterator[None]:
    """A block that ends the run: FINISHED, KILLED by Ctrl-C, or FAILED with the reason and the traceback."""
    try:
        yield
    except Exception as error:
        recorder.fail(f"{type(error).__name__}: {error}", traceback.format_exc())
        raise
    except BaseException:
        recorder.kill("interrupted")
        raise
    recorder.finish()
