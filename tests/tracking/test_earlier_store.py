"""A store that version 0.1.0 left in another folder is gone on with, reported on and registered from.

`tests/support/store-0.1.0.tar.xz` is that store: `sweep tiny.yaml --data text.txt` at commit 1d7c2d1, four variants
with two seeds, without its figures and pages. By its database it lies in /home/someone/study.
"""

from __future__ import annotations

import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from gpt_experiments import names
from gpt_experiments.corpus.sources import load_corpus
from gpt_experiments.models.registration import register_model
from gpt_experiments.report import write_report
from gpt_experiments.sweep.definition_file import load_definition
from gpt_experiments.sweep.resources import RunOptions
from gpt_experiments.sweep.runner import run_sweep
from gpt_experiments.tracking import Store
from tests.support.listeners import Recorder

ARCHIVE = Path(__file__).parents[1] / "support" / "store-0.1.0.tar.xz"
BY_HEAD = "_by_head"  # what the metrics over heads ended in
PARENT = "278fba682f56459b9fab7fd530227542"


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def test_the_names_in_a_store_of_version_0_1_are_still_read(earlier: Path) -> None:
    known = {value for value in vars(names).values() if isinstance(value, str)}
    with closing(sqlite3.connect(earlier / "mlflow.db")) as database:
        tags = {tag for (tag,) in database.execute("SELECT key FROM tags")}
        metrics = {metric for (metric,) in database.execute("SELECT key FROM latest_metrics")}
    series = {metric for metric in metrics if metric.endswith(BY_HEAD)}
    assert {tag for tag in tags if tag.startswith("gpt.")} <= known
    assert metrics - series <= known
    assert {metric.removesuffix(BY_HEAD) for metric in series} <= set(names.HEAD_SCORES)


def test_a_store_of_version_0_1_answers_every_trial(earlier: Path) -> None:
    store, listener = Store(f"sqlite:///{earlier}/mlflow.db"), Recorder()
    corpus = load_corpus(str(earlier / "text.txt"), report=lambda text: None)
    definition = load_definition(str(earlier / "tiny.yaml"))
    report = run_sweep(definition, corpus, store, RunOptions(device="cpu", workers=1), listener)
    assert [trial.outcome for trial in report.trials] == ["reused"] * 8
    assert report.parent_run_id == PARENT


@pytest.mark.slow
def test_a_store_of_version_0_1_is_reported_on_and_registered_from(earlier: Path, tmp_path: Path) -> None:
    store = Store(f"sqlite:///{earlier}/mlflow.db")
    written = write_report(store, "tiny", tmp_path / "report")
    assert written.left_out == ("attention/explorer.html of baseline is missing",)  # as the archive was made
    assert "dropout=0" in (tmp_path / "report" / "report.md").read_text()
    done = register_model("tiny", store, "m")
    assert done.is_champion
    assert done.left_out == ()
    (output,) = store.client.get_run(done.version.run_id).outputs.model_outputs  # made for the registration
    assert store.client.get_logged_model(output.model_id).tags[names.CORPUS_DIGEST] == done.version.corpus_digest
