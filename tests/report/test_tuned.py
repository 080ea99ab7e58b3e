"""The section of a report on variants that were tuned, and whole sweeps that tune, through the program."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gpt_experiments import names
from gpt_experiments.cli import program
from gpt_experiments.cli.display import PlainDisplay
from gpt_experiments.parameters import Shape
from gpt_experiments.records import PlannedTrial
from gpt_experiments.report.content import Extras, make_document
from gpt_experiments.report.document import Bullets, Document, Paragraph, Section
from gpt_experiments.tracking import Store
from gpt_experiments.tracking.pages import keep_views
from gpt_experiments.tracking.reader import read_sweep, read_sweep_trials
from gpt_experiments.tracking.sweep_record import find_sweep
from tests.support.simulated import simulate, simulate_tuned

DEFINITION = """
name: tuned
method: one-at-a-time
baseline: {n_head: 1, n_layer: 1, n_embed: 8, dropout: 0.0, block_size: 16}
levels: {n_embed: [16]}
training: {steps: 6, batch_size: 2, eval_interval: 6, learning_rate: 1e-3}
seeds: 2
nuisance: {learning_rate: [1e-3, 3e-2, 1.0e+30]}
"""


def suits(shape: Shape, rate: float) -> float:
    return 2.0 + 0.3 * math.log10(rate / (1e-3 if shape.n_layer == 1 else 3e-4)) ** 2


def section(document: Document) -> Section:
    (found,) = [section for section in document.sections if section.anchor == "tuned"]
    return found


def sentences(section: Section) -> str:
    texts = [block.text for block in section.blocks if isinstance(block, Paragraph)]
    return "\n".join(
        [*texts, *(item for block in section.blocks if isinstance(block, Bullets) for item in block.items)]
    )


def test_a_report_shows_every_effect_both_ways_and_what_changes() -> None:
    document = make_document(simulate_tuned(suits, seeds=5), Extras())
    found = section(document)
    assert found.title == "Each at its best learning rate"
    (effects,) = [table for table in document.tables() if table.name == "effects-at-best"]
    (row,) = [row for row in effects.shown.to_dict("records") if row["level"] == "n_layer=1"]
    assert (row["verdict"], row["best of the level"], row["best of the baseline"]) == ("worse", "0.001", "0.0003")
    assert row["verdict at best"] != "worse"
    assert row["difference at 0.0003"].startswith("+0.07")
    assert len(effects.shown) == 10
    assert "One layer is much worse than four: supported at one learning rate" in sentences(found)
    (figure,) = [picture for picture in document.pictures() if picture.name == "sensitivity-learning_rate"]
    assert "n_layer=1 0.001, n_layer=4 0.0003" in figure.alt
    assert any("trained at one learning rate, 0.0003" in sentence for sentence in document.lead)
    assert document.subtitle.endswith("each tuned over learning rate beforehand")


@pytest.mark.slow
def test_a_grid_is_tuned_too_and_a_sweep_that_does_not_tune_has_no_such_section() -> None:
    shapes = [Shape(n_head=n_head, n_layer=n_layer) for n_head in (1, 4) for n_layer in (1, 4)]
    document = make_document(simulate_tuned(suits, variants=shapes, method="grid"), Extras())
    (effects,) = [table for table in document.tables() if table.name == "effects-at-best"]
    assert list(effects.shown["best of the level"]) == ["0.0003", "0.001"]
    assert "The best values are those with the others at the baseline's" in effects.caption
    plain = make_document(simulate(lambda shape: 2.0), Extras())
    assert "tuned" not in [section.anchor for section in plain.sections]


def run(*arguments: object, status: int = 0) -> Result:
    result = CliRunner().invoke(program, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    return result


class Workplace:
    """A folder with a text, a definition and a store."""

    def __init__(self, folder: Path, text: str) -> None:
        self.uri = f"sqlite:///{folder}/mlflow.db"
        (folder / "text.txt").write_text(text[:3000], encoding="utf-8")
        (folder / "tuned.yaml").write_text(DEFINITION)

    def sweep(self, *options: object, status: int = 0) -> dict[str, Any]:
        """What `sweep --json` answers."""
        given = ("--data", "text.txt", "--tracking-uri", self.uri, "--device", "cpu", "--executor", "inline", "--json")
        return json.loads(run("sweep", "tuned.yaml", *given, *options, status=status).stdout)

    @property
    def store(self) -> Store:
        return Store(self.uri)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, _empty_store: Path, text: str) -> Iterator[Workplace]:
    folder = tmp_path_factory.mktemp("tuned")
    (folder / "mlflow.db").write_bytes(_empty_store.read_bytes())
    with contextlib.chdir(folder):
        yield Workplace(folder, text)


@pytest.fixture(scope="module")
def ended(place: Workplace) -> dict[str, Any]:
    """The sweep, interrupted as soon as it compares, and then run to its end."""
    plan = place.sweep("--dry-run")
    assert (plan["total"], plan["to_train"], plan["to_choose"]) == (14, 6, 8)
    assert "up to 8 more trials follow from the results of these" in plan["notices"][0]
    assert [trial["tuning"] for trial in plan["trials"]] == [True] * 6
    show = PlainDisplay.trial_started

    def interrupt(self: PlainDisplay, planned: PlannedTrial) -> None:
        show(self, planned)
        if not planned.is_tuning:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PlainDisplay, "trial_started", interrupt)
        interrupted = place.sweep(status=130)
    assert interrupted["counts"]["finished"] == 4
    assert interrupted["counts"]["failed"] == 2  # at 1e30 every variant diverges
    assert interrupted["counts"]["interrupted"] == 1
    return place.sweep("--quiet", status=1)  # a trial that diverged is one that failed


@pytest.mark.slow
def test_a_sweep_tunes_compares_and_goes_on_where_it_was_interrupted(place: Workplace, ended: dict[str, Any]) -> None:
    assert (ended["total"], ended["counts"]["reused"], ended["counts"]["finished"]) == (14, 4, 8)
    compared = [trial for trial in ended["trials"] if not trial["tuning"]]
    assert {(trial["label"], trial["seed"]) for trial in compared} == {
        (label, seed)
        for label in ("baseline", "learning_rate=0.03", "n_embed=16", "n_embed=16 learning_rate=0.03")
        for seed in (1337, 1338)
    }
    assert ended["best"] == min(compared, key=lambda trial: trial["best_val_loss"])
    again = place.sweep("--dry-run")
    assert [trial["label"] for trial in again["trials"] if not trial["done"]] == [
        "learning_rate=1e+30",
        "n_embed=16 learning_rate=1e+30",
    ]


@pytest.mark.slow
def test_what_tuned_is_read_back_apart_from_what_compares(place: Workplace, ended: dict[str, Any]) -> None:
    results = read_sweep(place.store)
    assert set(results.trials["label"]) == {"baseline", "n_embed=16"}
    assert results.planned_seeds == [1337, 1338]
    assert "learning_rate" not in results.parameters
    assert results.tuning is not None
    assert set(results.tuning.trials["seed"]) == {1001337}
    assert set(results.tuning.elsewhere["learning_rate"]) == {0.03}
    report = run("report", "--tracking-uri", place.uri, "--output", "report").stdout
    assert "trained at one learning rate, 0.001" in report
    page = Path("report/report.html").read_text()
    assert "Each at its best learning rate" in page
    assert "so they are never the best: baseline at 1e+30, n_embed=16 at 1e+30." in page
    assert (Path("report") / "effects-at-best.csv").is_file()
    assert (Path("report") / "sensitivity-learning_rate.png").is_file()


@pytest.mark.slow
def test_what_tuned_does_not_compete_for_the_registry(place: Workplace, ended: dict[str, Any]) -> None:
    assert len(read_sweep_trials(place.store).trials) == 8
    answer = json.loads(run("register", "--confirm", "0", "--tracking-uri", place.uri, "--json").stdout)
    compared = {trial["run_id"] for trial in ended["trials"] if not trial["tuning"]}
    assert answer["run_id"] in compared


@pytest.mark.slow
def test_mlflows_pages_compare_without_what_tuned(place: Workplace, ended: dict[str, Any]) -> None:
    parent = find_sweep(place.store, "tuned")
    problems: list[str] = []
    keep_views(place.store, parent.info.run_id, notice=problems.append)
    assert problems == []
    tags = place.store.client.get_experiment(place.store.experiment.experiment_id).tags
    (content,) = [value for value in tags.values() if '"name":"tuned: Leaderboard"' in value]
    condition = json.loads(json.loads(content)["state"])["searchFilter"]
    shown = {run.info.run_id for run in place.store.search(condition)}
    assert shown == {trial["run_id"] for trial in ended["trials"] if not trial["tuning"]} | _interrupted(place)


def _interrupted(place: Workplace) -> set[str]:
    runs = place.store.search(f"tags.`{names.KIND}` = 'trial'")
    return {run.info.run_id for run in runs if run.info.status == "KILLED"}


@pytest.mark.slow
def test_two_such_sweeps_can_be_compared(place: Workplace, ended: dict[str, Any]) -> None:
    answer = json.loads(run("diff", "tuned", "tuned", "--tracking-uri", place.uri, "--json").stdout)
    assert {pair["label"] for pair in answer["variants"]} == {"baseline", "n_embed=16"}


@pytest.mark.slow
def test_without_its_plan_a_sweep_still_knows_what_tuned(place: Workplace, ended: dict[str, Any]) -> None:
    store = place.store
    parent = find_sweep(store, "tuned")
    plan = Path(store.client.download_artifacts(parent.info.run_id, names.PLAN_FILE))
    text = plan.read_text()
    try:
        plan.write_text("no plan")
        results = read_sweep(store)
    finally:
        plan.write_text(text)
    assert set(results.trials["seed"]) == {1337, 1338}
    assert results.tuning is not None
    assert set(results.tuning.trials["seed"]) == {1001337}
