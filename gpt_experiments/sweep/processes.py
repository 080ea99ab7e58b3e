"""What every process of a sweep needs: to end when its parent does, and to tell why another one ended."""

from __future__ import annotations

import os
import signal
import threading
from multiprocessing import connection, parent_process
from multiprocessing.process import BaseProcess

from gpt_experiments.quiet import quieten_worker
from gpt_experiments.sweep.signals import leave_to_parent


def serve_parent() -> None:
    """Leave Ctrl-C and a closed terminal to the parent, and end at once when it ends, however that happens."""
    leave_to_parent()
    quieten_worker()
    parent = parent_process()
    if parent is None:
        return

    def wait() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)  # nobody would hear of its results

    threading.Thread(target=wait, daemon=True, name="die-with-parent").start()


def death(process: BaseProcess, what: str, remedy: str) -> str:
    """How the ended process came to its end; `remedy` is told where the system may have killed it for its memory."""
    code = process.exitcode or 0
    if code < 0:
        name = signal.Signals(-code).name
        hint = f"; the system may be out of memory: {remedy}" if name == "SIGKILL" else ""
        return f"{what} was killed by {name}{hint}"
    return f"{what} ended with exit status {code}"
