"""Addresses of stores, right and wrong; what is asked of a server; what opening one leaves behind."""

from __future__ import annotations

import base64
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from filelock import FileLock

from gpt_experiments.errors import ConfigError, TrackingError, without_secrets
from gpt_experiments.tracking import Store
from gpt_experiments.tracking.connection import database_file, resolve_uri
from gpt_experiments.tracking.locks import opening_lock
from gpt_experiments.tracking.retry import RetryPolicy
from tests.support.processes import in_child

Answer = Callable[[BaseHTTPRequestHandler], tuple[int, str]]


@contextmanager
def served(answer: Answer, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of a server on this machine that answers every request with a status and a text."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, text = answer(self)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("{folder}", "is no address of a store; a folder can no longer be one"),
        ("file://{folder}", "is no address of a store; a folder can no longer be one"),
        ("{folder}/poem.txt", "for a database file, give sqlite:///{folder}/poem.txt"),
        ("sqlite:///{folder}", "{folder} is a folder, not a database; give sqlite:///{folder}/mlflow.db"),
        ("sqlite:///{folder}/poem.txt/mlflow.db", "poem.txt is no folder that you may write in"),
        ("sqlite:///{folder}/poem.txt", "file is not a database"),
        ("sqlite:///" + "a" * 300, "File name too long"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite://", "names no file"),
        ("sqlite:mlflow.db", "is no address of a database"),
        ("sqlite:///a\0b", "must be one line"),
        ("postgresql", "is no address of a store"),
        ("postgresql+a+b://h/d", "is no address of a database"),
        ("postgresql://user:hush@h:port/d", "'postgresql://***@h:port/d' is no address of a database"),
        ("mysql://user:hush@h/d", "mysql://***@h/d needs a driver that is not installed: No module named 'MySQLdb'"),
        ("mssql://h/d", "needs a driver that is not installed"),
        ("http://", "is no address of a tracking server"),
        ("http:/h", "is no address of a tracking server"),
        ("http://h:port", "is no address of a tracking server"),
        ("https://[::1", "is no address of a tracking server"),
        ("http://user:hush hush@h", "is no address of a tracking server"),
        ("http://user:hush@127.0.0.1:9", "no tracking server answers at http://***@127.0.0.1:9"),
        ("foo://bar", "foo://bar failed"),
    ],
)
def test_a_wrong_address_is_one_short_message_without_its_password(tmp_path: Path, uri: str, said: str) -> None:
    (tmp_path / "poem.txt").write_text("this is no database, it is a poem\n" * 50)
    with pytest.raises(TrackingError) as raised:
        Store(uri.format(folder=tmp_path))
    message = str(raised.value)
    assert said.format(folder=tmp_path) in message
    assert "hush" not in message
    assert "\n" not in message
    assert len(message) < 900
    assert [path.name for path in tmp_path.iterdir()] == ["poem.txt"]


@pytest.mark.parametrize(
    "name", ["", " ", ".", "..", "a" * 300, "ä" * 80, "a\nb", "a\x07", " a", "a ", "\ud800", "\N{ZERO WIDTH SPACE}"]
)
def test_an_experiment_that_could_not_be_named_is_refused_before_anything_is_made(tmp_path: Path, name: str) -> None:
    for opened in (Store, Store.if_present):
        with pytest.raises(ConfigError, match=r"an experiment's name must .* 1 to 150 bytes, .* of \d+ bytes; choose"):
            opened(f"sqlite:///{tmp_path}/mlflow.db", name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["team/study", "Ünder score", "a" * 150, "..a", "'quoted'"])
def test_unusual_names_of_experiments_serve(store_uri: str, name: str, tmp_path: Path) -> None:
    recorder = Store(store_uri, name).start_run(kind="trial", run_name="x", params={})
    recorder.log_text("hello", "note.txt")
    assert len(list((tmp_path / "mlruns").glob("*/*/artifacts/note.txt"))) == 1
    assert Store(store_uri, name).experiment.name == name


@pytest.mark.slow
def test_a_folder_with_spaces_and_percent_signs_holds_a_store_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my study"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for uri in (None, "sqlite:///mlflow.db", f"sqlite:///{tmp_path}/my%20study/mlflow.db"):
        assert database_file(resolve_uri(uri)) == folder / "mlflow.db"
    Store()
    assert [path.name for path in tmp_path.iterdir()] == ["my study"]


def test_a_server_is_asked_with_user_and_password(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(request: BaseHTTPRequestHandler) -> tuple[int, str]:
        given = request.headers.get("Authorization", "")
        return (200, "OK") if given == "Basic " + base64.b64encode(b"me:hush").decode() else (401, "who are you?")

    with served(answer) as port:
        assert resolve_uri(f"http://me:hush@127.0.0.1:{port}/") == f"http://me:hush@127.0.0.1:{port}"
        with pytest.raises(TrackingError, match="401; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or"):
            resolve_uri(f"http://127.0.0.1:{port}")
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hush")
        resolve_uri(f"http://127.0.0.1:{port}")


def test_an_address_copied_from_a_browser_is_that_of_its_server() -> None:
    with served(lambda request: (200, "OK") if request.path == "/health" else (404, "")) as port:
        for page in ("/#/experiments/1/runs?workflowType=machine_learning", "/?a=b#/models", "/#"):
            assert resolve_uri(f"http://127.0.0.1:{port}{page}") == f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("status", [200, 404])
def test_a_web_server_that_is_no_tracking_server_is_explained_without_its_page(status: int) -> None:
    with served(lambda _: (status, "<!doctype html>\n<html>" + "x" * 5000)) as port:
        with pytest.raises(TrackingError, match="no MLflow server answers there") as raised:
            Store(f"http://127.0.0.1:{port}")
        assert "<" not in str(raised.value)


def test_a_server_with_a_certificate_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    request = f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {key} -out {certificate}"
    subprocess.run(
        ["openssl", *request.split(), "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with served(lambda _: (200, "OK"), context) as port:
        uri = f"https://127.0.0.1:{port}"
        with pytest.raises(TrackingError, match=r"not trusted .*certificate.*set MLFLOW_TRACKING_SERVER_CERT_PATH"):
            resolve_uri(uri)
        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificate))
        assert resolve_uri(uri) == uri


@pytest.mark.slow
def test_nothing_is_left_beside_a_fresh_store_and_nothing_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    Store(f"sqlite:///{tmp_path}/mlflow.db")
    assert capfd.readouterr() == ("", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlflow.db", "temporary"]
    assert list(temporary.iterdir()) == []


def test_the_lock_excludes_and_who_waits_for_it_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpt_experiments.tracking.locks._SECONDS_TO_OPEN", (0.1, 30))
    uri, notices, order = f"sqlite:///{tmp_path}/mlflow.db", [], []
    with FileLock(tmp_path / "mlflow.db.lock") as held:

        def wait() -> None:
            with opening_lock(uri, RetryPolicy(notices.append)):
                order.append("entered")

        thread = threading.Thread(target=wait)
        thread.start()
        while not notices:
            time.sleep(0.01)
        order.append("released")
        held.release()
        thread.join()
    assert order == ["released", "entered"]
    assert "waiting for another process that opens the same store" in notices[0]
    assert not (tmp_path / "mlflow.db.lock").exists()


def as_somebody_else(work: Callable[[], object]) -> str:
    """What the work, done as a user without rights, returns or raises, as text."""

    def change_user_and_work() -> object:
        os.setgid(65534)
        os.setuid(65534)
        return work()

    return in_child(change_user_and_work)


@pytest.fixture
def shared(store_uri: str) -> Iterator[Path]:
    """A folder in which everybody may write, with a store that everybody may write."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can act as another user")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        shutil.copy(database_file(store_uri) or "", folder / "mlflow.db")
        (folder / "mlflow.db").chmod(0o666)
        yield folder


def test_a_second_user_of_the_machine_may_open_a_store_too(shared: Path) -> None:
    uri = f"sqlite:///{shared}/mlflow.db"
    with opening_lock(uri, RetryPolicy()):
        shutil.copy2(shared / "mlflow.db.lock", shared / "kept")
    (shared / "kept").rename(shared / "mlflow.db.lock")  # as the first user leaves it who is killed meanwhile
    assert as_somebody_else(lambda: Store(uri).experiment.name) == "gpt-experiments"
    assert [path.name for path in shared.iterdir()] == ["mlflow.db"]


def test_a_lock_file_that_another_user_left_in_a_sticky_folder_stops_nobody(shared: Path) -> None:
    uri = f"sqlite:///{shared}/mlflow.db"
    shared.chmod(0o1777)
    (shared / "mlflow.db.lock").touch()
    (shared / "mlflow.db.lock").chmod(0o666)
    assert as_somebody_else(lambda: [Store(uri), Store(uri)][1].experiment.name) == "gpt-experiments"


def test_a_folder_that_may_not_be_written_is_said_at_once(shared: Path) -> None:
    shared.chmod(0o755)
    answer = as_somebody_else(lambda: Store(f"sqlite:///{shared}/new.db"))
    assert answer.startswith(f"TrackingError: no store can be made at {shared}/new.db")


def test_a_store_that_may_only_be_read_says_so_when_it_is_written(shared: Path) -> None:
    uri = f"sqlite:///{shared}/mlflow.db"
    Store(uri).start_run(kind="trial", run_name="x", params={})  # and so loads modules that another user may not read
    shared.chmod(0o755)
    (shared / "mlflow.db").chmod(0o644)
    answer = as_somebody_else(lambda: Store(uri).start_run(kind="trial", run_name="x", params={}))
    assert answer.startswith(f"TrackingError: the tracking store {uri} failed (")
    assert "whether you may write there" in answer


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:hush@host:1/x", "http://***@host:1/x"),
        ("at postgresql+psycopg://u:hu/sh@h/d, and", "at postgresql+psycopg://***@h/d, and"),
        ("http://u:hu@sh@host", "http://***@host"),
        ("https://hush@host", "https://***@host"),
        ("--tracking-uri=http://u:hush@h", "--tracking-uri=http://***@h"),
        ("postgresql://h/d?user=me&password=hush&x=1", "postgresql://h/d?user=me&password=***&x=1"),
        ("mssql+pyodbc:///?odbc_connect=SERVER%3Dh%3BPWD%3Dhush&x=1", "mssql+pyodbc:///?odbc_connect=***&x=1"),
        ("mssql+pyodbc:///?odbc_connect=DRIVER={A b};PWD=hush", "mssql+pyodbc:///?odbc_connect=*** b};PWD=***"),
        ("SERVER%3Dh%3BPWD%3Dhush, and", "SERVER%3Dh%3BPWD%3D*** and"),
        ("a." * 60_000 + "://u:hush@h", "a." * 60_000 + "://***@h"),
        ("a://" * 30_000 + " b://hush@h", "a://" * 30_000 + " b://***@h"),
        ("a" * 60_000 + "://hush@h", "a" * 60_000 + "://***@h"),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
        ("models:/m@champion", "models:/m@champion"),
        ("http://host:5000", "http://host:5000"),
    ],
)
def test_secrets_are_left_out_of_what_is_shown(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
    assert str(TrackingError(text)) == shown


def test_the_command_line_is_stored_without_passwords(store_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "sweep", "quick", "--tracking-uri", "http://me:hush@host:5000"])
    store = Store(store_uri)
    recorder = store.start_run(kind="trial", run_name="x", params={})
    recorder.fail("no answer from http://me:hush@host:5000", "Traceback: http://me:hush@host:5000")
    run = store.client.get_run(recorder.run_id)
    assert run.data.tags["mlflow.source.name"] == "gpt-experiments sweep quick --tracking-uri http://***@host:5000"
    assert "hush" not in repr(run.to_dictionary())
    artifact = store.client.download_artifacts(recorder.run_id, "traceback.txt")
    assert "hush" not in Path(artifact).read_text()
