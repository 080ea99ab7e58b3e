"""A real SQLite store: runs written, found again, closed as what they are."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import psutil
import pytest
from mlflow import MlflowClient

from gpt_experiments import names
from gpt_experiments.config import Trial, Variant
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import TrackingError
from gpt_experiments.parameters import SHAPE, Shape
from gpt_experiments.tracking import RunRecorder, Store, model_folder, parent_run, provenance, schema
from gpt_experiments.tracking.connection import as_default_store
from gpt_experiments.tracking.parent_run import WantedSweep
from gpt_experiments.tracking.provenance import is_dead
from gpt_experiments.training import TrainingSummary
from tests.support.left import leave_to
from tests.support.postgres import postgres
from tests.support.stores import finished_trials

SUMMARY = TrainingSummary(
    final_train_loss=2.0,
    final_val_loss=2.2,
    best_val_loss=2.1,
    n_params=10,
    train_seconds=3.0,
    eval_seconds=1.0,
    tokens_per_second=99.0,
)


@pytest.fixture
def store(store_uri: str) -> Store:
    return Store(store_uri)


@pytest.fixture
def client(store_uri: str) -> MlflowClient:
    return MlflowClient(tracking_uri=store_uri)


def open_sweep(store: Store, key: str, **how: Any) -> RunRecorder:
    return parent_run.open_sweep(
        store, WantedSweep(name="grid", key=key, planned="plan", **{"params": {}, "notes": {}, **how})
    )


def finished_run(store: Store, cell: str, variant: Shape, **options: str) -> str:
    params = dataclasses.asdict(variant) | {"seed": 5}
    recorder = store.start_run(
        kind="trial",
        run_name="x",
        params=params,
        tags={names.CELL: cell},
        **options,  # type: ignore[arg-type]
    )
    recorder.log_text("weights", "checkpoint/model.safetensors")
    recorder.log_metrics(dataclasses.asdict(SUMMARY))
    recorder.finish()
    return recorder.run_id


def test_a_run_holds_what_was_written(store: Store, client: MlflowClient, corpus: Corpus, tmp_path: Path) -> None:
    recorder = store.start_run(
        kind="trial",
        run_name="n_head=8 (seed 1)",
        sweep="mine",
        parent_run_id="p",
        params={"n_head": 8},
        tags={names.VARIANT: "n_head=8"},
    )
    assert client.get_run(recorder.run_id).info.status == "RUNNING"
    recorder.log_corpus(corpus)
    for step in (0, 10):
        recorder.log_metrics({names.TRAIN_LOSS: 4.0 - step, names.VAL_LOSS: 5.0 - step}, step)
    folder = tmp_path / "files"
    (folder / "attention").mkdir(parents=True)
    (folder / "attention" / "layer_1.png").write_bytes(b"png")
    recorder.log_artifacts(folder)
    recorder.log_metrics(dataclasses.asdict(SUMMARY))
    recorder.log_series({"heads/entropy": [0.5, float("nan"), *[0.25] * 1200]})  # more than MLflow takes at once
    recorder.finish()

    run = client.get_run(recorder.run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "n_head=8 (seed 1)"
    assert run.data.params == {"n_head": "8"}
    assert run.data.tags[names.KIND] == "trial"
    assert run.data.tags[names.SWEEP] == "mine"
    assert run.data.tags[names.VARIANT] == "n_head=8"
    assert run.data.tags["mlflow.parentRunId"] == "p"
    assert "torch" in run.data.tags[names.VERSIONS]
    for name, value in dataclasses.asdict(SUMMARY).items():
        assert run.data.metrics[name] == value
    history = client.get_metric_history(recorder.run_id, "val_loss")
    assert [(m.step, m.value) for m in history] == [(0, 5.0), (10, -5.0)]
    history = client.get_metric_history(recorder.run_id, "heads/entropy")
    assert [(m.step, m.value) for m in history] == [(1, 0.5), *((step, 0.25) for step in range(3, 1203))]
    dataset = run.inputs.dataset_inputs[0].dataset
    assert dataset.name == "generated"
    assert corpus.digest.startswith(dataset.digest)
    assert json.loads(dataset.profile)["sha256"] == corpus.digest
    assert [f.path for f in client.list_artifacts(recorder.run_id, "attention")] == ["attention/layer_1.png"]


def test_artifacts_lie_in_one_absolute_place_beside_the_database(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    recorder = Store(store.uri).start_run(kind="trial", run_name="x", params={})
    recorder.log_text("hello", "note.txt")
    assert list((tmp_path / "mlruns" / "gpt-experiments").rglob("note.txt"))


def test_without_an_address_the_store_is_the_one_that_mlflow_ui_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    mlflow.set_tracking_uri(None)
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns" / "README.md").write_text("a note")
    recorder = Store().start_run(kind="trial", run_name="x", params={})
    assert (tmp_path / "mlflow.db").exists()
    assert mlflow.MlflowClient().get_run(recorder.run_id).info.run_name == "x"


def test_finished_trials_are_found_by_cell_the_newest_first(store: Store) -> None:
    variant = Shape(n_layer=1)
    finished_run(store, "aa", variant)
    newest = finished_run(store, "aa", variant, parent_run_id="p")
    finished_run(store, "bb", Shape())
    store.start_run(kind="trial", run_name="running", params={}, tags={names.CELL: "cc"})
    store.start_run(kind="trial", run_name="failed", params={}, tags={names.CELL: "dd"}).fail("because")

    found = finished_trials(store).by_cell
    assert found.keys() == {"aa", "bb"}
    assert found["aa"].run_id == newest
    assert found["aa"].parent_run_id == "p"
    assert found["aa"].variant == Variant(shape=variant)
    assert found["aa"].seed == 5
    assert found["aa"].summary.best_val_loss == 2.1


def test_a_deleted_run_no_longer_answers(store: Store, client: MlflowClient) -> None:
    client.delete_run(finished_run(store, "aa", Shape()))
    assert finished_trials(store).by_cell == {}


def test_failures_and_interrupts_say_why(store: Store, client: MlflowClient) -> None:
    failed, killed = (store.start_run(kind="trial", run_name=n, params={}) for n in "ab")
    failed.fail("out of memory", "Traceback ...")
    killed.kill("interrupted")
    run = client.get_run(failed.run_id)
    assert (run.info.status, run.data.tags[names.FAILURE]) == ("FAILED", "out of memory")
    assert Path(client.download_artifacts(failed.run_id, "traceback.txt")).read_text() == "Traceback ..."
    run = client.get_run(killed.run_id)
    assert (run.info.status, run.data.tags[names.FAILURE]) == ("KILLED", "interrupted")


@pytest.mark.slow
def test_only_runs_of_dead_processes_are_closed(store: Store, client: MlflowClient) -> None:
    script = (
        "import sys; from gpt_experiments.tracking import Store;"
        "print(Store(sys.argv[1]).start_run(kind='trial', run_name='orphan', params={}).run_id)"
    )
    done = subprocess.run([sys.executable, "-c", script, store.uri], capture_output=True, text=True, check=True)
    orphan = done.stdout.strip()
    mine = store.start_run(kind="trial", run_name="mine", params={}).run_id
    elsewhere = store.start_run(kind="trial", run_name="far", params={}).run_id
    leave_to(store, elsewhere, "other-host|1|0")

    reused_pid = f"{socket.gethostname()}|{os.getpid()}|12345"
    other = store.start_run(kind="trial", run_name="old", params={}, tags={names.OWNER: reused_pid}).run_id

    assert set(store.close_abandoned()) == {orphan, other}
    assert client.get_run(orphan).info.status == "KILLED"
    assert "died" in client.get_run(orphan).data.tags[names.FAILURE]
    for run_id in (mine, elsewhere):
        assert client.get_run(run_id).info.status == "RUNNING"
    assert store.close_abandoned() == []


def test_a_sweep_is_opened_again_not_twice_and_not_while_another_process_runs_it(
    store: Store, client: MlflowClient
) -> None:
    first = open_sweep(store, "key", params={"steps": 3}, notes={"a": "1"})
    first.finish()
    again = open_sweep(store, "key", params={"steps": 3}, notes={"a": "2"})
    assert again.run_id == first.run_id
    run = client.get_run(again.run_id)
    assert (run.info.status, run.data.tags["a"], run.data.tags[names.SWEEP]) == ("RUNNING", "2", "grid")
    assert open_sweep(store, "other").run_id != first.run_id

    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as other:
        leave_to(store, first.run_id, provenance._owner_tag(provenance.psutil.Process(other.pid)))
        with pytest.raises(TrackingError, match=f"is being run by process {other.pid}"):
            open_sweep(store, "key")
        other.kill()


@pytest.mark.parametrize(
    ("owner", "called"),
    [("other-host|17|0", "process 17 on other-host"), ("gibberish", "a process that left no name")],
)
def test_a_sweep_whose_process_cannot_be_seen_is_refused_with_a_way_out(
    store: Store, client: MlflowClient, owner: str, called: str
) -> None:
    """As a machine leaves it that was switched off while it trained."""
    first = open_sweep(store, "key")
    trial = store.start_run(kind="trial", run_name="x", params={}, parent_run_id=first.run_id)
    others = store.start_run(kind="trial", run_name="x", params={}, parent_run_id="another sweep")
    for run_id, process in ((first.run_id, owner), (trial.run_id, owner), (others.run_id, "yet another|1|0")):
        leave_to(store, run_id, process)
    assert store.close_abandoned() == []
    with pytest.raises(
        TrackingError, match=rf"is being run by {called} \(run {first.run_id}\).* with --take-over"
    ) as reported:
        open_sweep(store, "key")
    assert "unknown" not in str(reported.value)
    again = open_sweep(store, "key", take_over=True)
    assert again.run_id == first.run_id
    assert client.get_run(first.run_id).data.tags[names.OWNER] == provenance.this_process()
    closed = client.get_run(trial.run_id)
    assert closed.info.status == "KILLED"
    assert f"taken over by process {os.getpid()} on" in closed.data.tags[names.FAILURE]
    assert client.get_run(others.run_id).info.status == "RUNNING"


def test_a_sweep_is_not_taken_over_from_a_process_that_lives(store: Store) -> None:
    first = open_sweep(store, "key")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as other:
        leave_to(store, first.run_id, provenance._owner_tag(provenance.psutil.Process(other.pid)))
        with pytest.raises(TrackingError, match=f"is being run by process {other.pid} on .*; wait until it ends, or"):
            open_sweep(store, "key", take_over=True)
        other.kill()


def test_the_newest_run_that_has_its_checkpoint_answers(store: Store, client: MlflowClient, tmp_path: Path) -> None:
    older, newer = (finished_run(store, "aa", Shape()) for _ in range(2))
    alone = finished_run(store, "bb", Shape())
    for run_id in (newer, alone):
        (tmp_path / "mlruns" / "gpt-experiments" / run_id / "artifacts" / "checkpoint" / "model.safetensors").unlink()
    found = finished_trials(store)
    assert {cell: trial.run_id for cell, trial in found.by_cell.items()} == {"aa": older}
    assert found.lost == {"bb"}
    assert found.location == (tmp_path / "mlruns" / "gpt-experiments").as_uri()


def test_a_run_that_is_older_than_a_hyperparameter_is_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    younger = dataclasses.replace(SHAPE["dropout"], is_younger=True)
    params = {name: value for name, value in dataclasses.asdict(Shape(n_layer=3)).items() if name != "dropout"}
    recorder = store.start_run(kind="trial", run_name="x", params=params | {"seed": 5}, tags={names.CELL: "aa"})
    recorder.log_text("weights", "checkpoint/model.safetensors")
    recorder.log_metrics(schema.summary_metrics(SUMMARY))
    recorder.finish()
    assert finished_trials(store).by_cell == {}
    monkeypatch.setitem(SHAPE, "dropout", younger)  # type: ignore[arg-type]
    assert finished_trials(store).by_cell["aa"].variant == Variant(shape=Shape(n_layer=3))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_processes_may_open_a_fresh_store_at_once(tmp_path: Path, kind: str) -> None:
    with nullcontext(f"sqlite:///{tmp_path}/mlflow.db") if kind == "sqlite" else postgres() as uri:
        open_at_once(uri)


def open_at_once(uri: str) -> None:
    script = "import sys; from gpt_experiments.tracking import Store; print(Store(sys.argv[1]).experiment.name)"
    processes = [
        subprocess.Popen([sys.executable, "-c", script, uri], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    ended = [(p.communicate(timeout=120), p.returncode) for p in processes]
    assert [code for _, code in ended] == [0] * 4, [err for (_, err), code in ended if code]
    assert len({out for (out, _), _ in ended}) == 1


def test_looking_without_making(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert Store.if_present(uri) is None
    assert list(tmp_path.iterdir()) == []
    Store(uri)
    assert Store.if_present(uri) is not None
    assert Store.if_present(uri, "another") is None


@pytest.fixture
def refusing_server() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Silent."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_stores_that_cannot_serve_are_reported_at_once(tmp_path: Path, refusing_server: str) -> None:
    with pytest.raises(TrackingError, match=r"no tracking server answers at http://127\.0\.0\.1:9"):
        Store("http://127.0.0.1:9")
    with pytest.raises(TrackingError, match=r"the tracking store http://127.* failed"):
        Store(refusing_server)
    broken = tmp_path / "broken.db"
    broken.write_text("this is no database, it is a poem" * 50)
    with pytest.raises(TrackingError, match=r"broken\.db failed"):
        Store(f"sqlite:///{broken}")
    with pytest.raises(TrackingError, match="gibberish"):
        Store("gibberish://x")


def test_a_deleted_experiment_is_reported_with_the_way_back(store: Store, client: MlflowClient) -> None:
    client.delete_experiment(store.experiment.experiment_id)
    with pytest.raises(TrackingError, match=r"`mlflow experiments restore -x \d+`, with MLFLOW_TRACKING_URI naming"):
        Store(store.uri)


def test_models_that_are_not_there_are_reported(store: Store, store_uri: str, tmp_path: Path) -> None:
    recorder = store.start_run(kind="trial", run_name="x", params={})
    for location in ("0" * 32, recorder.run_id, "models:/nothing/1", "models:/nothing@champion"):
        with pytest.raises(TrackingError, match="cannot be read from"):
            model_folder(location, store_uri, into=tmp_path)
    with pytest.raises(TrackingError, match="no tracking store at"):
        model_folder("0" * 32, f"sqlite:///{tmp_path}/absent.db", into=tmp_path)
    assert not (tmp_path / "absent.db").exists()


def test_the_cell_of_a_run_is_the_trials(store: Store, corpus: Corpus) -> None:
    trial = Trial(shape=Shape(n_layer=2))
    finished_run(store, trial.cell(corpus.digest), trial.shape)
    assert trial.cell(corpus.digest) in finished_trials(store).by_cell


def test_a_process_whose_end_nobody_has_asked_for_is_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        process = psutil.Process(child.pid)
        owner = f"{socket.gethostname()}|{child.pid}|{process.create_time():.0f}"
        assert not is_dead(owner)
        child.kill()
        while process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert is_dead(owner)


def test_a_table_replaces_the_one_before_it_and_is_listed_once(store: Store, client: MlflowClient) -> None:
    recorder = store.start_run(kind="sweep", run_name="x", params={})
    first, other = pd.DataFrame({"loss": [1.5, 2.5]}), pd.DataFrame({"x": [1]})
    recorder.log_tables({"tables/a.json": first, "tables/b.json": other})
    recorder.log_tables({"tables/a.json": pd.DataFrame({"loss": [3.5]})})
    with as_default_store(store.uri):
        table = client.load_table(store.experiment.experiment_id, "tables/a.json", run_ids=[recorder.run_id])
    assert list(table["loss"]) == [3.5]
    listed = json.loads(client.get_run(recorder.run_id).data.tags["mlflow.loggedArtifacts"])
    assert listed == [{"path": "tables/b.json", "type": "table"}, {"path": "tables/a.json", "type": "table"}]
