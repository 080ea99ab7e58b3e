"""Turns what MLflow, its database, the network and the disk raise into errors that a user can act on."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import requests
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from gpt_experiments import errors
from gpt_experiments.errors import RunDeletedError, StoreAwayError, TrackingError
from gpt_experiments.tracking.mlflow_internals import knows_schema

_LONGEST: Final = 300  # characters of another program's message in which its status is looked for

SIGN_IN: Final = (
    "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, to what the server accepts"
)
CERTIFICATE: Final = (
    "set MLFLOW_TRACKING_SERVER_CERT_PATH to the file of the authority that signed it, or, on a network that you "
    "trust, MLFLOW_TRACKING_INSECURE_TLS to true"
)

# Each kind of failure is known by its text, because MLflow passes on texts of databases, servers and systems.
_LOCKED: Final = re.compile(r"database (table |schema )?is locked|deadlock", re.I)
# MLflow looks whether a tag or a table is there and then makes it, so two processes may make it; a second try finds it.
_CLASH: Final = re.compile(
    r"unique constraint|unique key|duplicate (key|entry)|(table|relation) \S+ already exists", re.I
)
_FULL: Final = re.compile(r"disk is full|disk full|no space left|disk quota|disk i/o error|file too large", re.I)
_UNWRITABLE: Final = re.compile(
    r"readonly database|read-only|permission denied|operation not permitted|unable to open database file", re.I
)
_DAMAGED: Final = re.compile(r"file is not a database|disk image is malformed", re.I)
_OTHER_VERSION: Final = re.compile(r"out-of-date database schema|no such (table|column)|locate revision", re.I)
_SCHEMA: Final = re.compile(r"(?:found version |identified by ')(\w+)")
_RUN_GONE: Final = re.compile(
    r"must be in the '?active'? state|run with id\S* not found|run '[0-9a-f]{32}' not found", re.I
)
_NO_ANSWER: Final = re.compile(
    r"could not connect|connect timeout on endpoint|connection (refused|reset|timed out|is bad|failed)"
    r"|server closed the connection|terminating connection|connection already closed|the database system is"
    r"|lost connection|gone away|remote end closed|max retries exceeded|too many 5\d\d error|failed with timeout",
    re.I,
)
_CAUSE: Final = re.compile(
    r"\[Errno -?\d+\] [\w ,]+|read timed out|connect timeout|too many \d+ error responses|remote end closed[\w ]*"
    r"|certificate verify failed[\w: -]*|failed to resolve '[^']*'",
    re.I,
)
_STATUS: Final = re.compile(r"error code (\d{3})|(\d{3}) (?:client|server) error", re.I)
_AWAY_STATUSES: Final = frozenset({429, 502, 503, 504})
_ABSENT: Final = frozenset({"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"})
_REFUSALS: Final = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED"})
_OBJECT_STORES: Final = frozenset({"azure", "boto3", "botocore", "google"})
_FULL_NUMBERS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_UNWRITABLE_NUMBERS: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


@contextmanager
def as_tracking_errors(uri: str) -> Iterator[None]:
    """Turn what is raised by MLflow, its database or the disk inside the block into a TrackingError."""
    try:
        yield
    except Exception as error:
        if not _is_of_the_store(error):
            raise
        raise as_tracking_error(error, uri) from error


def as_tracking_error(error: Exception, uri: str) -> TrackingError:
    """The failure of the store at `uri`, with the remedy that fits it.

    A RunDeletedError where a run is gone, a StoreAwayError where a later try may succeed.
    """
    text, status = _message(error), _status(error)
    if _RUN_GONE.search(text):
        found = re.search("[0-9a-f]{32}", text)
        run_id = found[0] if found else "ID"
        restoring = mlflow_command(f"runs restore --run-id {run_id}")
        return RunDeletedError(
            f"run {run_id} was deleted in MLflow while it was written; {restoring}, brings back what it holds"
        )
    is_silence = _is_tls(error) or status in _AWAY_STATUSES or _is_away(error, text)
    why = reason_of_silence(error) if is_silence else first_line(error)
    message = f"the tracking store {uri} failed ({why}); {_remedy(error, text, status, uri)}"
    reason = waits_for(error) or ("its disk is full" if _is_full(error, text) else None)
    return TrackingError(message) if reason is None else StoreAwayError(message, reason)


def mlflow_command(arguments: str) -> str:
    """A command of MLflow as a message offers it; the command has no option that names the store."""
    return f"`mlflow {arguments}`, with MLFLOW_TRACKING_URI naming its store"


def waits_for(error: Exception) -> str | None:
    """What the failed call would have to wait for, as a few words; None where waiting does not help."""
    if not _is_of_the_store(error):
        return None
    text = _message(error)
    if _LOCKED.search(text):
        return "another program has locked its database"
    if _is_clash(error):
        return "another program writes the same at the same moment"
    if _is_of_the_disk(error, text) or _RUN_GONE.search(text) or _is_tls(error):
        return None
    if _status(error) in _AWAY_STATUSES or _is_away(error, text):
        return f"it does not answer ({reason_of_silence(error)})"
    return None


def passes_soon(error: Exception) -> bool:
    """Whether another program's write to the database is in the way, which takes no more than seconds as a rule."""
    return bool(_LOCKED.search(_message(error))) or _is_clash(error)


def is_absent(error: Exception) -> bool:
    """Whether the store answers that it has no such run, model or file."""
    if isinstance(error, MlflowException):
        return error.error_code in _ABSENT
    return isinstance(error, FileNotFoundError) or (
        isinstance(error, OSError) and error.errno is None and not isinstance(error, requests.RequestException)
    )  # an error that MLflow itself makes of a missing file has no number


def first_line(error: BaseException) -> str:
    """The first line of an error's message, without passwords and the web page that a server may have answered with."""
    line = errors.first_line(error).partition(" Response body: '<")[0]
    return line.partition(". Take a backup of your database")[0]  # the remedy is said here, and not always that one


def reason_of_silence(error: Exception) -> str:
    """Why a server did not answer, which the network's libraries wrap into one another's texts."""
    found = _CAUSE.search(str(error)[:10_000])
    return found[0] if found else first_line(error)


def is_refusal(error: Exception) -> bool:
    """Whether the server requires a sign-in."""
    return _status(error) in (401, 403) or getattr(error, "error_code", None) in _REFUSALS


def _remedy(error: Exception, text: str, status: int | None, uri: str) -> str:
    if _LOCKED.search(text):
        return "another program has locked its database; close it, then run the same again: what is finished stays"
    if _is_full(error, text):
        return "make room on its disk, then run the same again: what is finished stays"
    if is_refusal(error):
        return SIGN_IN
    if _is_unwritable(error, text):
        return "see who owns the database, its folder and the artifacts beside it, and whether you may write there"
    if _DAMAGED.search(text):
        return "that file is no SQLite database, or damaged; bring back a copy, or give another --tracking-uri"
    if _OTHER_VERSION.search(text):
        found = _SCHEMA.search(text)
        if found and not knows_schema(found[1]):
            return "a newer version of MLflow made it; use that version, or give another --tracking-uri"
        return f"another version of MLflow made it; copy it, then run `mlflow db upgrade {uri}`"
    if _is_tls(error):
        return CERTIFICATE
    if _is_web_page(text, status):
        return "no MLflow server answers there; give its address alone, as http://HOST:5000"
    if status in _AWAY_STATUSES or _is_away(error, text):
        return "start it, or wait until it is back, then run the same again: what is finished stays"
    return "see whether `mlflow ui` can show that store, or correct --tracking-uri or MLFLOW_TRACKING_URI"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those that it came from; MLflow seldom says which."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _message(error: Exception) -> str:
    return str(error)[:10_000]


def _status(error: Exception) -> int | None:
    """The HTTP status of the answer that is the failure."""
    for link in _chain(error):
        if isinstance(link, requests.HTTPError) and link.response is not None:
            return link.response.status_code
    if getattr(error, "error_code", None) == "TEMPORARILY_UNAVAILABLE" and not _is_of_database(error):
        return 503
    found = _STATUS.search(str(error)[:_LONGEST])
    return int(found[1] or found[2]) if found else None


def _is_of_the_store(error: Exception) -> bool:
    return isinstance(error, (MlflowException, SQLAlchemyError, OSError)) or _is_of_object_store(error)


def _is_of_object_store(error: Exception) -> bool:
    """Whether a library raises it that reaches artifacts without a server between; it need not be installed."""
    return type(error).__module__.partition(".")[0] in _OBJECT_STORES


def _is_of_database(error: Exception) -> bool:
    return any(isinstance(link, SQLAlchemyError) for link in _chain(error))


def _is_clash(error: Exception) -> bool:
    is_known = getattr(error, "error_code", None) == "RESOURCE_ALREADY_EXISTS"  # a name that stays taken
    return not is_known and bool(_CLASH.search(_message(error)))


def _is_away(error: Exception, text: str) -> bool:
    if any(isinstance(link, (requests.ConnectionError, requests.Timeout)) for link in _chain(error)):
        return True
    says_why = isinstance(error, MlflowException) or _is_of_database(error) or _is_of_object_store(error)
    return says_why and bool(_NO_ANSWER.search(text))


def _is_tls(error: Exception) -> bool:
    return any(isinstance(link, requests.exceptions.SSLError) for link in _chain(error))


def _is_of_the_disk(error: Exception, text: str) -> bool:
    return _is_full(error, text) or _is_unwritable(error, text)


def _is_full(error: Exception, text: str) -> bool:
    return _has_number(error, _FULL_NUMBERS) or bool(_FULL.search(text))


def _is_unwritable(error: Exception, text: str) -> bool:
    return _has_number(error, _UNWRITABLE_NUMBERS) or bool(_UNWRITABLE.search(text))


def _has_number(error: Exception, numbers: frozenset[int]) -> bool:
    return any(isinstance(link, OSError) and link.errno in numbers for link in _chain(error))


def _is_web_page(text: str, status: int | None) -> bool:
    return status == 404 or "not in a valid JSON format" in text or "<html" in text.lower()
