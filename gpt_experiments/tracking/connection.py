"""Reaches the tracking store: checks its address and that it answers."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import mlflow
import requests
from mlflow.exceptions import MlflowException
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from gpt_experiments.errors import ConfigError, TrackingError, shown, without_secrets
from gpt_experiments.quiet import wants_log
from gpt_experiments.tracking.failures import (
    CERTIFICATE,
    SIGN_IN,
    as_tracking_error,
    first_line,
    is_refusal,
    reason_of_silence,
)
from gpt_experiments.tracking.mlflow_internals import (
    DATABASE_ENGINES,
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR,
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    MLFLOW_HTTP_REQUEST_TIMEOUT,
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT,
    get_default_host_creds,
    http_request,
)
from gpt_experiments.tracking.retry import RetryPolicy

_SECONDS_TO_REACH_A_SERVER: Final = (4, 10)  # the first try, and a second one after a notice
_SECONDS_TO_PROBE: Final = 2
_SECONDS_TO_CONNECT: Final = 10  # to a database; otherwise a firewall that drops packets costs minutes
_WITH_TIMEOUT: Final = ("psycopg", "psycopg2", "pymysql", "mysqldb")  # drivers that accept such a limit
_LONGEST_ADDRESS: Final = 1000  # characters
_LONGEST_NAME: Final = 150  # bytes; the experiment's folder has that name, and MLflow allows a run's whole path 200
_SQLITE: Final = "sqlite:///"
_EXAMPLES: Final = "give sqlite:///FOLDER/mlflow.db, http://HOST:5000, or another address that MLflow takes"


def resolve_uri(tracking_uri: str | None, retries: RetryPolicy | None = None) -> str:
    """The store's address as MLflow's client takes it, checked; None is MLflow's own choice.

    That choice is MLFLOW_TRACKING_URI, else `mlflow.db` in the working directory. A SQLite file's path is made
    absolute. Of an address copied from a browser only the server's part is taken.

    Raises:
        TrackingError: it is no address of a store, or its server or database does not answer; this comes within
            seconds, where MLflow's client tries for minutes.
    """
    _quieten_libraries()
    uri = (tracking_uri or mlflow.get_tracking_uri()).strip()
    if not uri.isprintable() or len(uri) > _LONGEST_ADDRESS:
        raise TrackingError(
            f"a store's address must be one line of at most {_LONGEST_ADDRESS} visible characters; {_EXAMPLES}"
        )
    scheme = uri.partition(":")[0].lower() if ":" in uri else ""
    if scheme in ("http", "https"):
        server = _server_address(uri)
        _require_answer(server, retries or RetryPolicy())
        return server
    if scheme.partition("+")[0] in DATABASE_ENGINES:
        return _database_address(uri)
    if scheme in ("", "file") and not uri.startswith("databricks"):
        path = Path(uri.removeprefix("file://").removeprefix("file:"))
        hint = f"for a database file, give {_SQLITE}{path.absolute()}" if path.is_file() else _EXAMPLES
        raise TrackingError(f"{uri!r} is no address of a store; a folder can no longer be one; {hint}")
    return uri  # the address of a plugin, or of a hosted service


def _quieten_libraries() -> None:
    """Silence what this program reports itself, unless the user asked for log records.

    That is a link for each run, a progress bar for each file, and each failed try of a call that is repeated, some with
    a traceback. A try is repeated here, with notices, so MLflow's client must not repeat it for minutes in silence.
    """
    if not wants_log():
        for logger in ("mlflow", "alembic"):
            logging.getLogger(logger).setLevel(logging.WARNING)
        for logger in ("mlflow.store.db.utils", "urllib3.connectionpool"):
            logging.getLogger(logger).setLevel(logging.CRITICAL)
    os.environ.setdefault(MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.name, "false")
    os.environ.setdefault(MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.name, "true")
    os.environ.setdefault(MLFLOW_HTTP_REQUEST_MAX_RETRIES.name, "0")
    os.environ.setdefault(MLFLOW_HTTP_REQUEST_TIMEOUT.name, "20")


@event.listens_for(Engine, "before_cursor_execute", retval=True)
def _wait_briefly(_c: object, _d: object, statement: str, values: object, *_: object) -> tuple[str, object]:
    """Let SQLite wait 2 seconds for a lock in silence, not MLflow's 20; then `RetryPolicy` waits."""
    return statement.replace("PRAGMA busy_timeout = 20000", "PRAGMA busy_timeout = 2000"), values


def database_file(uri: str) -> Path | None:
    """The file of a SQLite store; None for every other kind of store."""
    if not uri.startswith("sqlite"):
        return None
    database = make_url(uri).database
    return Path(database) if database else None


@contextmanager
def as_default_store(uri: str) -> Iterator[None]:
    """Make `uri` MLflow's default store in the block; a registered model's address is looked up only there."""
    # MLflow's own choice depends on the working directory, so it must not become a fixed address afterwards.
    is_set: bool = mlflow.is_tracking_uri_set()  # type: ignore[no-untyped-call]
    before = mlflow.get_tracking_uri() if is_set else None
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]  # None is what it begins with


def _server_address(uri: str) -> str:
    """The address of the server itself, without the page that follows it in a browser's address."""
    address = uri.partition("#")[0].partition("?")[0].rstrip("/")
    try:
        parts = urlsplit(address)
        is_address = bool(parts.hostname) and (parts.port is None or parts.port > 0) and not any(map(str.isspace, uri))
    except ValueError:  # an invalid port, half of an IPv6 address
        is_address = False
    if not is_address:
        raise TrackingError(f"{_shown(uri)!r} is no address of a tracking server; give one as http://HOST:5000")
    return address


def _shown(uri: str) -> str:
    """The address without a password, even if its parts cannot be recognised."""
    return without_secrets("".join(uri.split()))


def _require_answer(uri: str, retries: RetryPolicy) -> None:
    """Ask whether the server is there, as MLflow will ask: with its certificates, user, password and proxies."""
    for number, seconds in enumerate(_SECONDS_TO_REACH_A_SERVER):
        try:
            status = _ask(uri, seconds)
        except (MlflowException, OSError) as error:
            if number == 0 and "timeout" in first_line(error).lower():
                retries.notice(f"no answer yet from {without_secrets(uri)}; trying again")
                continue
            why = reason_of_silence(error)
            if "certificate" in why.lower() or "SSL" in str(error):
                raise TrackingError(f"the certificate of {uri} is not trusted ({why}); {CERTIFICATE}") from error
            raise TrackingError(
                f"no tracking server answers at {uri} ({why}); start it, or correct --tracking-uri or "
                "MLFLOW_TRACKING_URI"
            ) from error
        if status in (401, 403):
            raise TrackingError(f"{uri} refuses with status {status}; {SIGN_IN}")
        return


def probe(uri: str) -> None:
    """Ask, for two seconds at most, whether a store is there that has just not answered.

    Raises:
        MlflowException, requests.ConnectionError: it is not.
    """
    if uri.startswith("http"):
        _ask(uri, _SECONDS_TO_PROBE)
    elif uri.partition(":")[0].partition("+")[0] in DATABASE_ENGINES and (url := make_url(uri)).host and url.port:
        try:
            socket.create_connection((url.host, url.port), _SECONDS_TO_PROBE).close()
        except OSError as error:
            raise requests.ConnectionError(str(error)) from error


def _ask(uri: str, seconds: float) -> int:
    """The status with which the server answers."""
    credentials = get_default_host_creds(uri)  # type: ignore[no-untyped-call]
    options = {"max_retries": 0, "timeout": seconds, "raise_on_status": False}
    status: int = http_request(credentials, "/health", "GET", **options).status_code  # type: ignore[no-untyped-call]
    return status


def _database_address(uri: str) -> str:
    """The database's address, after one try to connect: MLflow would make ten, for two minutes."""
    try:
        url = make_url(uri)
        backend = url.get_backend_name()
        url.get_dialect()
        if backend == "sqlite":
            return _sqlite_address(url.database, uri)
        limit = {"connect_timeout": _SECONDS_TO_CONNECT} if url.get_driver_name() in _WITH_TIMEOUT else {}
        engine = create_engine(url, connect_args=limit)
    except (ArgumentError, ValueError, MlflowException) as error:
        raise TrackingError(
            f"{_shown(uri)!r} is no address of a database ({first_line(error)}); {_EXAMPLES}"
        ) from error
    except (ImportError, SQLAlchemyError) as error:  # SQLAlchemy knows no such dialect, or Python no such module
        raise TrackingError(
            f"the database of {uri} needs a driver that is not installed: {first_line(error)}; install it ("
            "psycopg[binary] for postgresql, pymysql for mysql+pymysql), or name another, as in postgresql+psycopg2"
        ) from error
    try:
        with engine.connect():
            return uri
    except SQLAlchemyError as error:
        if is_refusal(error):
            raise as_tracking_error(error, uri) from error
        raise TrackingError(
            f"the database {uri} cannot be reached ({first_line(error)}); start it, or correct --tracking-uri or "
            "MLFLOW_TRACKING_URI"
        ) from error
    finally:
        engine.dispose()


def _sqlite_address(database: str | None, uri: str) -> str:
    """The absolute address of a SQLite file that exists and can be read, or can be created."""
    if not database or database == ":memory:" or database.startswith("file:"):
        raise TrackingError(f"{uri!r} names no file, and a store in memory would be lost; {_EXAMPLES}")
    file = Path(database).absolute()
    try:
        if file.is_dir():
            raise TrackingError(f"{file} is a folder, not a database; give {_SQLITE}{file / 'mlflow.db'}")
        if file.exists():
            if not os.access(file, os.R_OK):
                raise TrackingError(f"{file} cannot be read; see who owns it, or give another --tracking-uri")
        else:
            there = next(parent for parent in file.parents if parent.exists())
            if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
                raise TrackingError(
                    f"no store can be made at {file}: {there} is no folder that you may write in; "
                    "run in another folder, or give another --tracking-uri"
                )
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise TrackingError(f"{file} cannot be a store ({error.strerror}); give another --tracking-uri") from error
    # SQLAlchemy decodes an address; only what would mislead it is encoded, because MLflow takes the rest as it is.
    query = uri.partition("?")[2]
    return _SQLITE + str(file).replace("%", "%25").replace("?", "%3F") + (f"?{query}" if query else "")


def require_name(what: str, name: str) -> None:
    """Refuse a name that MLflow, a folder or a person could confuse with another.

    Args:
        what: what is named, as in `an experiment's name`.

    Raises:
        ConfigError: the name is empty, too long, only dots, or holds what cannot be seen.
    """
    is_seen = name.isprintable() and name == name.strip()
    if not is_seen or re.fullmatch(r"[.]*", name) or len(name.encode()) > _LONGEST_NAME:
        raise ConfigError(
            f"{what} must have visible characters of 1 to {_LONGEST_NAME} bytes, no space at its ends, and not only "
            f"dots, but got {shown(name)} of {len(name.encode(errors='replace'))} bytes; choose another"
        )
