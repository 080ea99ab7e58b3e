"""Helpers for the processes of a sweep: start quickly, end with the parent, say why another one ended."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import threading
from multiprocessing import connection, get_context, parent_process
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Final

from gpt_experiments.quiet import let_threads_sleep, quieten_worker
from gpt_experiments.signals import leave_to_parent

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext


END: Final = getattr(signal, "SIGUSR1", None)
"""Ends a child process; SIGTERM would not, as it may be meant for the parent. Windows has neither."""

_LONGEST_PLACE: Final = 70  # bytes; the server listens at an address below it, which may have 107


def worker_context() -> ForkServerContext | SpawnContext:
    """How processes that train or write files are started.

    A fork of this process would break its CUDA context or its OpenMP threads. On Linux a server, which has loaded
    PyTorch and nothing more, forks itself instead: a worker starts in a tenth of a second, and not in several. It ends
    with this process.
    """
    let_threads_sleep()
    if sys.platform != "linux" or len(os.fsencode(tempfile.gettempdir())) > _LONGEST_PLACE:
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(["gpt_experiments.execution.worker"])
    return context


def serve_parent() -> None:
    """Leave Ctrl-C, SIGTERM and a closed terminal to the parent, and end at once when it ends, however that happens."""
    leave_to_parent()
    quieten_worker()
    parent = parent_process()
    if parent is None:
        return

    def wait() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)  # its results would be lost

    threading.Thread(target=wait, daemon=True, name="die-with-parent").start()


def end(process: BaseProcess) -> None:
    """Ask a child to end that has called `serve_parent`, or will."""
    if END is None:
        process.terminate()
    elif process.is_alive() and process.pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, END)


def death(process: BaseProcess, what: str, remedy: str) -> str:
    """Why the process ended; `remedy` is added if the system may have killed it for its memory."""
    code = process.exitcode or 0
    if code < 0:
        name = signal.Signals(-code).name
        hint = f"; the system may be out of memory: {remedy}" if name == "SIGKILL" else ""
        return f"{what} was killed by {name}{hint}"
    return f"{what} ended with exit status {code}"
