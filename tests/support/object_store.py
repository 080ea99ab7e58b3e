"""An object store on this machine, for artifacts: moto's server, where `moto[server]` and `boto3` are installed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from tests.support.postgres import free_port


@contextmanager
def artifact_destination(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Where a tracking server keeps artifacts, and the variables that it needs: a bucket, else a folder."""
    if importlib.util.find_spec("moto") is None or importlib.util.find_spec("boto3") is None:
        yield str(folder / "artifacts"), {}
        return
    port = free_port()
    log = (folder / "object-store.log").open("w")
    arguments = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log, subprocess.Popen(arguments, stdout=log, stderr=log) as server:
        try:
            _make_bucket(port)
            keys = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests", "AWS_DEFAULT_REGION": "us-east-1"}
            yield "s3://runs", {**keys, "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}", "PYTHONPATH": _path()}
        finally:
            server.terminate()


def _make_bucket(port: int) -> None:
    deadline = time.monotonic() + 400
    while True:
        try:
            connection = HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("PUT", "/runs")
            assert connection.getresponse().status == 200
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.3)


def _path() -> str:
    return os.environ.get("PYTHONPATH", "")
