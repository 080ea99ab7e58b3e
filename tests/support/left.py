"""Runs as other processes leave them: on another host, silent, dead, or of an earlier version."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from gpt_experiments import names
from gpt_experiments.tracking import Store, provenance

FAR = "another-host|17|0"


@contextmanager
def another_process() -> Iterator[str]:
    """A living process of this host, as a run's owner."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        try:
            yield provenance._owner_tag(psutil.Process(process.pid))
        finally:
            process.kill()


def leave_to(store: Store, run_id: str, owner: str, silent: float | None = None) -> None:
    """Make the run one of the process `owner`, whose last heartbeat is `silent` seconds old; None leaves none."""
    for tag in store.client.get_run(run_id).data.tags:
        if tag == names.HEARTBEAT or tag.startswith(names.JOINED):
            store.client.delete_tag(run_id, tag)
    store.client.set_tag(run_id, names.OWNER, owner)
    if silent is not None:
        store.client.set_tag(run_id, names.HEARTBEAT, f"{time.time() - silent:.0f}")


def join_as(store: Store, run_id: str, owner: str, silent: float = 0.0) -> None:
    """Make the process `owner` one of those that train the sweep of that run."""
    store.client.set_tag(run_id, f"{names.JOINED}{abs(hash(owner)):012d}", f"{owner}|{time.time() - silent:.0f}")
