"""MLflow's own server as a child process: started for a store, waited for, and ended with all that it started."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final
from urllib.parse import urlsplit

import psutil
import requests

from gpt_experiments.errors import TrackingError, first_line, shown, without_secrets
from gpt_experiments.scratch import scratch_folder
from gpt_experiments.tracking.mlflow_internals import DATABASE_ENGINES

_SECONDS_TO_START: Final = 120  # a first start compiles MLflow's modules, which takes a slow disk a minute
_SECONDS_TO_END: Final = 10
_BETWEEN_LOOKS: Final = 0.2  # seconds
_PORTS_TO_OFFER: Final = 100
_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # such a host stands for every address of the machine
_LONGEST_LOG: Final = 100_000  # bytes of the log in which a reason is looked for


def served_address(uri: str) -> str | None:
    """The address of the server that the store is reached through; None if the store is a database.

    Raises:
        TrackingError: it is neither; MLflow can show only a database.
    """
    scheme = urlsplit(uri).scheme
    if scheme in ("http", "https"):
        return uri
    if scheme.partition("+")[0] in DATABASE_ENGINES:
        return None
    raise TrackingError(f"MLflow's server can show a database, but not {uri}; open the pages of that service instead")


class PageServer:
    """MLflow's server for a database, from entering the block until its end.

    Its own output goes to a file that is removed with it.

    Args:
        uri: the database; it is given in the environment, since every user of a machine sees commands.
        host, port: where it listens.

    Raises:
        TrackingError: on entering, nothing can listen there.
    """

    def __init__(self, uri: str, host: str, port: int) -> None:
        self._uri, self._host, self._port = uri, host, port
        self.address = f"http://{_in_address(_ANYWHERE.get(host, host))}:{port}"
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> PageServer:
        _require_free(self._host, self._port)
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(scratch_folder())
            self._log = folder / "server.log"
            self._process = _start(self._uri, self._host, self._port, folder, self._log)
            stack.callback(_end, self._process)
            self._cleanup = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.close()

    def wait_until_it_answers(self, must_stop: Callable[[], bool]) -> bool:
        """Wait until its pages can be opened; returns whether they can, which they cannot if `must_stop` says so.

        Raises:
            TrackingError: it ended, or does not answer for two minutes.
        """
        deadline = time.monotonic() + _SECONDS_TO_START
        while not must_stop():
            self.require_alive()
            if _answers(self.address):
                return True
            if time.monotonic() > deadline:
                raise TrackingError(
                    f"MLflow's server does not answer at {self.address} within {_SECONDS_TO_START} s "
                    f"({self._reason()}); see whether `mlflow ui` starts here"
                )
            time.sleep(_BETWEEN_LOOKS)
        return False

    def require_alive(self) -> None:
        """Raise a TrackingError with its last words if it has ended."""
        status = self._process.poll()
        if status is not None:
            raise TrackingError(
                f"MLflow's server ended with status {status} ({self._reason()}); see whether `mlflow ui` starts here"
            )

    def _reason(self) -> str:
        """What it wrote last, in one line."""
        with contextlib.suppress(OSError), self._log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LONGEST_LOG))
            said = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
            if said:
                errors = [line for line in said if "error" in line.lower()]
                return without_secrets(first_line(Exception((errors or said)[-1])))
        return "it said nothing"


def _start(uri: str, host: str, port: int, folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """The server's process, in a group of its own, so that Ctrl-C reaches it through this process only."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port)]
    # One process serves one person, and starts sooner than the four that MLflow would take.
    command += ["--workers", "1", "--uvicorn-opts", "--log-level warning"]
    environment = os.environ | {"MLFLOW_BACKEND_STORE_URI": uri, "PYTHONWARNINGS": "ignore", "TMPDIR": str(folder)}
    # Further processes, which judge language models and which no page of runs needs.
    environment.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    environment.pop("MLFLOW_TRACKING_URI", None)
    with log.open("wb") as output:
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and all that it started: politely, then by force."""
    members = _members(process)
    try:
        for member in members:
            with contextlib.suppress(psutil.Error):
                member.terminate()
        psutil.wait_procs(members, timeout=_SECONDS_TO_END)
    finally:  # also where the user asks a second time
        for member in [*members, *_members(process)]:
            with contextlib.suppress(psutil.Error):
                member.kill()
        process.wait()


def _members(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The process and what it started, also where it has ended before them."""
    if sys.platform == "win32":
        with contextlib.suppress(psutil.Error):
            root = psutil.Process(process.pid)
            return [*root.children(recursive=True), root]
        return []
    found = []
    for candidate in psutil.process_iter():
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if os.getpgid(candidate.pid) == process.pid:
                found.append(candidate)
    return found


def _answers(address: str) -> bool:
    with requests.Session() as session:
        session.trust_env = False  # a proxy cannot reach this machine's own address
        try:
            return session.get(f"{address}/health", timeout=2).ok
        except requests.RequestException:
            return False


def _require_free(host: str, port: int) -> None:
    """Raise a TrackingError with a remedy if nothing can listen there."""
    try:
        with _listener(host, port):
            return
    except (OSError, UnicodeError) as error:  # a name that is too long is no Unicode, says Python
        elsewhere = isinstance(error, OSError) and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
        if elsewhere or isinstance(error, (socket.gaierror, UnicodeError)):
            raise TrackingError(
                f"{shown(host)} is no address of this machine; leave --host out, or give 0.0.0.0"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise TrackingError(f"only the system's administrator may use port {port}; give --port 5000") from error
        raise TrackingError(
            f"port {port} is in use, perhaps by an MLflow that runs already; end it, or give {_free_port(host, port)}"
        ) from error


def _free_port(host: str, taken: int) -> str:
    """The option with the next port that is free."""
    for port in range(taken + 1, min(taken + _PORTS_TO_OFFER, 65536)):
        with contextlib.suppress(OSError), _listener(host, port):
            return f"--port {port}"
    return "another --port"


def _listener(host: str, port: int) -> socket.socket:
    """A socket at that address, which other programs then cannot have."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    made = socket.socket(family, kind, protocol)
    try:
        if sys.platform != "win32":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server will ask for it
        made.bind(address)
        made.listen()
    except OSError:
        made.close()
        raise
    return made


def _in_address(host: str) -> str:
    return f"[{host}]" if ":" in host else host
