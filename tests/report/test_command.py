"""The report of a real sweep: trained through the program, read back from a real store."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from click.testing import CliRunner, Result
from mlflow import MlflowClient

from gpt_experiments import names
from gpt_experiments.cli import program
from gpt_experiments.config import ModelConfig
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import TrackingError
from gpt_experiments.parameters import Shape
from gpt_experiments.tracking import Store
from gpt_experiments.tracking.reader import read_sweep
from gpt_experiments.tracking.sweep_record import find_sweep
from tests.reference.plain_gpt import PlainGPT

pytestmark = pytest.mark.slow

DEFINITION = """
name: tiny
method: one-at-a-time
baseline: {n_head: 2, n_layer: 1, n_embed: 8, dropout: 0.1, block_size: 32}
levels: {n_head: [1], n_embed: [16]}
training: {steps: 4, batch_size: 4, eval_interval: 2, learning_rate: 1e-3}
seeds: 2
"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(program, [str(argument) for argument in arguments])


class Trained:
    """A folder with a store in which the sweep `tiny` has been trained, and what the program printed."""

    def __init__(self, folder: Path, text: str) -> None:
        self.folder, self.uri = folder, f"sqlite:///{folder}/mlflow.db"
        self.text_file, self.definition = folder / "text.txt", folder / "tiny.yaml"
        self.text_file.write_text(text[:8000])
        self.definition.write_text(DEFINITION)
        self.result = run(
            "sweep", self.definition, "--data", self.text_file, "--tracking-uri", self.uri, "--device", "cpu"
        )
        self.store = Store(self.uri)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, text: str) -> Trained:
    return Trained(tmp_path_factory.mktemp("trained"), text)


def test_a_sweep_ends_with_its_report(trained: Trained) -> None:
    assert trained.result.exit_code == 0, trained.result.output
    parent = find_sweep(trained.store, "tiny")
    assert f"artifact report/report.html of run {parent.info.run_id}" in trained.result.output
    files = {f.path for f in MlflowClient(trained.uri).list_artifacts(parent.info.run_id, "report")}
    assert {"report/report.html", "report/report.md", "report/summary.csv", "report/effects.png"} <= files
    assert {"report/explorer-baseline.html", "report/explorer-best.html"} <= files
    note = parent.data.tags["mlflow.note.content"]
    assert note.startswith("**3 variants, 2 seeds, 6 of 6 trials finished, on text.txt**")
    assert "| n\\_embed=16 | n\\_embed=8 |" in note


def test_everything_is_read_back_from_the_store(trained: Trained) -> None:
    results = read_sweep(trained.store)
    assert len(results.finished) == 6
    assert results.finished_seeds == results.planned_seeds == [1337, 1338]
    assert results.varied == ["n_head", "n_embed"]
    assert set(results.curves["step"]) == {0, 2, 4}
    per_run = results.positions.groupby("run_id")["characters_seen"].max()
    assert set(per_run) == {32}
    finals = results.finished.set_index("run_id")["final_val_loss"]
    last = results.curves[results.curves["step"] == 4].set_index("run_id")["val_loss"]
    pd.testing.assert_series_equal(finals.sort_index(), last.sort_index(), check_names=False)
    assert len(results.heads) == 2 * (2 + 1 + 2)  # heads of the three variants, twice
    assert all(len(sample) == 300 for sample in results.samples.values())


def test_the_command_writes_a_folder(trained: Trained, tmp_path: Path) -> None:
    parent = find_sweep(trained.store, None).info.run_id
    result = run("report", parent, "--tracking-uri", trained.uri, "--output", tmp_path / "mine")
    assert result.exit_code == 0, result.output
    assert "The lowest validation loss is that of" in result.output
    assert (tmp_path / "mine" / "report.html").exists()
    assert (tmp_path / "mine" / "attention-2.png").exists()


def test_a_pretrained_model_stands_beside_the_sweep(trained: Trained, tmp_path: Path, text: str) -> None:
    corpus = Corpus.from_text(text[:8000], name="text")
    variant = Shape(n_head=2, n_layer=1, n_embed=8, block_size=16)
    torch.save(PlainGPT(ModelConfig(shape=variant, vocab_size=corpus.vocab_size)).state_dict(), tmp_path / "old.pth")
    store = ("--tracking-uri", trained.uri)
    done = run("evaluate", tmp_path / "old.pth", "--data", trained.text_file, "--device", "cpu", *store)
    assert done.exit_code == 0, done.output
    run_id = next(line for line in done.output.splitlines() if line.startswith("run ")).split()[1]
    result = run("report", "tiny", "--pretrained", run_id, "--attention", run_id, *store, "--output", tmp_path / "r")
    assert result.exit_code == 0, result.output
    page = (tmp_path / "r" / "report.html").read_text()
    assert page.count("old.pth") >= 3  # the table, the attention, the sample
    refused = run("report", "tiny", "--pretrained", "f" * 32, *store, "--output", tmp_path / "r")
    assert refused.exit_code == 1
    assert "is no evaluated pre-trained model" in refused.output


def test_what_cannot_be_reported_is_reported(trained: Trained, tmp_path: Path) -> None:
    missing = run("report", "grid", "--tracking-uri", trained.uri, "--output", tmp_path)
    assert missing.exit_code == 1
    assert "no sweep 'grid' in experiment 'gpt-experiments'" in missing.output
    assert "it holds tiny" in missing.output
    nowhere = run("report", "--tracking-uri", f"sqlite:///{tmp_path}/none.db", "--output", tmp_path)
    assert nowhere.exit_code == 1
    assert "there is nothing to report: no experiment 'gpt-experiments' in sqlite:///" in nowhere.output
    assert not (tmp_path / "none.db").exists()


def test_a_sweep_without_a_finished_trial_has_no_report(store_uri: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(text[:8000])
    wild = DEFINITION.replace("1e-3", "1e18").replace("seeds: 2", "seeds: 1")
    (tmp_path / "wild.yaml").write_text(wild)
    result = run("sweep", tmp_path / "wild.yaml", "--data", tmp_path / "text.txt", "--tracking-uri", store_uri)
    assert result.exit_code == 1
    assert "Writing the report" not in result.output
    store = Store(store_uri)
    with pytest.raises(TrackingError, match="has no finished trial"):
        read_sweep(store)
    (parent,) = store.search(f"tags.`{names.KIND}` = 'sweep'")
    assert parent.info.status == "FAILED"
