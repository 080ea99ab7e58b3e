"""A store with a finished sweep, made without training and whole in every file, to be copied and damaged."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import yaml

from gpt_experiments import names
from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.model import GPT, Checkpoint, save_checkpoint
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.sweep.definition import SweepDefinition
from gpt_experiments.tracking import RunRecorder, Store
from gpt_experiments.training import TrainingSummary

DEFINITION = SweepDefinition(
    name="whole",
    method="one-at-a-time",
    baseline=Shape(n_head=2, n_layer=1, n_embed=8, dropout=0.0, block_size=16),
    levels={"n_head": (1, 4), "n_embed": (16,)},
    training=TrainingSetup(steps=4, batch_size=2, eval_interval=2),
    seeds=(1337, 1338),
)
_SCORES = ("previous_position", "first_position", "entropy", "same_word", "same_character", "induction")


@dataclasses.dataclass(frozen=True)
class Whole:
    """A folder with a store; `runs` are ids by label and seed, `parent` is that of the sweep's run."""

    folder: Path
    parent: str
    runs: Mapping[tuple[str, int], str]

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder}/mlflow.db"

    def file(self, run_id: str, name: str) -> Path:
        """Where an artifact of a run lies."""
        return self.folder / "mlruns" / names.DEFAULT_EXPERIMENT / run_id / "artifacts" / name

    def sql(self, statement: str, *values: object) -> None:
        """Change the database behind MLflow's back."""
        with sqlite3.connect(self.folder / "mlflow.db") as database:
            database.execute(statement, values)
        database.close()

    def copy(self, folder: Path) -> Whole:
        """The same store in another folder, with the addresses of its artifacts corrected."""
        shutil.copytree(self.folder, folder)
        other = dataclasses.replace(self, folder=folder)
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            other.sql(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", str(self.folder), str(folder))
        return other


def make_whole(folder: Path, uri: str, corpus: Corpus) -> Whole:
    """Train nothing, but leave every run and file of a sweep of four variants with two seeds each."""
    store = Store(uri)
    tags = {names.CORPUS: corpus.name, names.CORPUS_DIGEST: corpus.digest}
    baseline = " ".join(f"{name}={value:g}" for name, value in dataclasses.asdict(DEFINITION.baseline).items())
    params = {"method": DEFINITION.method, "baseline": baseline, "budget": DEFINITION.budget}
    parent = store.start_run(
        kind="sweep",
        run_name=DEFINITION.name,
        sweep=DEFINITION.name,
        params={**params, **dataclasses.asdict(DEFINITION.training), "vocab_size": corpus.vocab_size},
        tags=tags,
    )
    rows, runs = [], {}
    for variant in DEFINITION.one_at_a_time():
        label = variant.label(DEFINITION.baseline_variant)
        for seed in DEFINITION.seeds:
            trial = Trial(shape=variant.shape, seed=seed, training=DEFINITION.training)
            recorder = store.start_run(
                kind="trial",
                run_name=label,
                sweep=DEFINITION.name,
                parent_run_id=parent.run_id,
                params={
                    **dataclasses.asdict(trial.shape),
                    "seed": seed,
                    **dataclasses.asdict(trial.training),
                    "vocab_size": corpus.vocab_size,
                },
                tags={**tags, names.CELL: trial.cell(corpus.digest), names.VARIANT: label, names.HARDWARE: "an abacus"},
            )
            _finish(recorder, trial, label, corpus, folder / "files" / recorder.run_id)
            runs[label, seed] = recorder.run_id
            rows.append(
                {
                    "cell": trial.cell(corpus.digest),
                    "label": label,
                    "seed": seed,
                    **dataclasses.asdict(variant.shape),
                    "run_id": recorder.run_id,
                    "outcome": "finished",
                }
            )
    parent.log_text(yaml.safe_dump(DEFINITION.as_dict(), sort_keys=False), names.DEFINITION_FILE)
    parent.log_text(json.dumps(rows), names.PLAN_FILE)
    parent.finish()
    shutil.rmtree(folder / "files")
    return Whole(folder, parent.run_id, runs)


def _finish(recorder: RunRecorder, trial: Trial, label: str, corpus: Corpus, folder: Path) -> None:
    """The losses and files of a trial, and its run's end."""
    loss = 2.5 - trial.shape.n_embed / 100 + trial.shape.n_head / 50 + (trial.seed - 1337) / 500
    for step in (0, 2, 4):
        recorder.log_metrics({names.TRAIN_LOSS: loss + 1 - step / 4, names.VAL_LOSS: loss + 1 - step / 4}, step)
    summary = TrainingSummary(
        final_train_loss=loss,
        final_val_loss=loss,
        best_val_loss=loss,
        n_params=trial.model_config(corpus.vocab_size).n_params,
        train_seconds=1.0 + trial.shape.n_head,
        eval_seconds=1.0,
        tokens_per_second=1.0,
    )
    recorder.log_metrics(dataclasses.asdict(summary))
    (folder / "attention").mkdir(parents=True)
    (folder / names.SAMPLE_FILE).write_text("To be, or\nnot to be\n", encoding="utf-8")
    (folder / names.EXPLORER_FILE).write_text("<!doctype html><title>explorer</title>", encoding="utf-8")
    positions = [{"characters_seen": seen, "val_loss": loss + 1 / seen} for seen in range(1, 17)]
    _write_csv(folder / names.POSITIONS_FILE, positions)
    scores = dict.fromkeys(_SCORES, 0.25) | {"induction": float("nan")}
    heads = [
        {"repeat_length": 8, "layer": 1, "head": head, **scores, "name": ""}
        for head in range(1, trial.shape.n_head + 1)
    ]
    _write_csv(folder / names.HEADS_FILE, heads)
    with torch.random.fork_rng():
        torch.manual_seed(trial.seed)
        model = GPT(trial.model_config(corpus.vocab_size)).eval()
    checkpoint = Checkpoint(model=model, tokenizer=corpus.tokenizer, provenance={"label": label})
    save_checkpoint(checkpoint, folder / names.CHECKPOINT_FOLDER)
    recorder.log_artifacts(folder)
    recorder.finish()


def _write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
