"""MLflow's own pages in a browser: what a person sees who types `ui`, or plain `mlflow ui`, after a sweep."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect

from gpt_experiments.corpus import Corpus
from gpt_experiments.parameters import HYPERPARAMETERS, Shape
from gpt_experiments.tracking import Store
from gpt_experiments.tracking.pages import keep_views, page_address
from gpt_experiments.tracking.server import PageServer
from tests.support.page_stores import add_sweep, add_trial, final_loss
from tests.support.simulated import one_at_a_time

pytestmark = pytest.mark.browser

SEEDS = (0, 1)
SHAPES = one_at_a_time()
OTHER = Shape(n_head=1, n_layer=1)
"""What a trial of its own was trained with."""
PATIENCE = 60_000  # ms; MLflow's page has 20 MB of scripts


@dataclass(frozen=True, kw_only=True)
class Served:
    store: Store
    address: str
    parent: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, corpus: Corpus) -> Iterator[Served]:
    """A store with a sweep of eleven variants, one of its trials with images, and a trial beside it."""
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('pages')}/mlflow.db")
    parent = add_sweep(store, corpus, SHAPES, seeds=SEEDS, name="mine")
    add_trial(store, corpus, OTHER, images=True)
    keep_views(store, parent, notice=pytest.fail)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with PageServer(store.uri, "127.0.0.1", port) as server:
        assert server.wait_until_it_answers(lambda: False)
        yield Served(store=store, address=server.address, parent=parent)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of a browser that sees MLflow for the first time; no script may fail on it."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    context.set_default_timeout(PATIENCE)
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    assert errors == []
    context.close()


def cells(page: Page, column: str) -> list[str]:
    """The values of a column of the table, from top to bottom."""
    page.locator(f'[role=gridcell][col-id="{column}"]').first.wait_for()
    rows = page.locator(".ag-center-cols-container [role=row]").all()
    found = {
        int(row.get_attribute("row-index") or 0): row.locator(f'[role=gridcell][col-id="{column}"]').inner_text()
        for row in rows
    }
    return [found[index] for index in sorted(found)]


def shows_the_leaderboard(page: Page, trials: int, lowest: float) -> None:
    expect(page.get_by_text(re.compile(rf"^{trials} matching runs$"))).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_test_id("saved-views-trigger")).to_contain_text("Leaderboard")
    losses = [float(text.strip("…")) for text in cells(page, "metrics.`final_val_loss`")]
    assert len(losses) > 10
    assert losses == sorted(losses)
    assert losses[0] == pytest.approx(lowest, abs=1e-3)
    for name in HYPERPARAMETERS:
        assert cells(page, f"params.`{name}`")[0] == str(getattr(min(SHAPES, key=final_loss), name))


def charts(page: Page, count: int) -> list[str]:
    """The titles of the charts that are shown, once there are so many; the page makes them as they come into view."""
    cards = page.get_by_test_id("experiment-view-compare-runs-card")
    expect(cards).to_have_count(count, timeout=PATIENCE)
    return [text.split("\n")[0] for text in cards.all_inner_texts()]


def test_the_address_opens_on_the_leaderboard_of_all_trials(page: Page, served: Served) -> None:
    page.goto(page_address(served.address, served.store.experiment))
    lowest = min(final_loss(shape) for shape in SHAPES)
    shows_the_leaderboard(page, len(SHAPES) * len(SEEDS) + 1, lowest)


def test_the_address_of_a_sweep_opens_on_its_trials_alone(page: Page, served: Served) -> None:
    page.goto(page_address(served.address, served.store.experiment, served.parent))
    shows_the_leaderboard(page, len(SHAPES) * len(SEEDS), min(final_loss(shape) for shape in SHAPES))
    expect(page.get_by_test_id("saved-views-trigger")).to_contain_text("mine: Leaderboard")


def test_the_curves_are_one_for_each_variant_and_none_is_hidden(page: Page, served: Served) -> None:
    page.goto(page_address(served.address, served.store.experiment, served.parent, kind="curves"))
    expect(page.get_by_text("Group by: gpt.variant")).to_be_visible(timeout=PATIENCE)
    assert charts(page, 2) == ["val_loss", "train_loss"]
    shown = page.locator(".js-plotly-plot").first.locator("g.trace path.js-line")
    expect(shown.nth(len(SHAPES) - 1)).to_be_attached(timeout=PATIENCE)
    expect(page.get_by_text("baseline (val_loss)")).to_be_attached()


@pytest.mark.parametrize(
    ("kind", "titles"),
    [
        ("costs", ["n_params vs. final_val_loss", "train_seconds vs. final_val_loss", "flops vs. final_val_loss"]),
        ("hyperparameters", ["Parallel Coordinates", *(f"{name} vs. final_val_loss" for name in HYPERPARAMETERS)]),
        ("attention", ["attention"]),
    ],
)
def test_the_other_charts_are_there_and_show_something(
    page: Page, served: Served, kind: str, titles: list[str]
) -> None:
    page.set_viewport_size({"width": 1400, "height": 2400})
    page.goto(page_address(served.address, served.store.experiment, kind=kind))
    assert charts(page, len(titles)) == titles
    if kind == "attention":
        image = page.locator("img.rc-image-img").first
        expect(image).to_be_visible(timeout=PATIENCE)
        assert "attention" in (image.get_attribute("src") or "")
        assert image.evaluate("image => image.naturalWidth") > 0
    else:
        expect(page.locator("g.trace path.point").first).to_be_attached(timeout=PATIENCE)


def test_a_person_who_types_mlflow_ui_finds_the_leaderboard_in_the_menu(page: Page, served: Served) -> None:
    page.goto(f"{served.address}/#/experiments")
    page.get_by_role("link", name="gpt-experiments").first.click()
    page.get_by_text("Got it").click()
    page.get_by_text("Model training").first.click()
    page.get_by_role("link", name="Runs").first.click()
    page.get_by_test_id("saved-views-trigger").click()
    page.get_by_text("Leaderboard", exact=True).last.click()
    lowest = min(final_loss(shape) for shape in SHAPES)
    shows_the_leaderboard(page, len(SHAPES) * len(SEEDS) + 1, lowest)


def test_the_description_leads_there_with_one_click(page: Page, served: Served) -> None:
    page.goto(f"{served.address}/#/experiments")
    page.get_by_role("link", name="gpt-experiments").first.click()
    page.get_by_text("Got it").click()
    assert "gpt.digest" not in page.locator("body").inner_text(), "what a later look needs is hidden"
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Curves", exact=True).first.click()
    expect(opened.value.get_by_text("Group by: gpt.variant")).to_be_visible(timeout=PATIENCE)
    assert charts(opened.value, 2) == ["val_loss", "train_loss"]
