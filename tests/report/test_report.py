"""Reports from made-up sweeps: what they say, that they stand alone, and that they stay readable."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from gpt_experiments.analysis import SweepResults
from gpt_experiments.config import Variant
from gpt_experiments.report.content import Extras, conclusions, make_document
from gpt_experiments.report.write import importances_of, write_files
from tests.analysis.test_beliefs import as_believed
from tests.support.simulated import STOP_REASON, full_grid, simulate


def written(results: SweepResults, folder: Path) -> str:
    write_files(make_document(results, Extras(importances=importances_of(results))), folder)
    return (folder / "report.html").read_text()


class Addresses(HTMLParser):
    """Collects what a page refers to, and its ids."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "xlink:href") and value is not None:
                self.found.append(value)
            if name == "id" and value is not None:
                self.ids.append(value)


@pytest.fixture(scope="module")
def eleven() -> SweepResults:
    return simulate(as_believed, seeds=6, noise=0.002, details=True)


@pytest.fixture(scope="module")
def folder(eleven: SweepResults, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the eleven variants with six seeds."""
    path = tmp_path_factory.mktemp("report")
    written(eleven, path)
    return path


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report.html").read_text()


def test_the_page_refers_to_nothing_outside_itself(page: str) -> None:
    addresses = Addresses()
    addresses.feed(page)
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in addresses.found)
    inside = {address[1:] for address in addresses.found if address.startswith("#")}
    assert inside <= set(addresses.ids)
    assert len(addresses.ids) == len(set(addresses.ids))
    assert "<script" not in page
    assert "@import" not in page


def test_every_figure_and_table_is_a_file_too(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    for name in ("variants", "effects", "curves-n_head", "loss-by-parameters", "loss-by-time", "loss-by-position"):
        assert {f"{name}.png", f"{name}.svg"} <= names
    summary = pd.read_csv(folder / "summary.csv")
    assert len(summary) == 11
    assert summary["final_val_loss"].is_monotonic_increasing
    effects = pd.read_csv(folder / "effects.csv")
    assert set(effects["verdict"]) <= {"better", "worse", "equivalent", "undecided"}
    assert len(pd.read_csv(folder / "trials.csv")) == 66


def test_it_says_what_the_numbers_say(page: str, eleven: SweepResults) -> None:
    assert "The lowest validation loss is that of n_embed=128" in page
    assert "Takeaway: n_embed=128 is the better choice here; the best level is the last one tried" in page
    assert "The best variant lies at the edge of what was tried (n_embed=128)" in page
    assert "Equal steps are not equal tokens" in page
    assert "same learning rate, 0.0003" in page
    short = conclusions(make_document(eleven, Extras()), eleven)
    assert "n\\_embed=128" in short
    assert short.count("\n| ") == 12  # ten effects below a head and its rule


def test_beliefs_are_findings_in_words_above_their_numbers(folder: Path, page: str) -> None:
    section = page[page.index('id="beliefs"') : page.index('id="attention"')]
    assert section.count('<div class="claim">') == 9
    first = section.split('<div class="claim">')[1]
    assert re.search(r'One head is worse than four. <span class="standing supported">supported</span>', first)
    assert re.search(r"<p>One head is worse than four by 0\.0\d+\.</p>", first)
    assert [row.count("<td") for row in first.split("<tr>")[2:]] == [5]
    assert section.count("<details>") == 1  # of the belief with six numbers, five are folded away
    assert "<summary>5 more numbers</summary>" in section
    rows = pd.read_csv(folder / "beliefs.csv")
    assert (rows["belief"].nunique(), len(rows)) == (9, 18)
    assert rows["quantity"].is_unique or rows.groupby("belief")["quantity"].nunique().sum() == len(rows)
    text = (folder / "report.md").read_text()
    assert "### One head is worse than four. (supported)" in text
    assert "| loss at n\\_head=1 minus at n\\_head=4 |" in text


@pytest.mark.slow
def test_of_stopped_trials_a_report_says_so_and_measures_nothing(tmp_path: Path) -> None:
    gone = [("n_layer=1", seed) for seed in range(3)]
    results = simulate(as_believed, stopped=[*gone, ("n_head=8", 1)], details=True)
    page = written(results, tmp_path)
    assert "4 of 33 trials were stopped early and take no part in what is compared, nor does 1 variant of which" in page
    assert "trials have no result" not in page  # they are not missing
    assert f"n_layer=1 (seed 1337): {STOP_REASON}" in page
    assert "These variants have one, and take no part in any comparison: n_head=8." in page
    summary = pd.read_csv(tmp_path / "summary.csv")
    assert "n_layer=1" not in set(summary["label"])
    assert summary["label"].iloc[-1] == "n_head=8"  # the mean of its lucky seeds has no rank
    assert summary["stopped_seeds"].iloc[-1] == 1
    compared = pd.read_csv(tmp_path / "effects.csv")
    levels = set(zip(compared["hyperparameter"], compared["level"], strict=True))
    assert {("n_layer", 1), ("n_head", 8)}.isdisjoint(levels)
    assert {("n_layer", 8), ("n_head", 1)} < levels


def test_if_every_variant_has_a_stopped_seed_nothing_is_compared(tmp_path: Path) -> None:
    whole = simulate(as_believed, seeds=2)
    results = simulate(as_believed, seeds=2, stopped=[(label, 1) for label in set(whole.trials["label"])])
    page = written(results, tmp_path)
    assert "No variant was trained to its end with every seed, so nothing is compared." in page
    assert "The lowest validation loss is" not in page
    assert not (tmp_path / "effects.csv").exists()
    assert len(pd.read_csv(tmp_path / "summary.csv")) == 11


@pytest.mark.slow
def test_a_grid_with_stopped_cells_does_not_pretend_to_be_complete(tmp_path: Path) -> None:
    """Not even where all cells of a level were stopped, so that the others are a whole grid."""
    grid = [shape for shape in full_grid() if (shape.n_embed, shape.dropout, shape.block_size) == (64, 0.1, 128)]
    labels = [Variant(shape=shape).label(Variant()) for shape in grid if shape.n_layer == 1]
    stopped = [(label, seed) for label in labels for seed in range(2)]
    results = simulate(as_believed, seeds=2, variants=grid, method="grid", stopped=stopped)
    assert not results.is_factorial
    assert simulate(as_believed, seeds=2, variants=grid, method="grid").is_factorial
    page = written(results, tmp_path)
    assert "The variance is not split into main effects and interactions: 6 of 18 trials were stopped early" in page
    assert not (tmp_path / "variance-shares.csv").exists()


@pytest.mark.slow
def test_a_partial_sweep_says_what_is_missing(tmp_path: Path) -> None:
    lost = [("n_head=8", 0), ("n_head=8", 1), ("n_head=8", 2), ("baseline", 1)]
    page = written(simulate(as_believed, lost=lost, details=True), tmp_path)
    assert "4 of 33 trials have no result" in page
    assert "n_head=8 (seed 1337) failed: loss is nan at step 7" in page
    only_one = [(label, 0) for label in simulate(as_believed, seeds=1).trials["label"] if label != "n_layer=8"]
    page = written(simulate(as_believed, seeds=1, lost=only_one, details=True), tmp_path / "one")
    assert "10 of 11 trials have no result" in page
    assert "nan" not in re.sub(r"loss is nan at step 7", "", page)


@pytest.mark.slow
def test_a_full_grid_is_shown_by_effects_and_interactions(tmp_path: Path) -> None:
    page = written(simulate(as_believed, variants=full_grid(), method="grid", seeds=1, details=True), tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"variance-shares.png", "main-effects.png", "interactions.png", "curves-dropout.png"} <= names
    shares = pd.read_csv(tmp_path / "variance-shares.csv")
    assert shares["share"].sum() == pytest.approx(1)
    assert shares["term"].iloc[0] == "n_embed"
    assert "The best 30 and the worst 10 of 243 variants" in page
    assert "variants.png" not in names
    assert len(pd.read_csv(tmp_path / "summary.csv")) == 243


@pytest.mark.slow
def test_an_unbalanced_set_gets_importances_named_as_what_they_are(tmp_path: Path) -> None:
    some = full_grid()[::7]
    page = written(simulate(as_believed, variants=some, method="random", seeds=1, details=True), tmp_path)
    found = pd.read_csv(tmp_path / "importances.csv")
    assert found["importance"].sum() == pytest.approx(1)
    assert found["hyperparameter"].iloc[0] == "n_embed"
    assert "fANOVA importances" in page


def test_of_equal_losses_nothing_is_explained() -> None:
    equal = simulate(lambda v: 2.5, variants=full_grid()[::7], method="random", seeds=1, noise=0.0, seed_effect=0.0)
    assert importances_of(equal) is None
    document = make_document(equal, Extras())
    assert "importances" not in [section.anchor for section in document.sections]


@pytest.mark.slow
def test_a_variant_without_a_sample_is_left_out_of_the_samples(tmp_path: Path) -> None:
    results = simulate(as_believed, seeds=2, details=True)
    kept = {run_id: text for run_id, text in results.samples.items() if run_id not in ("baseline 0", "n_head=8 1")}
    lost = dataclasses.replace(results, samples=kept, left_out=("sample.txt of baseline (seed 1337) is missing",))
    page = written(lost, tmp_path)
    assert page.count("<pre>To be</pre>") == 11  # the baseline's is that of its other seed
    assert "Could not be read: sample.txt of baseline (seed 1337) is missing." in page
    none = make_document(dataclasses.replace(results, samples={}), Extras())
    assert none.sections


def test_an_unfinished_sweep_says_how_many_seeds_it_has_seen() -> None:
    labels = list(dict.fromkeys(simulate(as_believed, seeds=1).trials["label"]))
    lost = [(label, seed) for label in labels for seed in (1, 2)] + [("n_head=8", 0)]
    document = make_document(simulate(as_believed, seeds=3, lost=lost), Extras())
    assert document.subtitle == "10 of 11 variants, 1 of 3 seeds, 10 of 33 trials finished, on made-up"


@pytest.mark.slow
def test_one_seed_gets_no_verdict_and_what_users_name_things_is_no_markup(tmp_path: Path) -> None:
    results = simulate(as_believed, seeds=1, details=True)
    samples = dict.fromkeys(results.samples, "<script>alert(1)</script> & `|`")
    page = written(dataclasses.replace(results, name="<b>mine</b>", samples=samples), tmp_path)
    assert "One seed cannot separate an effect from luck" in page
    assert "python -m gpt_experiments sweep &#39;&lt;b&gt;mine&lt;/b&gt;.yaml&#39; --steps 100 --until-decided" in page
    assert "no verdict" in page
    assert "<script" not in page
    assert "<b>mine" not in page
    assert "&lt;b&gt;mine" in page
    assert r"\<b\>mine" in (tmp_path / "report.md").read_text()
