"""The page that predicts other variants: as a file, and in a browser."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gpt_experiments.analysis import SweepResults
from gpt_experiments.analysis.prediction import Predictor, fit_predictor
from gpt_experiments.parameters import Shape
from gpt_experiments.report.prediction_page import COLUMNS, prediction_page
from tests.support.simulated import full_grid, one_at_a_time, simulate


def loss(shape: Any) -> float:
    return float(2.5 - 0.05 * np.log2(shape.n_embed) - 0.03 * np.log2(shape.n_layer) + 0.1 * shape.dropout)


@pytest.fixture(scope="module")
def grid() -> SweepResults:
    return simulate(loss, variants=full_grid()[::4], seeds=1)


@pytest.fixture(scope="module")
def predictor(grid: SweepResults) -> Predictor:
    return fit_predictor(grid)


@pytest.fixture(scope="module")
def content(grid: SweepResults, predictor: Predictor) -> str:
    return prediction_page(grid, predictor)


def data_of(page: str) -> dict[str, Any]:
    (block,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return dict(json.loads(block))


def test_every_combination_has_its_prediction(predictor: Predictor, content: str) -> None:
    data = data_of(content)
    values = [parameter["values"] for parameter in data["parameters"]]
    table = np.frombuffer(base64.b64decode(data["table"]), dtype="<f4").reshape(*map(len, values), len(COLUMNS))
    sizes = np.frombuffer(base64.b64decode(data["sizes"]), dtype="<f8").reshape(table.shape[:-1])
    names = [parameter["name"] for parameter in data["parameters"]]
    rng = np.random.default_rng(0)
    compared = 0
    for _ in range(40):
        at = tuple(int(rng.integers(len(of_one))) for of_one in values)
        chosen = {name: of_one[i] for name, of_one, i in zip(names, values, at, strict=True)}
        if chosen["n_embed"] % chosen["n_head"]:
            assert np.isnan(table[at]).all()
            continue
        expected = predictor.predict(pd.DataFrame([chosen])).iloc[0]
        assert table[at] == pytest.approx(expected[list(COLUMNS)].to_numpy(dtype=float), rel=1e-6)
        assert sizes[at] == expected["n_params"]
        compared += 1
    assert compared > 20


def test_the_page_is_small_and_asks_for_nothing(content: str) -> None:
    assert len(content.encode()) < 1_000_000
    assert "default-src 'none'" in content
    assert not re.search(r"(src|href)=\"(?!data:)", content.partition("<script")[0])


def test_what_is_named_by_a_user_breaks_nothing(grid: SweepResults, predictor: Predictor) -> None:
    import dataclasses

    page = prediction_page(dataclasses.replace(grid, name="</script><b>", corpus="<i>&"), predictor)
    assert "</script><b>" not in page
    assert "<i>&" not in page


@pytest.mark.browser
def test_a_reader_tries_variants(
    browser: Any, tmp_path: Path, content: str, predictor: Predictor, grid: SweepResults
) -> None:
    (tmp_path / "predict.html").write_text(content, encoding="utf-8")
    page = browser.new_context(viewport={"width": 360, "height": 700}).new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((tmp_path / "predict.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    for chosen in (
        {"n_head": "8", "n_layer": "6", "n_embed": "96", "dropout": "0.2", "block_size": "192"},
        {"n_head": "1", "n_layer": "1", "n_embed": "32", "dropout": "0", "block_size": "32"},
    ):
        for place, parameter in enumerate(data_of(content)["parameters"]):
            index = parameter["texts"].index(chosen[parameter["name"]])
            page.locator("fieldset").nth(place).locator("label").nth(index).click()
        expected = predictor.predict(pd.DataFrame([{name: float(text) for name, text in chosen.items()}])).iloc[0]
        assert page.locator("#mean").inner_text() == f"{expected['loss']:.4f}"
        assert page.locator("#interval").inner_text().count(f"{expected['low']:.4f} and {expected['high']:.4f}") == 1
        assert page.locator("#size").inner_text() == f"{expected['n_params']:,}"
        shown = page.locator("fieldset").nth(1).locator("label").last.inner_text().split()
        deeper = predictor.predict(pd.DataFrame([{**{n: float(t) for n, t in chosen.items()}, "n_layer": 8}])).iloc[0]
        assert shown == ["8", f"{deeper['loss']:.3f}"]
    nearest = page.locator("#near tr").first.locator("td").all_inner_texts()
    assert nearest[0].replace(" (this one)", "") in set(grid.finished["label"])
    # Arrow keys choose, too.
    page.locator("fieldset").first.locator("input").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("fieldset").first.locator("input").nth(1).is_checked()
    assert complaints == []
    page.context.close()


@pytest.mark.browser
def test_heads_that_do_not_divide_the_width_are_said_with_what_would(browser: Any, tmp_path: Path) -> None:
    shapes = [Shape(n_head=heads, n_embed=width) for heads in (1, 2, 3) for width in (32, 48, 96) if width % heads == 0]
    results = simulate(loss, variants=shapes, seeds=1)
    (tmp_path / "predict.html").write_text(prediction_page(results, fit_predictor(results)), encoding="utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "predict.html").as_uri())
    page.locator("fieldset").nth(0).locator("label").last.click()
    page.locator("fieldset").nth(1).locator("label").first.click()
    said = page.locator("#invalid").inner_text()
    assert said == "n_embed=32 is not divisible by n_head=3; choose n_head from 1, 2."
    assert not page.locator("#loss").is_visible()
    page.close()


@pytest.mark.browser
def test_a_page_of_one_change_at_a_time_marks_what_is_a_guess(browser: Any, tmp_path: Path) -> None:
    results = simulate(loss, variants=one_at_a_time(), seeds=2)
    (tmp_path / "predict.html").write_text(prediction_page(results, fit_predictor(results)), encoding="utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "predict.html").as_uri())
    page.locator("fieldset").nth(1).locator("label").last.click()
    assert not page.locator("#beyond").is_visible()
    page.locator("fieldset").nth(2).locator("label").last.click()
    assert "how they act together is a guess" in page.locator("#beyond").inner_text()
    page.close()
