"""Stores that are locked, full, away for a while, or whose runs are deleted: waited for, or explained."""

from __future__ import annotations

import errno
import resource
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

from gpt_experiments import names
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import MissingError, RunDeletedError, TrackingError
from gpt_experiments.model import load_checkpoint
from gpt_experiments.tracking import Store, model_folder
from gpt_experiments.tracking.failures import as_tracking_error, waits_for
from gpt_experiments.tracking.retry import RetryPolicy
from tests.support.mlflow_server import Server
from tests.support.processes import in_child
from tests.support.stores import add_run


@pytest.fixture(autouse=True)
def quick_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpt_experiments.tracking.retry._FIRST_NOTICE", 0.0)


class Busy:
    """A function that finds the database locked some times, and then returns 7."""

    def __init__(self, times: int) -> None:
        self.left, self.calls = times, 0

    def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self.left:
            raise MlflowException("(sqlite3.OperationalError) database is locked")
        return 7


def test_what_passes_is_waited_for_with_a_word_before_and_after() -> None:
    notices: list[str] = []
    assert RetryPolicy(notices.append).call(Busy(2)) == 7
    assert notices[0] == "waiting for the tracking store, for up to 300 s: another program has locked its database"
    assert "answers again" in notices[1]


def test_processes_that_write_the_same_at_once_all_succeed(store_uri: str) -> None:
    """MLflow looks whether a tag, parameter or corpus is there, and then inserts it: the second one is an error."""
    store, together, failures = Store(store_uri), threading.Barrier(3), []
    run_id = store.start_run(kind="trial", run_name="x", params={}).run_id
    experiment_id, corpus = store.experiment.experiment_id, Dataset("corpus", "1", "local", "{}")
    store.client.create_registered_model("m")

    def write() -> None:
        try:
            for name in "abcde":
                together.wait(60)
                store.client.set_tag(run_id, name, "1")
                store.client.set_experiment_tag(experiment_id, name, "1")
                store.client.log_param(run_id, name, "1")
                store.client.set_registered_model_tag("m", name, "1")
            store.client.log_inputs(run_id, [DatasetInput(corpus)])
        except Exception as error:
            failures.append(error)
            together.abort()

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    run = store.client.get_run(run_id)
    assert {"a", "b", "c", "d", "e"} <= run.data.tags.keys()
    assert run.data.params == dict.fromkeys("abcde", "1")
    assert [each.dataset.name for each in run.inputs.dataset_inputs] == ["corpus"]


def test_a_name_that_is_taken_is_not_waited_for(store_uri: str) -> None:
    client = Store(store_uri).client
    client.create_registered_model("m")
    with pytest.raises(MlflowException, match="already exists") as error:
        client.create_registered_model("m")
    assert waits_for(error.value) is None


def test_after_a_wait_in_vain_nobody_waits_again() -> None:
    retries = RetryPolicy(lambda _: None, longest_wait=0.5)
    with pytest.raises(MlflowException, match="locked"):
        retries.call(Busy(10**6))
    second = Busy(10**6)
    with pytest.raises(MlflowException, match="locked"):
        retries.call(second)
    assert second.calls == 1
    assert retries.call(Busy(0)) == 7
    assert retries.call(Busy(1)) == 7


def test_who_asked_to_stop_waits_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpt_experiments.tracking.retry._WAIT_AFTER_STOP", 0.1)
    with pytest.raises(MlflowException, match="locked"):
        RetryPolicy(lambda _: None, lambda: True).call(Busy(10**6))


def test_what_does_not_pass_is_raised_at_once() -> None:
    calls = []

    def full() -> None:
        calls.append(1)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        RetryPolicy(lambda _: None).call(full)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "make room on its disk"),
        (MlflowException("(sqlite3.OperationalError) database or disk is full\n[SQL: x"), "make room on its disk"),
        (MlflowException("(sqlite3.OperationalError) database is locked"), "another program has locked its database"),
        (MlflowException("attempt to write a readonly database"), "whether you may write there"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "whether you may write there"),
        (MlflowException("API request failed with error code 401 != 200"), "set MLFLOW_TRACKING_USERNAME"),
        (MlflowException("Permission denied", error_code=PERMISSION_DENIED), "set MLFLOW_TRACKING_USERNAME"),
        (MlflowException("Detected out-of-date database schema (found"), "`mlflow db upgrade sqlite:///x`"),
        (MlflowException("failed: Connection refused"), "wait until it is back"),
        (MlflowException("something new"), "see whether `mlflow ui` can show that store"),
    ],
)
def test_the_remedy_fits_the_fault(error: Exception, remedy: str) -> None:
    message = str(as_tracking_error(error, "sqlite:///x"))
    assert remedy in message
    assert ("upgrade" in message) == ("schema" in message)
    assert "\n" not in message


def test_a_store_of_a_newer_mlflow_is_not_to_be_upgraded() -> None:
    newer = MlflowException(
        "Detected out-of-date database schema (found version 0123456789ab, but expected 17e22815139b)"
    )
    assert "a newer version of MLflow made it" in str(as_tracking_error(newer, "sqlite:///x"))
    older = MlflowException("Detected out-of-date database schema (found version 17e22815139b, but expected 012345)")
    assert "`mlflow db upgrade sqlite:///x`" in str(as_tracking_error(older, "sqlite:///x"))


def test_a_long_page_or_message_is_cut_to_one_line() -> None:
    assert len(str(as_tracking_error(MlflowException("x" * 9000 + "\nmore"), "sqlite:///x"))) < 600


def locked_for(file: Path, seconds: float) -> threading.Thread:
    """Lock the database as another program would, until the thread that is returned ends."""
    is_locked = threading.Event()

    def lock() -> None:
        connection = sqlite3.connect(file)
        connection.execute("BEGIN EXCLUSIVE")
        is_locked.set()
        time.sleep(seconds)
        connection.rollback()
        connection.close()

    thread = threading.Thread(target=lock)
    thread.start()
    is_locked.wait()
    return thread


def test_a_locked_database_is_waited_for_without_tracebacks(
    store_uri: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    notices: list[str] = []
    store = Store(store_uri, retries=RetryPolicy(notices.append))
    recorder = store.start_run(kind="trial", run_name="x", params={})
    thread = locked_for(tmp_path / "mlflow.db", 3.0)
    recorder.log_metrics({"final_val_loss": 2.0})
    recorder.finish()
    thread.join()
    assert store.client.get_run(recorder.run_id).data.metrics == {"final_val_loss": 2.0}
    assert "another program has locked its database" in notices[0]
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_a_database_that_stays_locked_is_one_short_error_and_keeps_what_waits(
    store_uri: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store = Store(store_uri, retries=RetryPolicy(lambda _: None, longest_wait=0.1))
    recorder = store.start_run(kind="trial", run_name="x", params={})
    thread = locked_for(tmp_path / "mlflow.db", 4.0)
    recorder.log_metrics({"final_val_loss": 2.0})
    with pytest.raises(TrackingError, match="another program has locked its database; close it"):
        recorder.flush()
    thread.join()
    recorder.finish()
    assert store.client.get_run(recorder.run_id).data.metrics == {"final_val_loss": 2.0}
    assert capfd.readouterr() == ("", "")


def test_a_full_disk_is_one_short_error(store_uri: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A limit on the size of files stands for the full disk: SQLite and the system say much the same of both."""

    def fill() -> str:
        recorder = Store(store_uri).start_run(kind="trial", run_name="x", params={})
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        said = []
        tags = {f"t{number}": "x" * 4000 for number in range(99)}
        for write in (lambda: recorder.set_tags(tags), lambda: recorder.log_text("x" * 9999, "x")):
            with pytest.raises(TrackingError) as raised:
                write()
            said.append(str(raised.value))
        return "\n".join(said)

    lines = in_child(fill).splitlines()
    assert len(lines) == 2
    assert all("make room on its disk, then run the same again" in line for line in lines)
    assert capfd.readouterr() == ("", "")


def test_a_run_that_is_deleted_while_it_is_written_is_named(store_uri: str) -> None:
    store = Store(store_uri)
    recorder = store.start_run(kind="trial", run_name="x", params={})
    store.client.delete_run(recorder.run_id)
    recorder.log_metrics({"a": 1.0})
    for write in (recorder.flush, recorder.finish, lambda: recorder.fail("x"), lambda: recorder.kill("x")):
        with pytest.raises(RunDeletedError, match="was deleted in MLflow while it was written") as raised:
            write()
        assert f"`mlflow runs restore --run-id {recorder.run_id}`, with MLFLOW_TRACKING_URI naming" in str(raised.value)


@pytest.fixture
def server(store_uri: str, tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.mark.thorough
@pytest.mark.slow
def test_a_server_that_goes_away_is_waited_for_and_nothing_is_lost(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    notices: list[str] = []
    store = Store(server.uri, retries=RetryPolicy(notices.append))
    recorder = store.start_run(kind="trial", run_name="x", params={"a": 1})
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "note.txt").write_text("hello")
    server.stop()
    recorder.log_metrics({names.FINAL_VAL_LOSS: 2.0})

    def write() -> None:
        recorder.log_artifacts(folder)
        recorder.finish()

    writing = threading.Thread(target=write)
    writing.start()
    time.sleep(2)
    server.start()
    writing.join()
    run = MlflowClient(server.uri).get_run(recorder.run_id)
    assert (run.info.status, run.data.metrics) == ("FINISHED", {names.FINAL_VAL_LOSS: 2.0})
    assert [file.path for file in store.client.list_artifacts(recorder.run_id)] == ["note.txt"]
    assert "waiting for the tracking store, for up to 300 s: it does not answer ([Errno 111]" in notices[0]
    assert "answers again" in notices[-1]
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_a_server_that_stays_away_is_one_short_error(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    store = Store(server.uri, retries=RetryPolicy(lambda _: None, longest_wait=2.0))
    recorder = store.start_run(kind="trial", run_name="x", params={})
    server.stop()
    with pytest.raises(TrackingError, match=r"failed \(\[Errno 111\] Connection refused\); start it, or wait"):
        recorder.finish()
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_a_model_is_waited_for_and_a_locked_store_is_no_missing_model(
    store_uri: str, tmp_path: Path, corpus: Corpus
) -> None:
    run_id = add_run(Store(store_uri), corpus, 2.0)
    thread = locked_for(tmp_path / "mlflow.db", 5.0)
    with pytest.raises(TrackingError, match="has locked its database") as raised:
        model_folder(run_id, store_uri, into=tmp_path, retries=RetryPolicy(lambda _: None, longest_wait=0.0))
    assert not isinstance(raised.value, MissingError)
    notices: list[str] = []
    folder = model_folder(run_id, store_uri, into=tmp_path, retries=RetryPolicy(notices.append))
    thread.join()
    load_checkpoint(folder)
    assert "another program has locked its database" in notices[0]
