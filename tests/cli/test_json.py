"""`--json`: one object on standard output for every end of every command, as `docs/json.md` says."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gpt_experiments import names
from gpt_experiments.analysis import beliefs, effects
from gpt_experiments.analysis.comparison import Difference, FactsComparison, HeadDifference, TrialDiff, compare_curves
from gpt_experiments.analysis.results import TrialResults
from gpt_experiments.analysis.sweep_comparison import HeadOfVariant, SweepDiff, pair_trials
from gpt_experiments.app.rerun import Rerun
from gpt_experiments.bench.results import (
    BenchResult,
    Machine,
    OrchestrationTimes,
    ScalingTimes,
    StepTimes,
    SweepTimes,
)
from gpt_experiments.cli import program
from gpt_experiments.cli.comparison_fields import rerun_fields, sweeps_fields, trials_fields
from gpt_experiments.cli.display import PlainDisplay
from gpt_experiments.cli.register_fields import registered_fields
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import TrackingError
from gpt_experiments.model.difference import WeightsDifference
from gpt_experiments.records import PlannedTrial, RunFacts
from gpt_experiments.report import tables
from gpt_experiments.report.beliefs import beliefs_table
from gpt_experiments.report.content import Extras, make_document
from gpt_experiments.tracking import Store
from gpt_experiments.training import Evaluation
from tests.support.confirmed import made_up_registration
from tests.support.json_page import JsonPage, answer, run
from tests.support.left import another_process, join_as, leave_to
from tests.support.simulated import full_grid, simulate, simulate_tuned

pytestmark = pytest.mark.slow

DEFINITION = """
name: tiny
method: one-at-a-time
baseline: {n_head: 1, n_layer: 1, n_embed: 8, dropout: 0.0, block_size: 16}
levels: {n_head: [2]}
training: {steps: 2, batch_size: 2, eval_interval: 2}
"""
DIVERGING = """
name: diverging
method: one-at-a-time
baseline: {n_head: 1, n_layer: 1, n_embed: 8, dropout: 0.0, block_size: 16}
levels: {n_head: [2]}
training: {steps: 5, batch_size: 2, eval_interval: 5, learning_rate: 1.0e+30}
"""
ADAPTIVE = """
name: adaptive
method: tpe
trials: 3
baseline: {n_head: 1, n_layer: 1, n_embed: 8, dropout: 0.0, block_size: 16}
levels: {dropout: {low: 0.0, high: 0.5}}
training: {steps: 2, batch_size: 2, eval_interval: 2}
"""
PRUNED = """
name: pruned
method: grid
baseline: {n_head: 1, n_layer: 1, n_embed: 8, dropout: 0.0, block_size: 16}
levels: {n_head: [1, 2]}
training: {steps: 6, batch_size: 2, eval_interval: 2}
seeds: 3
pruner: halving
"""
SHAPE = ("--n-head", 1, "--n-layer", 1, "--n-embed", 8, "--dropout", 0, "--block-size", 16)
LENGTH = ("--steps", 2, "--batch-size", 2, "--eval-interval", 2)
TINY = ("tiny", "--confirm", 0)
RARE = {("report", name) for name in ("variance_shares", "importances", "effects_at_best", "tuning", "prediction")}
RARE |= {("effect", "look")}
"""What no tiny sweep has; of a sweep that is made up, their members are compared with the page."""


class Workplace:
    """A folder with a text, sweep files and a store, in which commands are run.

    Attributes:
        page: with which every object that they print is compared.
        headings: of the sections of these objects.
    """

    def __init__(self, folder: Path, uri: str, text: str) -> None:
        self.folder, self.uri, self.page = folder, uri, JsonPage()
        self.headings: set[str] = set()
        self.text_file = folder / "text.txt"
        self.text_file.write_text(text[:3000], encoding="utf-8")
        for name, definition in (
            ("tiny", DEFINITION),
            ("diverging", DIVERGING),
            ("adaptive", ADAPTIVE),
            ("pruned", PRUNED),
        ):
            (folder / f"{name}.yaml").write_text(definition)

    def ask(self, heading: str, *arguments: object, status: int = 0) -> dict[str, Any]:
        """What a command answers; `heading` is that of its section of the page."""
        result = run(*arguments, "--json")
        assert result.exit_code == status, result.output
        found = answer(result)
        assert self.page.differences(heading, found) == []
        self.headings.add(heading)
        return found

    def sweep(self, name: str, *options: object, status: int = 0) -> dict[str, Any]:
        heading = "sweep with --dry-run" if "--dry-run" in options else "sweep and train"
        where = ("--data", self.text_file, "--tracking-uri", self.uri, "--device", "cpu", "--executor", "inline")
        return self.ask(heading, "sweep", self.folder / f"{name}.yaml", *where, *options, status=status)

    @property
    def reading(self) -> tuple[object, ...]:
        return "--data", self.text_file, "--tracking-uri", self.uri


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, _empty_store: Path, text: str) -> Iterator[Workplace]:
    """The place; relative paths lead there."""
    folder = tmp_path_factory.mktemp("json")
    (folder / "mlflow.db").write_bytes(_empty_store.read_bytes())
    made = Workplace(folder, f"sqlite:///{folder}/mlflow.db", text)
    with contextlib.chdir(folder):
        yield made


@pytest.fixture(scope="module")
def tiny(place: Workplace) -> dict[str, Any]:
    """What the sweep `tiny` answered."""
    return place.sweep("tiny")


def test_a_sweep_answers_with_its_trials_the_best_one_and_what_to_type_next(
    place: Workplace, tiny: dict[str, Any]
) -> None:
    store = Store(place.uri)
    assert (tiny["name"], tiny["experiment"], tiny["tracking_uri"]) == ("tiny", "gpt-experiments", place.uri)
    assert store.client.get_run(tiny["run_id"]).data.tags[names.KIND] == "sweep"
    assert (tiny["total"], tiny["counts"]["finished"], tiny["counts"]["not_started"]) == (2, 2, 0)
    assert (tiny["complete"], tiny["interrupted"], tiny["timed_out"]) == (True, False, False)
    assert {trial["label"] for trial in tiny["trials"]} == {"baseline", "n_head=2"}
    for trial in tiny["trials"]:
        data = store.client.get_run(trial["run_id"]).data
        assert data.tags[names.CELL] == trial["cell"]
        assert {name: str(value) for name, value in trial["parameters"].items()}.items() <= data.params.items()
        assert all(data.metrics[name] == trial[name] for name in (names.FINAL_VAL_LOSS, names.N_PARAMS))
    assert tiny["best"] == min(tiny["trials"], key=lambda trial: trial["best_val_loss"])
    assert tiny["report"] == {"artifact": "report/report.html", "problem": None, "left_out": []}
    assert any(f" report {tiny['run_id']}" in command["command"] for command in tiny["next_commands"])


def test_the_status_of_a_sweep_says_who_trains_what(place: Workplace, tiny: dict[str, Any]) -> None:
    store, trial = Store(place.uri), tiny["trials"][0]
    where = ("sweep", place.folder / "tiny.yaml", "--status", "--tracking-uri", place.uri)
    ended = place.ask("sweep with --status", *where)
    assert (ended["state"], ended["planned"], ended["done"], ended["workers"]) == ("finished", 2, 2, [])
    for reference in (tiny["name"], tiny["run_id"]):  # where the file is on another machine
        assert place.ask("sweep with --status", "sweep", reference, *where[2:])["run_id"] == tiny["run_id"]
    with another_process() as owner:
        run_id = store.start_run(kind="trial", run_name="x", params={}, tags={names.CELL: trial["cell"]}).run_id
        leave_to(store, run_id, owner, silent=12)
        store.client.update_run(tiny["run_id"], status="RUNNING")
        join_as(store, tiny["run_id"], owner, silent=12)
        running = place.ask("sweep with --status", *where)
        shown = run(*where).stdout
    try:
        assert (running["state"], running["in_training"], running["left"]) == ("running", 1, 0)
        (worker,), (training,) = running["workers"], running["trials"]
        assert worker["process"] == training["process"] == f"process {owner.split('|')[1]} on {owner.split('|')[0]}"
        assert (training["cell"], training["run_id"], worker["life"]) == (trial["cell"], run_id, "alive")
        assert 11 <= worker["silent"] < 60  # the heartbeat is in whole seconds
        assert "2 trials planned: 2 done, 1 in training, 0 left" in shown
        assert "alive, heartbeat 1" in shown
    finally:
        for ended_run in (run_id, tiny["run_id"]):
            store.client.set_terminated(ended_run, "FINISHED")
        store.client.delete_run(run_id)


def test_progress_goes_to_standard_error_and_with_quiet_nowhere(place: Workplace) -> None:
    command = ("train", *SHAPE, *LENGTH, *place.reading, "--json")
    talking, quiet = run(*command), run(*command, "--quiet")
    assert ": best val loss" in talking.stderr
    assert "Corpus: text.txt, from" in talking.stderr
    assert quiet.stderr == ""
    assert answer(quiet)["counts"] == answer(talking)["counts"]


def test_a_plan_has_the_trials_and_what_they_take(place: Workplace, tiny: dict[str, Any]) -> None:
    plan = place.sweep("tiny", "--seeds", 2, "--dry-run")
    assert (plan["total"], plan["done"], plan["to_train"], plan["to_choose"]) == (4, 2, 2, 0)
    done = {trial["cell"]: trial["run_id"] for trial in plan["trials"] if trial["done"]}
    assert done == {trial["cell"]: trial["run_id"] for trial in tiny["trials"]}
    assert sorted(trial["group"] for trial in plan["trials"] if not trial["done"]) == [1, 2]
    assert plan["groups"] == [1, 1]
    assert plan["seconds"] > 0
    adaptive = place.sweep("adaptive", "--dry-run", "--quiet")
    (known,) = adaptive["trials"]  # the method knows the baseline, which `tiny` has trained
    assert (known["label"], adaptive["to_choose"], adaptive["total"]) == ("baseline", 2, 3)
    assert "tpe chooses up to 2 more trials" in adaptive["notices"][0]


def test_a_trial_that_was_stopped_early_says_so(place: Workplace) -> None:
    ended = place.sweep("pruned")
    stops = [trial["stop"] for trial in ended["trials"] if trial["outcome"] == "stopped"]
    assert (ended["complete"], ended["counts"]["stopped"]) == (True, len(stops))
    assert stops
    for stop in stops:
        assert (stop["pruner"], stop["steps"]) == ("halving", 6)
        assert stop["excess"] == pytest.approx(stop["val_loss"] - stop["limit"])
        assert stop["excess"] > 0
    again = place.sweep("pruned", "--dry-run")
    assert (again["pruner"], again["stopped"], again["to_train"]) == ("halving", len(stops), 0)
    assert sum(trial["stopped"] for trial in again["trials"]) == len(stops)
    whole = place.sweep("pruned", "--dry-run", "--pruner", "none")
    assert (whole["pruner"], whole["stopped"], whole["to_train"]) == (None, 0, len(stops))
    found = place.ask("report", "report", "pruned", "--output", place.folder / "pruned", "--tracking-uri", place.uri)
    assert [row["outcome"] for row in found["trials"]].count("stopped") == len(stops)
    assert f"{len(stops)} of 6 trials w" in " ".join(found["findings"])


def test_a_failing_sweep_answers_too(place: Workplace) -> None:
    diverging = place.sweep("diverging", status=1)
    assert (diverging["complete"], diverging["counts"]["failed"]) == (False, 2)
    for failed in diverging["trials"]:
        assert (failed["outcome"], failed["final_val_loss"]) == ("failed", None)
        assert "diverged: the loss is" in failed["reason"]
        assert failed["n_params"] > 0
    late = place.sweep("tiny", "--seeds", 3, "--timeout", 1e-9, status=1)
    assert (late["timed_out"], late["counts"]["not_started"], late["best"], late["report"]) == (True, 6, None, None)


def test_an_interrupted_sweep_answers_too(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    show = PlainDisplay.trial_started

    def interrupt(self: PlainDisplay, planned: PlannedTrial) -> None:
        show(self, planned)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(PlainDisplay, "trial_started", interrupt)
    interrupted = place.sweep("tiny", "--seeds", 3, status=130)
    assert interrupted["interrupted"]
    assert interrupted["counts"]["interrupted"] == 1
    assert interrupted["notices"] == ["stopping: trials that run are put away, to go on where they are next time"]
    assert interrupted["next_commands"][0]["purpose"] == "go on: train only what is missing"


def test_one_trial_answers_as_a_sweep_does(place: Workplace) -> None:
    trained = place.ask("sweep and train", "train", *SHAPE, *LENGTH, "--quiet", *place.reading)
    assert (trained["name"], trained["run_id"], trained["report"]) == ("train", None, None)
    assert trained["trials"] == [trained["best"]]


def test_a_report_answers_with_its_findings_and_tables(place: Workplace, tiny: dict[str, Any]) -> None:
    pretrained = evaluate(place, tiny)["run_id"]
    found = place.ask(
        "report", "report", "tiny", "--tracking-uri", place.uri, "--output", "out", "--pretrained", pretrained
    )
    assert found["page"] == str(place.folder / "out" / "report.html")
    assert found["findings"][0].startswith("The lowest validation loss is that of")
    assert {row["label"]: row["final_val_loss"] for row in found["summary"]} == {
        trial["label"]: pytest.approx(trial["final_val_loss"]) for trial in tiny["trials"]
    }
    (effect,) = found["effects"]
    assert (effect["hyperparameter"], effect["level"], effect["base_level"]) == ("n_head", 2, 1)
    assert (effect["seeds"], effect["p_value"], effect["verdict"]) == (1, None, "no verdict")
    assert (found["left_out"], found["exit_status"]) == ([], 0)


def test_what_could_not_be_read_is_a_field_and_the_status(place: Workplace, tiny: dict[str, Any]) -> None:
    (path,) = place.folder.glob(f"mlruns/**/{tiny['best']['run_id']}/artifacts/sample.txt")
    sample = path.read_text(encoding="utf-8")
    path.unlink()
    try:
        found = place.ask("report", "report", "tiny", "--tracking-uri", place.uri, "--output", "out", status=1)
        swept = place.sweep("tiny", "--quiet", status=1)
        registered = place.ask("register", "register", *TINY, "--tracking-uri", place.uri, "--name", "x", status=1)
    finally:
        path.write_text(sample, encoding="utf-8")
    assert swept["complete"]
    for left_out in (found["left_out"], swept["report"]["left_out"], registered["left_out"]):
        assert any("sample.txt" in sentence for sentence in left_out)


def test_a_sweep_says_why_it_has_no_report(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise TrackingError("the store is away")

    monkeypatch.setattr("gpt_experiments.app.sweep.write_report", fail)
    swept = place.sweep("tiny", "--quiet", status=1)
    assert swept["report"] == {"artifact": None, "problem": "the store is away", "left_out": []}


def test_a_rerun_says_whether_the_same_came_out(place: Workplace, tiny: dict[str, Any]) -> None:
    found = place.ask("rerun", "rerun", tiny["best"]["run_id"], *place.reading, "--quiet")
    assert (found["identical"], found["label"], found["parted_at"]) == (True, tiny["best"]["label"], None)
    assert [pair["step"] for pair in found["losses"]] == [0, 2]
    assert found["losses"][-1]["val_loss_b"] == tiny["best"]["final_val_loss"]
    assert (found["weights"]["values"], found["weights"]["differing"]) == (tiny["best"]["n_params"], 0)


def test_a_difference_has_what_the_screen_shows(place: Workplace, tiny: dict[str, Any]) -> None:
    runs = [trial["run_id"] for trial in sorted(tiny["trials"], key=lambda trial: trial["label"])]
    where = ("--tracking-uri", place.uri)
    trials = place.ask("diff of two trials", "diff", *runs, *where, "--html", "trials.html")
    assert [trials[side]["run_id"] for side in "ab"] == runs
    assert trials["differing"] == [{"group": "parameters", "name": "n_head", "a": "1", "b": "2"}]
    assert trials["page"] == str(place.folder / "trials.html")
    sweeps = place.ask("diff of two sweeps", "diff", "tiny", "tiny", *where)
    assert sweeps["a"] == sweeps["b"] == {"run_id": tiny["run_id"], "name": "tiny", "finished": 2}
    assert {pair["label"] for pair in sweeps["variants"]} == {"baseline", "n_head=2"}
    assert sweeps["overall"]["mean"] == 0


def test_a_registration_names_the_version(place: Workplace, tiny: dict[str, Any]) -> None:
    first = place.ask("register", "register", *TINY, "--tracking-uri", place.uri)
    assert (first["model_version"], first["is_new"], first["is_champion"]) == (1, True, True)
    assert first["model_uri"] == "models:/gpt-experiments/1"
    assert first["run_id"] in {trial["run_id"] for trial in tiny["trials"]}
    assert (first["confirmation"], first["champion"]) == (None, None)
    again = place.ask("register", "register", *TINY, "--tracking-uri", place.uri)
    assert (again["model_version"], again["is_new"]) == (1, False)
    how = ("--confirm", 2, "--executor", "inline", "--device", "cpu")
    confirmed = place.ask("register", "register", "tiny", "--tracking-uri", place.uri, *how)
    found = confirmed["confirmation"]
    assert confirmed["final_val_loss"] == pytest.approx(sum(found["losses"]) / 2)
    assert (found["seeds"], found["trained"] > 0) == ([1_000_001, 1_000_002], True)
    assert confirmed["champion"]["model_version"] == 1


def evaluate(place: Workplace, tiny: dict[str, Any]) -> dict[str, Any]:
    """The evaluation of the best trial's checkpoint."""
    (checkpoint,) = place.folder.glob(f"mlruns/**/{tiny['best']['run_id']}/artifacts/checkpoint")
    return place.ask("evaluate", "evaluate", os.path.relpath(checkpoint, place.folder), *place.reading)


def test_an_evaluation_has_the_scores_of_the_run(place: Workplace, tiny: dict[str, Any]) -> None:
    scores = evaluate(place, tiny)
    assert scores["final_val_loss"] == pytest.approx(tiny["best"]["final_val_loss"])
    assert os.path.isabs(scores["file"])
    assert Store(place.uri).client.get_run(scores["run_id"]).data.metrics[names.N_PARAMS] == scores["n_params"]


def test_the_earlier_name_of_a_command_answers_under_the_present_one(place: Workplace) -> None:
    assert place.ask("An error", "baseline", "absent.pth", *place.reading, status=1)["command"] == "evaluate"


def test_texts_and_pictures_of_a_model_are_named(place: Workplace, tiny: dict[str, Any]) -> None:
    model = tiny["best"]["run_id"]
    options = ("--max-new-tokens", 5, "--num-samples", 2, "--top-k", 3)
    texts = place.ask("generate", "generate", model, *place.reading, *options)
    assert (texts["prompt"], texts["top_k"], len(texts["texts"])) == ("\n", 3, 2)
    assert all(text.startswith("\n") and len(text) == 6 for text in texts["texts"])
    drawn = place.ask("attention", "attention", model, *place.reading, "--output", "heads", "--text", "a" * 20)
    assert drawn["text"] == "a" * 16
    assert "the first 16 fit the model's context" in drawn["notices"][0]
    assert all(os.path.isabs(path) and os.path.isfile(path) for path in (*drawn["figures"], drawn["page"]))


def test_the_corpus_is_described(place: Workplace) -> None:
    found = place.ask("data", "data", "--data", "text.txt")
    text = place.text_file.read_text(encoding="utf-8")
    assert found["path"] == str(place.text_file)
    assert found["vocabulary"] == "".join(sorted(set(text)))
    assert found["corpus_digest"] == Corpus.from_text(text, name="x").digest
    assert found["train_characters"] + found["val_characters"] == found["characters"] == len(text)


def test_a_benchmark_has_the_figures_of_its_tables(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    step = StepTimes(
        label="baseline",
        n_params=10,
        tokens=400,
        flops=1e9,
        seconds={"plain": [0.4, 0.6, 0.5], "ours": [0.2, 0.2, 0.25]},
        memory={"plain": 3, "ours": 2},
    )
    result = BenchResult(
        machine=Machine(
            hardware="a CPU", device="cpu", cores=2, matrix_flops=1e11, date="2026-11-25", versions="x", commit="y"
        ),
        steps=(step,),
        scaling=(ScalingTimes(what="workers", tokens_per_second={1: [100.0], 2: [150.0]}),),
        sweep=SweepTimes(
            variants=1, steps=1, scale=1.0, workers=2, seconds={"plain": [8.0], "ours": [2.0]}, in_trials=[3.0]
        ),
        orchestration=OrchestrationTimes(trials=10, workers=2, wall=20.0, parent=3.0, training=15.0, evaluation=5.0),
    )
    monkeypatch.setattr(
        "gpt_experiments.bench.run.run_bench", lambda options, corpus: iter([(result, "machine"), (result, "steps")])
    )
    found = place.ask("bench", "bench", "--data", "text.txt", "--output", "times.json")
    (steps,) = found["steps"]
    assert steps["plain_seconds"] == {"median": 0.5, "least": 0.4, "largest": 0.6}
    assert (steps["tokens_per_second"], steps["part_of_peak"]) == (pytest.approx(2000), pytest.approx(0.05))
    assert [(row["count"], row["relative_cost"]) for row in found["scaling"]] == [(1, 1.0), (2, pytest.approx(4 / 3))]
    assert found["sweep"]["ratio"]["median"] == 4.0
    assert found["orchestration"]["files_seconds_per_trial"] == pytest.approx(2.0)
    assert found["output"] == str(place.folder / "times.json")


def test_every_command_that_answers_is_on_the_page() -> None:
    headings = " ".join(JsonPage().tables).split()
    for name, command in program.commands.items():
        if not command.hidden and any("--json" in parameter.opts for parameter in command.params):
            assert name in headings


def test_the_examples_of_the_page_are_as_its_tables_say() -> None:
    page = JsonPage()
    for heading, example in page.examples.items():
        assert page.differences(heading, example) == [], heading


def made_up_rows() -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of a report's tables that only a sweep of several seeds, or a full grid, has."""
    sweep = simulate(lambda shape: 2.5 + shape.dropout, seeds=2)
    grid = simulate(lambda shape: 2.5 + shape.dropout, seeds=1, variants=full_grid())
    tuned = simulate_tuned(lambda shape, rate: 2.5 + rate, failed=[("n_head=8", 1e-3)])
    for heading, table in (
        ("variant", tables.summary(sweep)),
        ("effect", tables.effects_table(effects(sweep))),
        ("belief", beliefs_table(beliefs(sweep))),
        ("variance share", tables.shares_table(grid)),
        ("importance", tables.importances_table({"n_head": tables.Importance(share=0.5, low=0.4, high=0.6)})),
        *(
            (heading, table)
            for table in make_document(tuned, Extras()).tables()
            for heading, name in (("effect at best", "effects-at-best"), ("tuned value", "tuning"))
            if table.name == name
        ),
    ):
        for row in table.values.to_dict("records"):
            yield heading, {str(name): value for name, value in row.items()}


def made_up_differences() -> Iterator[tuple[str, dict[str, Any]]]:
    """Objects of `rerun` and `diff` that have what those of tiny sweeps lack."""
    facts = FactsComparison(
        differing=(
            Difference(group="code", name="commit", a=None, b="b"),
            Difference(group="code", name="commit", a="a", b=None),
        ),
        alike=1,
        unknown=("kernels",),
    )
    curves = compare_curves(
        [Evaluation(step=step, train_loss=1.0, val_loss=2.0) for step in (0, 1)],
        [Evaluation(step=step, train_loss=1.5, val_loss=math.nan) for step in (0, 2)],
    )
    weights = WeightsDifference(values=3, differing=1, tensors=("lm_head.bias",), largest=0.5)
    run_id = {"run_id": "1" * 32, "label": "baseline", "seed": 1, "device": "cpu", "threads": 1, "kernels": True}
    for known, problem in ((weights, None), (None, "its checkpoint is gone")):
        done = Rerun(**run_id, curves=curves, weights=known, problem=problem, facts=facts, notes=("a note",))
        yield "rerun", rerun_fields(done)
    yield "register", registered_fields(made_up_registration(), [])
    common = {"facts": facts, "notes": ("a note",), "left_out": ("a sentence",)}
    head = HeadDifference(layer=1, head=1, score="entropy", a=0.5, b=0.25, what_a="", what_b="induction")
    results = simulate(lambda shape: 2.5, seeds=3)
    paired = pair_trials(results, simulate(lambda shape: 2.4, seeds=3, random=1))
    alone = dataclasses.replace(paired, only_a=("x",), only_b=("y",), unpaired=("z",))
    heads = (HeadOfVariant(label="baseline", seed=1, head=head),)
    sweeps = SweepDiff(a=results, b=results, trials=alone, heads=heads, **common)  # type: ignore[arg-type]
    yield "diff of two sweeps", sweeps_fields(sweeps, Path("page.html"))
    trial = TrialResults(
        run_id="1" * 32,
        label="baseline",
        name="baseline (seed 1)",
        status="FINISHED",
        sweep="tiny",
        facts=RunFacts(parameters={}, code={}, versions={}, hardware={}, corpus={}),
        evaluations=(),
        metrics={},
        heads=pd.DataFrame(),
        sample="To be",
        left_out=(),
    )
    trials = TrialDiff(a=trial, b=trial, curves=curves, metrics=(), heads=(head,), **common)  # type: ignore[arg-type]
    yield "diff of two trials", trials_fields(trials, None)


def test_every_documented_field_was_seen(place: Workplace, request: pytest.FixtureRequest) -> None:
    """In an object that a test above was answered with; each has compared its objects with the page."""
    here = {item.function.__name__ for item in request.session.items if getattr(item, "module", None) is request.module}
    if here != {name for name in dir(request.module) if name.startswith("test_")}:
        pytest.skip("some tests of this file are not run, so some objects are missing")
    page = place.page
    for heading, row in made_up_rows():
        assert page.differences_of_part(heading, row) == []
    for heading, fields in made_up_differences():
        assert page.differences_of_part(heading, json.loads(json.dumps(fields, default=str))) == []
    documented = {(table, field) for table, fields in page.tables.items() for field in fields}
    documented -= {("Every object", field) for field in page.tables["Every object"]}
    assert documented - page.seen == RARE, "no object above has a value of one of these fields"
    assert page.examples.keys() == place.headings
