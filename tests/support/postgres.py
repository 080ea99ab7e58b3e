"""A PostgreSQL of its own for tests: Debian's package `postgresql`, gone with the block that uses it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_PLACES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
_QUICK = "-c fsync=off -c full_page_writes=off -c synchronous_commit=off"


@contextmanager
def postgres() -> Iterator[str]:
    """The address of an empty database; skips the test where PostgreSQL is not installed."""
    found = shutil.which("pg_ctl") or next((str(place / "pg_ctl") for place in _PLACES), None)
    if found is None:
        pytest.skip("PostgreSQL is not installed; with Debian's package manager: apt-get install postgresql")
    programs, port = Path(found).parent, free_port()
    # Not in a test's folder: pytest closes those to other users, and as root PostgreSQL must run as one.
    with tempfile.TemporaryDirectory(prefix="gpt-experiments-postgres-") as name:
        data = Path(name) / "data"
        data.mkdir()
        if os.getuid() == 0:
            shutil.chown(name, "postgres")
            shutil.chown(data, "postgres")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' {_QUICK}"
        _as_its_user(programs / "initdb", "-D", data, "-A", "trust", "-U", "tests", "-N")
        _as_its_user(programs / "pg_ctl", "-D", data, "-w", "-l", data / "log", "-o", options, "start")
        try:
            yield f"postgresql+psycopg://tests@127.0.0.1:{port}/postgres"
        finally:
            _as_its_user(programs / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _as_its_user(*command: object) -> None:
    user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    nowhere = subprocess.DEVNULL
    subprocess.run([*user, *map(str, command)], check=True, cwd="/", stdin=nowhere, stdout=nowhere)
