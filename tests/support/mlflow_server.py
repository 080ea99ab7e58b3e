"""MLflow's own tracking server, as a process that can go away and come back."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


class Server:
    """A server on this machine whose database and artifacts are in `folder`; it keeps its port.

    Args:
        database: the address of another database.
        options, environment: further options of `mlflow server`, and variables that it gets.
    """

    def __init__(
        self,
        folder: Path,
        database: str | None = None,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri, self._folder = f"http://127.0.0.1:{self.port}", folder
        self._database, self._options, self._environment = database, options, environment or {}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        arguments = f"-m mlflow server --host 127.0.0.1 --port {self.port} --workers 1 --backend-store-uri"
        temporary = self._folder / "of-the-server"  # its temporary files are not ours
        temporary.mkdir(exist_ok=True)
        with (self._folder / "server.log").open("a") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    *arguments.split(),
                    self._database or f"sqlite:///{self._folder}/mlflow.db",
                    *self._options,
                ],
                cwd=self._folder,
                env=os.environ | {"TMPDIR": str(temporary)} | self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 400
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert time.monotonic() < deadline, (self._folder / "server.log").read_text()
                time.sleep(0.3)

    def send(self, number: int) -> None:
        """Send a signal to all its processes."""
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self.send(number)
            self._process.wait(timeout=60)
            self._process = None
