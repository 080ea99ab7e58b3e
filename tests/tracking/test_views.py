"""The saved views and the description that an experiment has in MLflow: written once, and left to their owner."""

from __future__ import annotations

import dataclasses
import json
import re
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gpt_experiments import names
from gpt_experiments.config import ModelConfig, Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.corpus.sources import load_corpus
from gpt_experiments.parameters import HYPERPARAMETERS, Shape, TrainingSetup
from gpt_experiments.sweep.definition import SweepDefinition
from gpt_experiments.sweep.definition_file import load_definition
from gpt_experiments.sweep.resources import RunOptions
from gpt_experiments.sweep.runner import run_single, run_sweep
from gpt_experiments.tracking import Store
from gpt_experiments.tracking.pages import MOST_SWEEPS, keep_views, page_address
from gpt_experiments.tracking.views import TAG_PREFIX, View, view_kinds
from tests.support.listeners import Recorder
from tests.support.page_stores import add_sweep, add_trial
from tests.support.stores import finished_trials

NOTE = "mlflow.note.content"
TITLES = ["Leaderboard", "Curves", "What it costs", "Hyperparameters", "Attention"]
INLINE = RunOptions(device="cpu", executor="inline")
TINY = SweepDefinition(
    name="tiny",
    method="one-at-a-time",
    baseline=Shape(n_head=2, n_layer=1, n_embed=8, dropout=0.0, block_size=16),
    levels={"n_head": (1, 4)},
    training=TrainingSetup(steps=2, batch_size=2, eval_interval=2),
)


@pytest.fixture
def store(store_uri: str) -> Store:
    return Store(store_uri)


def tags(store: Store) -> dict[str, str]:
    found: dict[str, str] = store.client.get_experiment(store.experiment.experiment_id).tags
    return found


def set_tag(store: Store, tag: str, value: str) -> None:
    store.client.set_experiment_tag(store.experiment.experiment_id, tag, value)


def views(store: Store) -> dict[str, dict[str, Any]]:
    """The views by name, in the order of MLflow's menu."""
    found = [json.loads(value) for tag, value in tags(store).items() if tag.startswith(TAG_PREFIX)]
    return {view["name"]: view for view in sorted(found, key=lambda view: -view["createdAt"])}


def state(store: Store, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(views(store)[name]["state"])
    return found


def tag_of(store: Store, name: str) -> str:
    return next(tag for tag, value in tags(store).items() if f'"name":"{name}"' in value)


def shown(store: Store, name: str) -> set[str]:
    """The ids of the runs that a view finds."""
    return {run.info.run_id for run in store.search(state(store, name)["searchFilter"])}


def keep(store: Store, run_id: str | None = None, **how: bool) -> None:
    keep_views(store, run_id, notice=pytest.fail, **how)


def test_an_experiment_gets_five_views_a_description_and_its_kind(store: Store, corpus: Corpus) -> None:
    add_sweep(store, corpus, [Shape(), Shape(n_head=8)])
    alone = add_trial(store, corpus, Shape(n_layer=1))
    keep(store)

    assert list(views(store)) == TITLES
    trials = {run.info.run_id for run in store.search(f"tags.`{names.KIND}` = 'trial'")}
    assert len(trials) == 3
    for name, view in views(store).items():
        assert shown(store, name) == trials
        assert alone in trials
        by_chance = name in ("What it costs", "Hyperparameters")
        assert state(store, name)["orderByKey"] == ("tags.`gpt.cell`" if by_chance else "metrics.`final_val_loss`")
        assert state(store, name)["orderByAsc"] is True
        assert len(json.dumps(view)) < 10_000, "MLflow takes 20,000 characters"
    columns = state(store, "Leaderboard")["selectedColumns"]
    assert {f"params.`{name}`" for name in HYPERPARAMETERS} < set(columns)
    assert "metrics.`final_val_loss`" in columns
    found = tags(store)
    assert all(title in found[NOTE] for title in TITLES)
    assert found["mlflow.experimentKind"] == "custom_model_development"
    assert found["mlflow.experiment.primaryMetric.name"] == "final_val_loss"
    assert found["mlflow.experiment.primaryMetric.greaterIsBetter"] == "False"


def test_every_chart_is_of_something_that_a_trial_has(store: Store, corpus: Corpus) -> None:
    run = store.client.get_run(add_trial(store, corpus, Shape()))
    keep(store)
    for name in TITLES[1:]:
        given = state(store, name)
        sections = {section["uuid"] for section in given["compareRunSections"]}
        assert given["compareRunCharts"]
        for chart in given["compareRunCharts"]:
            assert chart["metricSectionId"] in sections
            axes = [chart[axis] for axis in ("xaxis", "yaxis") if axis in chart]
            metrics = {axis["key"] for axis in axes if axis["type"] == "METRIC"} | {*chart.get("selectedMetrics", [])}
            params = {axis["key"] for axis in axes if axis["type"] == "PARAM"} | {*chart.get("selectedParams", [])}
            metrics |= {*chart.get("selectedMetricKeys", [])}
            assert metrics <= run.data.metrics.keys()
            assert params <= run.data.params.keys()
            assert metrics | params or chart["imageKeys"] == [names.ATTENTION_IMAGE]


@pytest.mark.slow
def test_a_sweep_has_views_of_its_own_trials_and_of_those_that_it_reuses(store: Store, corpus: Corpus) -> None:
    first = run_sweep(TINY, corpus, store, INLINE, Recorder())
    listener = Recorder()
    wider = dataclasses.replace(TINY, name="wider", levels={"n_head": (4, 8)})
    second = run_sweep(wider, corpus, store, INLINE, listener)

    assert sorted(trial.outcome for trial in second.trials) == ["finished", "reused", "reused"]
    assert listener.notices == []
    menu = list(views(store))
    assert menu == [*TITLES, *(f"wider: {title}" for title in TITLES), *(f"tiny: {title}" for title in TITLES)]
    for title in TITLES:
        assert shown(store, f"tiny: {title}") == {trial.run_id for trial in first.trials}
        assert shown(store, f"wider: {title}") == {trial.run_id for trial in second.trials}


@pytest.mark.slow
def test_the_views_are_there_while_the_sweep_trains(store: Store, corpus: Corpus) -> None:
    seen: list[list[str]] = []

    class Watcher(Recorder):
        def trial_started(self, planned: Any) -> None:
            seen.append(list(views(store)))

    run_sweep(TINY, corpus, store, INLINE, Watcher())
    assert [f"tiny: {title}" for title in TITLES] == seen[0][5:]


@pytest.mark.slow
def test_a_trial_on_its_own_brings_the_experiments_views(store: Store, corpus: Corpus) -> None:
    trial = Trial(shape=TINY.baseline, training=TINY.training)
    report = run_single(trial, corpus, store, INLINE, Recorder())
    assert list(views(store)) == TITLES
    assert shown(store, "Leaderboard") == {report.trials[0].run_id}


def test_what_is_unchanged_is_not_written_again(store: Store, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = add_sweep(store, corpus, [Shape()])
    keep(store, parent)
    before = tags(store)
    monkeypatch.setattr("time.time", lambda: 4e9)  # a view that is written bears the time
    keep(store, parent)
    assert tags(store) == before


def test_what_a_person_made_or_changed_stays(store: Store, corpus: Corpus) -> None:
    own = TAG_PREFIX + "someones"
    set_tag(store, own, json.dumps({"name": "Curves", "createdAt": 1, "updatedAt": 1, "state": "{}"}))
    set_tag(store, "mlflow.experiment.primaryMetric.name", "best_val_loss")
    keep(store)
    changed = tag_of(store, "Leaderboard")
    set_tag(store, changed, tags(store)[changed].replace('"Leaderboard"', '"Mine"'))
    damaged = tag_of(store, "Attention")
    set_tag(store, damaged, "not JSON")
    set_tag(store, NOTE, tags(store)[NOTE].replace("Losses", "The losses"))
    before = tags(store)
    keep(store)
    assert tags(store) == before
    assert '"Mine"' in before[changed]


def test_what_is_missing_or_of_an_earlier_version_is_written(store: Store) -> None:
    keep(store)
    wanted = views(store)
    lost, earlier = tag_of(store, "Curves"), tag_of(store, "Leaderboard")
    store.client.delete_experiment_tag(store.experiment.experiment_id, lost)
    old = View(view_id=earlier.removeprefix(TAG_PREFIX), name="Best first", created_at=7, state="{}")
    set_tag(store, earlier, old.content(now=7))
    assert list(views(store)) != list(wanted)
    keep(store)
    assert {name: view["state"] for name, view in views(store).items()} == {
        name: view["state"] for name, view in wanted.items()
    }


def test_a_description_of_an_earlier_version_is_brought_up_to_date(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr("gpt_experiments.tracking.description._WHAT_IT_SAYS", "What an earlier version said.")
        keep(store)
    assert "earlier version" in tags(store)[NOTE]
    keep(store)
    assert "earlier version" not in tags(store)[NOTE]
    assert "Leaderboard" in tags(store)[NOTE]


def test_the_description_has_a_link_to_every_view(store: Store, corpus: Corpus) -> None:
    for name in ("mine", "a [b](c) *d*"):
        keep(store, add_sweep(store, corpus, [], name=name))
    found = tags(store)
    linked = re.findall(r"viewStateShareKey=([\w-]+)", found[NOTE])
    assert sorted(linked) == sorted(tag.removeprefix(TAG_PREFIX) for tag in found if tag.startswith(TAG_PREFIX))
    first, second, third = found[NOTE].split("\n\n")[:3]
    assert first.startswith("Compare all trials: [Leaderboard](#/experiments/")
    assert second.startswith(r"a \[b\]\(c\) \*d\*: [Leaderboard]")
    assert third.startswith("mine: [Leaderboard]")


def test_only_the_sweeps_written_last_keep_their_views(
    store: Store, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_tag(store, TAG_PREFIX + "someones", '{"name": "Mine", "createdAt": 1, "updatedAt": 1, "state": "{}"}')
    parents = [add_sweep(store, corpus, [], name=f"sweep {number}") for number in range(MOST_SWEEPS + 1)]
    for number, parent in enumerate(parents):
        monkeypatch.setattr("time.time", lambda number=number: 4e9 + number)
        keep(store, parent)
    assert "sweep 0: Leaderboard" not in views(store)
    keep(store, parents[0])  # as `ui` does for a sweep that was asked for
    there = list(views(store))
    assert {name.partition(":")[0] for name in there if ":" in name} == {"sweep 0", "sweep 2", "sweep 3", "sweep 4"}
    assert len(there) == 5 * (1 + MOST_SWEEPS) + 1 < 40, "a person must be able to save some as well"
    assert {"Mine", "Leaderboard"} < set(there)


def test_two_sweeps_of_one_name_can_be_told_apart(store: Store, corpus: Corpus) -> None:
    for parent in [add_sweep(store, corpus, [], name="mine") for _ in range(2)]:
        keep(store, parent)
        keep(store, parent)
    boards = [name for name in views(store) if name.startswith("mine") and name.endswith("Leaderboard")]
    assert len(boards) == 2
    assert "mine: Leaderboard" in boards


@pytest.mark.slow
def test_a_store_that_cannot_be_written_costs_a_notice_and_no_sweep(store: Store, corpus: Corpus) -> None:
    with closing(sqlite3.connect(store.uri.removeprefix("sqlite:///"))) as database:
        database.execute("CREATE TRIGGER t BEFORE INSERT ON experiment_tags BEGIN SELECT RAISE(FAIL, 'no'); END")
        database.execute(
            "CREATE TRIGGER u BEFORE UPDATE ON tags WHEN NEW.key = 'gpt.sweeps' BEGIN SELECT RAISE(FAIL, 'no'); END"
        )
        database.commit()
    listener = Recorder()
    report = run_sweep(TINY, corpus, store, INLINE, listener)
    assert report.is_complete
    (notice,) = listener.notices
    assert notice.startswith("MLflow's pages may not show the saved views: ")
    listener = Recorder()
    wider = dataclasses.replace(TINY, name="wider", levels={"n_head": (4, 8)})
    assert run_sweep(wider, corpus, store, INLINE, listener).is_complete
    assert [notice.partition(":")[0] for notice in listener.notices] == [
        "MLflow's pages may not show the saved views",
        "MLflow's pages will not show reused trials with this sweep",
    ], "one for two reused trials"


def test_a_sweep_of_an_earlier_version_has_its_trials(tmp_path: Path) -> None:
    with tarfile.open(Path(__file__).parents[1] / "support" / "store-0.1.0.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    store = Store(f"sqlite:///{tmp_path}/mlflow.db")
    (parent,) = store.search(f"tags.`{names.KIND}` = 'sweep'")
    trials = {run.info.run_id for run in store.search(f"tags.`{names.KIND}` = 'trial'")}
    keep(store, parent.info.run_id)
    assert shown(store, "tiny: Leaderboard") == trials

    corpus = load_corpus(str(tmp_path / "text.txt"), report=lambda text: None)
    run_sweep(load_definition(str(tmp_path / "tiny.yaml")), corpus, store, INLINE, Recorder())
    assert names.SWEEPS in state(store, "tiny: Leaderboard")["searchFilter"]
    assert shown(store, "tiny: Leaderboard") == trials


def test_the_address_names_the_view_and_the_side_of_mlflow(store: Store) -> None:
    keep(store)
    for kind, (_, is_chart) in view_kinds().items():
        address = page_address("http://somewhere:5000", store.experiment, kind=kind)
        assert address.startswith(f"http://somewhere:5000/#/experiments/{store.experiment.experiment_id}/runs?")
        assert "workflowType=machine_learning" in address
        assert ("compareRunsMode=CHART" in address) == is_chart
        key = address.partition("viewStateShareKey=")[2].partition("&")[0]
        assert TAG_PREFIX + key in tags(store)


@pytest.mark.slow
def test_a_trial_says_what_its_training_cost(store: Store, corpus: Corpus) -> None:
    run_sweep(TINY, corpus, store, INLINE, Recorder())
    (run,) = store.search(f"tags.`{names.VARIANT}` = 'baseline'")
    per_token = ModelConfig(shape=TINY.baseline, vocab_size=corpus.vocab_size).flops_per_token
    assert run.data.metrics[names.FLOPS] == pytest.approx(2 * 2 * 16 * per_token)
    assert list(finished_trials(store).by_cell), "and without it a trial is finished as well: see the earlier store"
