"""From a sweep in a real store to a version in its model registry, and who is champion."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from gpt_experiments import names
from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import ConfigError, TrackingError
from gpt_experiments.models.registration import register_model
from gpt_experiments.sweep.runner import run_sweep
from gpt_experiments.tracking import Store
from gpt_experiments.tracking.reader import read_sweep_trials
from gpt_experiments.tracking.runs import get_run
from tests.support.processes import in_child
from tests.support.stores import BASELINE, add_run, add_sweep
from tests.sweep.test_runner import ON_CPU, Recorder, define

OTHER_TEXT = "a text of another kind, with other words in it.\n" * 40


def champion(client: MlflowClient) -> str:
    return str(client.get_model_version_by_alias("m", names.CHAMPION).version)


def test_the_best_trial_of_the_newest_sweep_becomes_a_version_with_card_tags_and_alias(
    store: Store, client: MlflowClient, corpus: Corpus
) -> None:
    add_sweep(store, corpus, {2: [1.0]}, name="older")
    sweep = add_sweep(store, corpus, {2: [2.5, 2.25], 4: [2.5, 2.0], 8: [1.0, "failed"]})
    done = register_model(None, store, "m")

    version = client.get_model_version("m", "1")
    run = client.get_run(done.version.run_id or "")
    assert (run.data.params["n_head"], run.data.params["seed"]) == ("4", "2")
    assert version.run_id == run.info.run_id
    assert version.tags == {
        names.RUN: run.info.run_id,
        names.VARIANT: "n_head=4",
        names.CELL: run.data.tags[names.CELL],
        names.SWEEP: "mine",
        names.CORPUS: "generated",
        names.CORPUS_DIGEST: corpus.digest,
        names.SCORE: "2.0",
        names.MEASURED: "choice",
        names.SIZE: str(int(run.data.metrics["n_params"])),
    }
    for part in (
        "# n_head=4",
        corpus.digest,
        "| 2.0000 | 2.8854 |",
        f"run `{sweep}`",
        "2.2500 over 2 seeds",
        "the same trials measured it, so that figure is optimistic",
    ):
        assert part in version.description
    assert (champion(client), done.is_new, done.is_champion) == ("1", True, True)
    assert done.messages == (
        "sweep mine: the best of 3 variants is n_head=4, mean validation loss 2.2500 nats per character over 2 seeds",
        f"its best trial is seed 2, run {run.info.run_id}: validation loss 2.0000 nats, 2.8854 bits per character",
        "n_head=8 with a lower mean of 1.0000 so far cannot win: "
        "seed 2 failed (DivergedError: diverged: the loss is nan at step 3)",
        "its loss is optimistic, because the same trials chose and measured it; --confirm measures it with fresh seeds",
        "registered it as version 1 of m",
        "version 1 is the champion: there was none",
    )


@pytest.mark.slow
def test_a_sweep_that_was_really_trained_is_read_as_its_runner_wrote_it(
    store: Store, client: MlflowClient, corpus: Corpus, tmp_path: Path
) -> None:
    report = run_sweep(define(tmp_path), corpus, store, ON_CPU, Recorder())
    done = register_model(None, store, "m")
    losses = {trial.run_id: trial.summary.final_val_loss for trial in report.trials}
    assert done.version.run_id in losses
    assert done.version.val_loss == min(loss for loss in losses.values() if loss is not None)
    (output,) = client.get_run(done.version.run_id).outputs.model_outputs
    assert client.get_model_version("m", "1").source == f"models:/{output.model_id}"
    files = {file.path for file in client.list_logged_model_artifacts(output.model_id)}
    assert {"MLmodel", "artifacts", "code", "requirements.txt"} <= files


def test_a_sweep_is_found_by_name_and_by_run_id(store: Store, corpus: Corpus) -> None:
    first = add_sweep(store, corpus, {2: [2.0]}, name="first")
    add_sweep(store, corpus, {4: [1.0]}, name="second")
    by_name, by_id = register_model("first", store, "m"), register_model(first, store, "m")
    assert by_name.version == by_id.version
    assert by_name.version.label == "baseline"
    assert (by_name.is_new, by_id.is_new) == (True, False)


def test_a_cell_that_another_sweep_trained_counts_and_one_that_is_planned_does_not(
    store: Store, corpus: Corpus
) -> None:
    add_sweep(store, corpus, {2: [2.0, 2.0]}, name="first")
    add_sweep(store, corpus, {2: ["reused", "reused"], 4: ["interrupted", "planned"]}, name="second")
    done = register_model("second", store, "m")
    assert done.version.label == "baseline"
    assert done.messages[2] == "n_head=4 cannot win: seed 1 is not trained yet, seed 2 is not trained yet"


def test_a_trial_and_a_baseline_are_registered_by_their_run_ids(
    store: Store, client: MlflowClient, corpus: Corpus
) -> None:
    trial, baseline = add_run(store, corpus, 2.0), add_run(store, corpus, 1.5, kind="pretrained")
    assert register_model(trial, store, "m").version.run_id == trial
    done = register_model(baseline, store, "m")
    assert (done.version.version, done.is_champion) == ("2", False)
    card = client.get_model_version("m", "2").description
    assert "what its weights were trained on, and for how long, is not recorded" in card
    assert names.CELL not in client.get_model_version("m", "2").tags


def test_the_same_run_makes_no_second_version(store: Store, client: MlflowClient, corpus: Corpus) -> None:
    run_id = add_run(store, corpus, 2.0)
    register_model(run_id, store, "m")
    again = register_model(run_id, store, "m")
    assert not again.is_new
    assert again.messages[1:] == (
        "one run was named, so its loss is that of one seed",
        "it is version 1 of m already; one run makes one version",
        "version 1 is the champion already",
    )
    assert len(client.search_model_versions("name = 'm'")) == 1
    assert register_model(run_id, store, "another").is_new


def test_a_single_trials_loss_takes_the_alias_only_by_force(store: Store, client: MlflowClient, corpus: Corpus) -> None:
    trials = [Trial(shape=BASELINE, seed=seed) for seed in range(4)]
    losses = [2.0, 1.75, 1.5, 3.0]
    runs = [add_run(store, corpus, loss, trial=trial) for loss, trial in zip(losses, trials, strict=True)]
    register_model(runs[0], store, "m")

    lower = register_model(runs[1], store, "m")
    assert (lower.is_champion, champion(client)) == (False, "1")
    assert lower.messages[-1] == (
        "version 1 stays the champion: its loss is 1.7500 and the champion's 2.0000, but no test is possible, because "
        "neither has two fresh seeds; use --force to make version 2 the champion"
    )
    forced = register_model(runs[2], store, "m", force=True)
    assert (forced.is_champion, champion(client)) == (True, "3")
    assert "because of --force, although its loss is 1.5000 and the champion's 2.0000" in forced.messages[-1]
    assert not register_model(runs[3], store, "m").is_champion
    champion_again = register_model(runs[2], store, "m")
    assert (champion_again.is_new, champion_again.is_champion, champion(client)) == (False, True, "3")


def test_a_champion_of_another_corpus_is_not_comparable(store: Store, client: MlflowClient, corpus: Corpus) -> None:
    other = Corpus.from_text(OTHER_TEXT, name="other words")
    first, second = add_run(store, corpus, 2.0), add_run(store, other, 0.5)
    register_model(first, store, "m")
    stays = register_model(second, store, "m")
    assert (stays.is_champion, champion(client)) == (False, "1")
    assert (
        "was trained on another text, generated, so its loss cannot be compared with one on other words"
        in stays.messages[-1]
    )
    assert (register_model(second, store, "m", force=True).is_champion, champion(client)) == (True, "2")


def test_a_champion_that_another_program_made_is_not_comparable(
    store: Store, client: MlflowClient, corpus: Corpus
) -> None:
    client.create_registered_model("m")
    client.create_model_version("m", source="s3://somewhere/else")
    client.set_registered_model_alias("m", names.CHAMPION, "1")
    stays = register_model(add_run(store, corpus, 2.0), store, "m")
    assert (stays.is_champion, champion(client)) == (False, "1")
    assert "the loss or the corpus of version" in stays.messages[-1]


def test_the_example_prompt_is_of_characters_that_the_model_knows(store: Store, corpus: Corpus) -> None:
    assert register_model(add_run(store, corpus, 2.0), store, "m").example_prompt == "KING HENRY:"
    quiet = Corpus.from_text("ba be co da\n" * 40, name="quiet")
    assert register_model(add_run(store, quiet, 2.0), store, "m").example_prompt == "ba be co"


def test_what_cannot_be_registered_is_reported_and_leaves_nothing(
    store: Store, client: MlflowClient, corpus: Corpus
) -> None:
    with pytest.raises(TrackingError, match="it holds no sweep yet; train one with `sweep quick`"):
        register_model(None, store, "m")
    with pytest.raises(TrackingError, match=f"holds no run {'0' * 32}"):
        register_model("0" * 32, store, "m")
    with pytest.raises(ConfigError, match="must not hold / : @ or quotes, but got 'a/b'"):
        register_model(None, store, "a/b")

    add_sweep(store, corpus, {2: ["failed"]})
    with pytest.raises(TrackingError, match=r"sweep 'mine' has no model to register: none of the 1 trials is finished"):
        register_model("mine", store, "m")
    with pytest.raises(TrackingError, match=r"no sweep 'yours' in experiment 'gpt-experiments' of .*; it holds mine"):
        register_model("yours", store, "m")
    parent = store.start_run(kind="sweep", run_name="x", sweep="planless", params={"vocab_size": 3})
    parent.finish()
    with pytest.raises(TrackingError, match=r"trials\.json of sweep planless is missing"):
        register_model("planless", store, "m")

    running = store.start_run(kind="trial", run_name="x", params={})
    with pytest.raises(TrackingError, match="is RUNNING; only a FINISHED run has a model"):
        register_model(running.run_id, store, "m")
    running.fail("out of memory")
    with pytest.raises(TrackingError, match=r"is FAILED \(out of memory\)"):
        register_model(running.run_id, store, "m")
    deleted = add_run(store, corpus, 2.0)
    client.delete_run(deleted)
    with pytest.raises(TrackingError, match=f"is deleted; restore it with `mlflow runs restore --run-id {deleted}`"):
        register_model(deleted, store, "m")
    with pytest.raises(ConfigError, match="a model's name must have visible characters"):
        register_model(deleted, store, " ")
    with pytest.raises(TrackingError, match="the run has no checkpoint"):
        register_model(add_run(store, corpus, 2.0, checkpoint=False), store, "m")
    foreign = client.create_run(store.experiment.experiment_id).info.run_id
    with pytest.raises(TrackingError, match=r"has no model: its gpt\.kind is None"):
        register_model(foreign, store, "m")
    assert client.search_registered_models() == []


def test_a_sweep_that_is_still_running_is_reported(store: Store, client: MlflowClient, corpus: Corpus) -> None:
    sweep = add_sweep(store, corpus, {2: [2.0]})
    client.update_run(sweep, status="RUNNING")
    assert "sweep mine is still running: this is the best so far" in register_model("mine", store, "m").messages


def test_registering_writes_nothing_into_the_working_directory(
    store: Store, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run_id = add_run(store, corpus, 2.0, trial=Trial(shape=dataclasses.replace(BASELINE, n_head=4)))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    register_model(run_id, store, "m")
    assert list(Path.cwd().iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_store_that_fails_costs_no_trial_its_place(
    store: Store, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_sweep(store, corpus, {2: [2.0], 4: [1.5]})

    def fail(*_: object, **__: object) -> None:
        raise TrackingError("the store is locked")

    monkeypatch.setattr("gpt_experiments.models.finding.model_folder", fail)
    with pytest.raises(TrackingError, match=r"^the store is locked$"):
        register_model("mine", store, "m")


def test_only_what_the_store_does_not_hold_is_a_lost_run(
    store: Store, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_sweep(store, corpus, {2: [2.0], 4: ["finished"]})
    (lost,) = (trial for trial in read_sweep_trials(store, "mine").trials if trial.finished is None)
    assert lost.reason.endswith("is gone")

    def fail(run_id: str) -> None:
        raise MlflowException("API request failed with error code 500 != 200")

    monkeypatch.setattr(store.client._client, "get_run", fail)  # type: ignore[attr-defined]
    with pytest.raises(TrackingError, match="error code 500"):
        read_sweep_trials(store, "mine")
    with pytest.raises(TrackingError, match="error code 500"):
        read_sweep_trials(store, "yours")
    with pytest.raises(TrackingError, match="error code 500"):
        get_run(store, "0" * 32)


def test_a_registration_that_is_killed_leaves_no_folder_that_the_next_one_does_not_remove(
    store: Store, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    run_id = add_run(store, corpus, 2.0)

    def register_and_die() -> None:
        monkeypatch.setattr("mlflow.pyfunc.save_model", lambda *_, **__: os._exit(0))
        register_model(run_id, store, "m")

    assert in_child(register_and_die) == ""
    assert list(temporary.iterdir())
    register_model(run_id, store, "m")
    assert list(temporary.iterdir()) == []
