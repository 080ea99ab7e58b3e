"""Reports and registrations from stores in which something is damaged: they name it, leave it out, and go on."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from mlflow import MlflowClient

from gpt_experiments import names
from gpt_experiments.cli import program
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import TrackingError
from gpt_experiments.models.registration import register_model
from gpt_experiments.report.attention import compared_pictures
from gpt_experiments.tracking import Store
from gpt_experiments.tracking.reader import read_sweep
from gpt_experiments.tracking.run_files import LeftOut
from tests.report.stores import Whole, make_whole

BEST, BASELINE = ("n_embed=16", 1337), ("baseline", 1337)
Damage = Callable[[Whole], object]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, _empty_store: Path, corpus: Corpus) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    shutil.copy(_empty_store, folder / "mlflow.db")
    return make_whole(folder, f"sqlite:///{folder}/mlflow.db", corpus)


@pytest.fixture
def whole(template: Whole, tmp_path: Path) -> Whole:
    return template.copy(tmp_path / "store")


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(program, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


def write(name: str, content: str | bytes, whose: tuple[str, int] | None = BASELINE) -> Damage:
    def damage(store: Whole) -> None:
        path = store.file(store.runs[whose] if whose else store.parent, name)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return damage


def remove(name: str, whose: tuple[str, int] | None = BASELINE) -> Damage:
    def damage(store: Whole) -> None:
        path = store.file(store.runs[whose] if whose else store.parent, name)
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


def metric(name: str, value: float, is_nan: bool = False) -> Damage:
    def damage(store: Whole) -> None:
        for table in ("metrics", "latest_metrics"):
            store.sql(
                f"UPDATE {table} SET value = ?, is_nan = ? WHERE run_uuid = ? AND key = ?",
                *(value, is_nan, store.runs[BASELINE], name),
            )

    return damage


def sql(statement: str, whose: tuple[str, int] | None = BASELINE) -> Damage:
    return lambda store: store.sql(statement, store.runs[whose] if whose else store.parent)


def huge(store: Whole) -> None:
    with store.file(store.runs[BASELINE], names.SAMPLE_FILE).open("wb") as file:
        file.truncate(5_000_000)


def test_a_whole_store_is_read_whole(whole: Whole) -> None:
    results = read_sweep(Store(whole.uri))
    assert results.left_out == ()
    assert (len(results.finished), len(results.samples), len(results.heads)) == (8, 8, 2 * (2 + 1 + 4 + 2))
    assert register_model(None, Store(whole.uri), "m").left_out == ()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


WHO = "baseline (seed 1337)"
OF_RUNS: dict[str, tuple[Damage, str]] = {
    "no sample": (remove(names.SAMPLE_FILE), f"sample.txt of {WHO} is missing"),
    "binary sample": (write(names.SAMPLE_FILE, b"\xff\xfe\x00\x81" * 99), f"sample.txt of {WHO} is no text in UTF-8"),
    "huge sample": (huge, f"sample.txt of {WHO} is too large to be what this program wrote (5,000,000 bytes)"),
    "positions are text": (
        write(names.POSITIONS_FILE, "once upon\na time"),
        f"loss_by_position.csv of {WHO} lacks a value in the column characters_seen",
    ),
    "a position is a word": (
        write(names.POSITIONS_FILE, "characters_seen,val_loss\n1,abc\n"),
        f"loss_by_position.csv of {WHO} has 'abc' where the column val_loss needs a number",
    ),
    "no position": (
        write(names.POSITIONS_FILE, "characters_seen,val_loss\n0,2.5\n"),
        f"loss_by_position.csv of {WHO} has '0' where the column characters_seen needs a number",
    ),
    "positions are cut": (
        write(names.POSITIONS_FILE, "characters_seen,val_loss\n1,2.5\n2"),
        f"loss_by_position.csv of {WHO} lacks a value in the column val_loss",
    ),
    "empty positions": (write(names.POSITIONS_FILE, ""), f"loss_by_position.csv of {WHO} has no rows"),
    "single losses are text": (
        write(names.CHARACTERS_FILE, "once upon"),
        f"loss_by_character.npy of {WHO} is no array of NumPy",
    ),
    "single losses are cut": (
        write(names.CHARACTERS_FILE, npy(np.ones(100, dtype=np.float16))[:-9]),
        f"loss_by_character.npy of {WHO} is no array of NumPy",
    ),
    "single losses of another kind": (
        write(names.CHARACTERS_FILE, npy(np.ones((4, 4)))),
        f"loss_by_character.npy of {WHO} does not hold losses",
    ),
    "a single loss is infinite": (
        write(names.CHARACTERS_FILE, npy(np.array([1.0, np.inf], dtype=np.float16))),
        f"loss_by_character.npy of {WHO} has a loss that is not finite",
    ),
    "binary heads": (write(names.HEADS_FILE, b"\x00\x01,\x02\n\x03"), f"attention/heads.csv of {WHO} "),
    "heads of another kind": (
        write(names.HEADS_FILE, "layer,head\n1,1\n"),
        f"attention/heads.csv of {WHO} lacks a value in the column previous_position",
    ),
    "no attention folder": (remove("attention"), f"attention/heads.csv of {WHO} is missing"),
    "a parameter": (
        sql("UPDATE params SET value = 'abc' WHERE run_uuid = ? AND key = 'steps'"),
        f"the run of {WHO} has steps='abc'",
    ),
    "a hyperparameter": (
        sql("UPDATE params SET value = 'abc' WHERE run_uuid = ? AND key = 'n_head'"),
        f"the run of {WHO} has n_head='abc'",
    ),
    "a metric is NaN": (metric("final_val_loss", 0.0, True), f"the run of {WHO} has final_val_loss=nan"),
    "a metric is infinite": (metric("best_val_loss", 1.7976931348623157e308), "has best_val_loss=inf"),
    "no losses over steps": (
        sql("DELETE FROM metrics WHERE run_uuid = ? AND key = 'val_loss'"),
        f"the metric val_loss of {WHO} is missing",
    ),
    "an infinite loss on the way": (
        sql("UPDATE metrics SET value = 1.7976931348623157e308 WHERE run_uuid = ? AND key = 'train_loss' AND step = 2"),
        f"a value of train_loss of {WHO} is not finite",
    ),
}


@pytest.mark.parametrize("case", OF_RUNS)
def test_what_is_damaged_of_one_trial_is_left_out_and_named(whole: Whole, case: str) -> None:
    damage, said = OF_RUNS[case]
    damage(whole)
    results = read_sweep(Store(whole.uri))
    (sentence,) = results.left_out
    assert sentence.startswith(said) or sentence.endswith(said)
    assert len(results.finished) == (7 if sentence.startswith("the run") else 8)
    assert register_model(None, Store(whole.uri), "m").version.label == "n_embed=16"


ELSEWHERE = "so the trials are those whose runs the sweep trained"
FROM_PARAMETERS = "so the setup is taken from the run's parameters"
OF_THE_SWEEP: dict[str, tuple[Damage, str]] = {
    "no plan": (remove(names.PLAN_FILE, None), f"trials.json of sweep whole is missing, {ELSEWHERE}"),
    "a plan that is cut": (write(names.PLAN_FILE, '[{"cell": "ab', None), f"is no JSON, {ELSEWHERE}"),
    "a plan of another type": (write(names.PLAN_FILE, '{"a": 1}', None), f"is no list of trials, {ELSEWHERE}"),
    "a deep plan": (write(names.PLAN_FILE, "[" * 100_000, None), f"is no JSON, {ELSEWHERE}"),
    "a plan of numbers": (write(names.PLAN_FILE, "[1]", None), "row 1 of trials.json of sweep whole is no trial"),
    "a plan of half rows": (
        write(names.PLAN_FILE, '[{"cell": "a", "label": "b", "seed": 1, "n_head": 3, "n_embed": 8}]', None),
        "row 1 of trials.json of sweep whole is no trial",
    ),
    "no definition": (remove(names.DEFINITION_FILE, None), f"sweep.yaml of sweep whole is missing, {FROM_PARAMETERS}"),
    "a definition that is cut": (write(names.DEFINITION_FILE, "name: [", None), f"definition, {FROM_PARAMETERS}"),
    "a definition of another type": (write(names.DEFINITION_FILE, "- 1", None), f"definition, {FROM_PARAMETERS}"),
    "a deep definition": (write(names.DEFINITION_FILE, "[" * 5000, None), f"definition, {FROM_PARAMETERS}"),
    "a binary definition": (write(names.DEFINITION_FILE, b"\xff\x00", None), f"UTF-8, {FROM_PARAMETERS}"),
    "a mistyped baseline": (
        write(names.DEFINITION_FILE, "method: grid\ntraining: {}\nbaseline: {n_head: two}", None),
        f"definition, {FROM_PARAMETERS}",
    ),
    "no vocab_size": (
        sql("DELETE FROM params WHERE run_uuid = ? AND key = 'vocab_size'", None),
        "vocab_size of sweep whole is missing, so it is taken from a trial",
    ),
    "a mistyped vocab_size": (
        sql("UPDATE params SET value = 'abc' WHERE run_uuid = ? AND key = 'vocab_size'", None),
        "vocab_size of sweep whole is 'abc', so it is taken from a trial",
    ),
    "a vocab_size of no characters": (
        sql("UPDATE params SET value = '0' WHERE run_uuid = ? AND key = 'vocab_size'", None),
        "vocab_size of sweep whole is '0', so it is taken from a trial",
    ),
    "a vocab_size of 5,000 digits": (
        sql(f"UPDATE params SET value = '{'9' * 5000}' WHERE run_uuid = ? AND key = 'vocab_size'", None),
        "vocab_size of sweep whole is '99999999999999999999', so it is taken from a trial",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", OF_THE_SWEEP)
def test_what_is_damaged_of_the_sweep_is_found_elsewhere_and_named(whole: Whole, case: str) -> None:
    damage, said = OF_THE_SWEEP[case]
    damage(whole)
    results = read_sweep(Store(whole.uri))
    (sentence,) = results.left_out
    assert sentence.startswith(said) or sentence.endswith(said)
    assert len(results.finished) == 8
    assert (results.method, results.training["steps"]) == ("one-at-a-time", "4")
    assert results.base_level("n_embed") == 8
    assert register_model(None, Store(whole.uri), "m").version.label == "n_embed=16"


@pytest.mark.slow
def test_a_report_of_a_store_damaged_everywhere_goes_on(whole: Whole, tmp_path: Path) -> None:
    for damage, _ in (OF_RUNS["binary sample"], OF_RUNS["positions are text"], OF_RUNS["no losses over steps"]):
        damage(whole)
    for damage, _ in (OF_THE_SWEEP["no plan"], OF_THE_SWEEP["a deep definition"], OF_THE_SWEEP["no vocab_size"]):
        damage(whole)
    for other in (remove("attention", BEST), remove("checkpoint", BASELINE), remove(names.SAMPLE_FILE, BEST)):
        other(whole)
    MlflowClient(whole.uri).delete_run(whole.runs["n_head=4", 1338])
    result = run("report", "whole", "--tracking-uri", whole.uri, "--output", tmp_path / "r")
    assert result.exit_code == 1
    page = (tmp_path / "r" / "report.html").read_text()
    for said in (
        "sample.txt of baseline (seed 1337) is no text in UTF-8",
        "loss_by_position.csv of baseline (seed 1337) lacks a value",
        "attention/explorer.html of n_embed=16 is missing",
        f"the attention of run {whole.runs[BASELINE]} cannot be drawn",
        "vocab_size of sweep whole is missing",
    ):
        assert said in result.output
        assert said in page
    assert "Could not be read: trials.json of sweep whole is missing" in page
    assert "Could not be read:\n" in result.output
    assert "Left out" not in result.output + page  # of the vocabulary's size, say, which is found elsewhere
    assert "explorer-best.html" not in page
    assert "explorer-baseline.html (baseline)" in page


def test_register_passes_over_a_model_that_cannot_be_read(whole: Whole) -> None:
    remove("checkpoint", BEST)(whole)
    remove(names.SAMPLE_FILE, ("n_embed=16", 1338))(whole)
    result = run("register", "whole", "--confirm", "0", "--tracking-uri", whole.uri, "--name", "m")
    assert result.exit_code == 1
    assert "its best trial whose model can be read is seed 1338" in result.output
    assert f"run {whole.runs[BEST]}: " in result.output
    assert f"sample.txt of run {whole.runs['n_embed=16', 1338]} is missing" in result.output
    for label, seed in whole.runs:
        if (label, seed) != BEST:
            remove("checkpoint", (label, seed))(whole)
    with pytest.raises(TrackingError, match=r"of its 8 finished trials, no model can be read; put the artifacts back"):
        register_model("whole", Store(whole.uri), "m")


def test_deleted_trials_are_missing_and_said_to_be_deleted(whole: Whole) -> None:
    client = MlflowClient(whole.uri)
    for seed in (1337, 1338):
        client.delete_run(whole.runs["n_embed=16", seed])
    results = read_sweep(Store(whole.uri))
    lost = results.trials[results.trials["outcome"] == "missing"]
    assert list(lost["reason"]) == [f"its run {whole.runs['n_embed=16', s]} is deleted" for s in (1337, 1338)]
    messages = register_model("whole", Store(whole.uri), "m").messages
    assert any(f"seed 1337 has no result (its run {whole.runs[BEST]} is deleted)" in sentence for sentence in messages)


def test_what_names_a_deleted_sweep_or_another_run_is_reported(whole: Whole, tmp_path: Path) -> None:
    store = ("--tracking-uri", whole.uri)
    elsewhere = run("report", whole.parent, *store, "--experiment", names.DEFAULT_EXPERIMENT + "x")
    assert "there is nothing to report: no experiment" in elsewhere.output
    trial = run("report", whole.runs[BEST], *store, "--output", tmp_path / "r")
    assert (trial.exit_code, trial.output) == (
        1,
        f"Error: run {whole.runs[BEST]} is no sweep: its gpt.kind is 'trial'; its sweep is 'whole'\n",
    )
    Store(whole.uri, "other")
    other = run("report", whole.parent, *store, "--experiment", "other", "--output", tmp_path / "r")
    assert f"sweep run {whole.parent} is in experiment 'gpt-experiments'; give --experiment" in other.output
    MlflowClient(whole.uri).delete_run(whole.parent)
    for command in ("report", "register"):
        for reference in ([], ["whole"], [whole.parent]):
            result = run(command, *reference, *store)
            assert result.exit_code == 1
            assert "sweep 'whole' of experiment 'gpt-experiments' is deleted" in result.output
            assert f"`mlflow runs restore --run-id {whole.parent}`" in result.output


def test_a_tpe_sweep_that_has_no_plan_yet_is_its_trials_so_far(whole: Whole) -> None:
    write(names.PLAN_FILE, "[]", None)(whole)
    whole.sql("UPDATE params SET value = 'tpe' WHERE run_uuid = ? AND key = 'method'", whole.parent)
    whole.sql("UPDATE runs SET status = 'RUNNING' WHERE run_uuid = ?", whole.parent)
    results = read_sweep(Store(whole.uri))
    assert (len(results.finished), results.left_out) == (8, ())
    reported = register_model(None, Store(whole.uri), "m").messages
    assert reported[2] == "sweep whole is still running: this is the best so far"


def test_a_trial_that_is_planned_twice_counts_once(whole: Whole) -> None:
    path = whole.file(whole.parent, names.PLAN_FILE)
    rows = json.loads(path.read_text())
    path.write_text(json.dumps([*rows, {**rows[0], "cell": "another"}]))
    results = read_sweep(Store(whole.uri))
    assert len(results.trials) == 8
    assert results.left_out == ("a second plan of baseline (seed 1337) is left out",)


def test_a_store_that_fails_while_attention_is_read_is_no_missing_attention(
    whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise TrackingError("the store is locked")

    results = read_sweep(Store(whole.uri))
    monkeypatch.setattr("gpt_experiments.report.attention.load_model", fail)
    with pytest.raises(TrackingError, match=r"^the store is locked$"):
        compared_pictures(results, whole.uri, LeftOut())
