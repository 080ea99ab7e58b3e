"""That a report has a page of predictions where the sweep allows one, and says why where it does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from mlflow import MlflowClient

from gpt_experiments.cli import program
from gpt_experiments.corpus import Corpus
from gpt_experiments.parameters import Shape
from gpt_experiments.tracking import Store
from tests.support.page_stores import add_sweep


@pytest.mark.parametrize("variants", [9, pytest.param(4, marks=pytest.mark.slow)])
def test_the_page_lies_beside_the_report_and_in_the_run(
    store_uri: str, corpus: Corpus, tmp_path: Path, variants: int
) -> None:
    shapes = [Shape(n_layer=depth, n_embed=width) for depth in (1, 2, 4) for width in (16, 32, 64)][-variants:]
    sweep = add_sweep(Store(store_uri), corpus, shapes)
    folder = tmp_path / "report"
    arguments = ["report", sweep, "--tracking-uri", store_uri, "--output", str(folder)]
    answer = json.loads(CliRunner().invoke(program, [*arguments, "--json"]).stdout)
    shown = CliRunner().invoke(program, arguments).stdout
    files = {file.path for file in MlflowClient(store_uri).list_artifacts(sweep, "report")}
    page = folder / "predict.html"
    report = (folder / "report.html").read_text(encoding="utf-8")
    if variants == 9:
        assert answer["prediction"] == str(page)
        assert f"Predictions of other variants: {page}" in shown
        assert '<a href="predict.html">predict.html</a> predicts the loss' in report
        assert "[predict.html](predict.html)" in (folder / "report.md").read_text(encoding="utf-8")
        assert "report/predict.html" in files
        assert "what another variant would reach" in page.read_text(encoding="utf-8")
    else:
        assert answer["prediction"] is None
        assert "Predictions of" not in shown
        assert "needs at least 8 variants that have finished, and this sweep has 4" in report
        assert not page.exists()
