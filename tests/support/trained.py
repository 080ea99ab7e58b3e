"""A store with two small sweeps that were really trained, to be copied, damaged, trained again and compared."""

from __future__ import annotations

import dataclasses
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from gpt_experiments import names
from gpt_experiments.corpus.sources import load_corpus
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.sweep.definition import SweepDefinition
from gpt_experiments.sweep.resources import RunOptions
from gpt_experiments.sweep.runner import run_sweep
from gpt_experiments.tracking import Store
from tests.support.listeners import Recorder

FIRST = SweepDefinition(
    name="first",
    method="one-at-a-time",
    baseline=Shape(n_head=2, n_layer=1, n_embed=8, dropout=0.1, block_size=16),
    levels={"n_head": (1,)},
    training=TrainingSetup(steps=6, batch_size=4, eval_interval=2, learning_rate=1e-3),
    seeds=(1, 2),
)
SECOND = dataclasses.replace(
    FIRST,
    name="second",
    levels={"n_embed": (16,)},
    training=dataclasses.replace(FIRST.training, learning_rate=2e-3),
)
"""Its trials train in groups of two."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """A folder with a store and the text that its trials learnt from.

    Attributes:
        parents: the sweeps' runs, by name.
        runs: the trials' runs, by sweep, label and seed.
    """

    folder: Path
    parents: Mapping[str, str]
    runs: Mapping[tuple[str, str, int], str]

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder}/mlflow.db"

    @property
    def text(self) -> Path:
        return self.folder / "text.txt"

    def file(self, run_id: str, name: str) -> Path:
        """Where an artifact of a run lies."""
        return self.folder / "mlruns" / names.DEFAULT_EXPERIMENT / run_id / "artifacts" / name

    def sql(self, statement: str, *values: object) -> None:
        """Change the database behind MLflow's back."""
        with closing(sqlite3.connect(self.folder / "mlflow.db")) as database, database:
            database.execute(statement, values)

    def set_tag(self, run_id: str, name: str, value: str) -> None:
        self.sql("UPDATE tags SET value = ? WHERE run_uuid = ? AND key = ?", value, run_id, name)

    def set_param(self, run_id: str, name: str, value: str) -> None:
        self.sql("UPDATE params SET value = ? WHERE run_uuid = ? AND key = ?", value, run_id, name)

    def content(self) -> tuple[list[str], dict[str, bytes]]:
        """All that is stored: the database's rows, and the files below `mlruns`."""
        with closing(sqlite3.connect(self.folder / "mlflow.db")) as database:
            rows = list(database.iterdump())
        files = (path for path in sorted((self.folder / "mlruns").rglob("*")) if path.is_file())
        return rows, {str(path.relative_to(self.folder)): path.read_bytes() for path in files}

    def copy(self, folder: Path) -> Trained:
        """The same store in another folder; its database still says that it is in the old one."""
        shutil.copytree(self.folder, folder)
        return dataclasses.replace(self, folder=folder)


def train_store(folder: Path, text: str) -> Trained:
    """Train both sweeps in this process, on the first 6,000 characters, into the store that is in the folder."""
    trained = Trained(folder, {}, {})
    trained.text.write_text(text[:6000], encoding="utf-8")
    corpus = load_corpus(trained.text, report=lambda sentence: None)
    store, parents, runs = Store(trained.uri), {}, {}
    for definition, replicas in ((FIRST, 1), (SECOND, 2)):
        options = RunOptions(device="cpu", executor="inline", replicas=replicas)
        summary = run_sweep(definition, corpus, store, options, Recorder())
        assert summary.is_complete
        parents[definition.name] = str(summary.parent_run_id)
        runs |= {
            (definition.name, trial.planned.label, trial.planned.trial.seed): trial.run_id for trial in summary.trials
        }
    return dataclasses.replace(trained, parents=parents, runs=runs)
