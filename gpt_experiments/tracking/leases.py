"""Leases: a run that is written says every 30 seconds that its process lives; one that is silent too long is dead.

The clocks of the hosts that share a store must agree within a minute, and no two hosts may have the same name.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from hashlib import sha256
from typing import Final

from mlflow import MlflowClient
from mlflow.entities import RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from gpt_experiments import names
from gpt_experiments.tracking import provenance

SECONDS_BETWEEN: Final = 30.0  # heartbeats
SECONDS_TO_LIVE: Final = 300.0  # after the last one
_SECONDS_AFTER_FAILURE: Final = 5.0
_MOST_IDS: Final = 500  # run ids in one search


class Life(Enum):
    """What is known of the process that writes a run."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"  # another host's, without a heartbeat, as earlier versions left them


def life_of(tags: Mapping[str, str]) -> Life:
    """Whether the process lives that writes the run with these tags; of a sweep, whether one of its processes does.

    A process of this host is looked for, so its end is seen at once. Any other is known by its heartbeat, and so is a
    process of this host that is suspended.
    """
    joined = processes_of(tags)
    if joined:
        lives = [_life(owner, beat) for owner, beat in joined.items()]
        return Life.ALIVE if Life.ALIVE in lives else Life.DEAD
    return _life(tags.get(names.OWNER, ""), tags.get(names.HEARTBEAT, ""))


def processes_of(tags: Mapping[str, str]) -> dict[str, str]:
    """The processes that train a sweep, dead or alive, each with its last heartbeat."""
    values = (value.rpartition("|") for name, value in tags.items() if name.startswith(names.JOINED))
    return {owner: beat for owner, _, beat in values}


def living_processes(tags: Mapping[str, str]) -> list[str]:
    """Those of them that live and are not this process."""
    me = provenance.this_process()
    return [owner for owner, beat in processes_of(tags).items() if owner != me and _life(owner, beat) is Life.ALIVE]


def silence(heartbeat: str) -> float | None:
    """Seconds since that heartbeat; None where the text is none."""
    return max(0.0, time.time() - int(heartbeat)) if heartbeat.isdecimal() else None


def _life(owner: str, heartbeat: str) -> Life:
    silent = silence(heartbeat)
    if provenance.is_dead(owner):
        return Life.DEAD
    if provenance.is_alive_here(owner) and (silent is None or not provenance.is_suspended(owner)):
        return Life.ALIVE
    if silent is None:
        return Life.UNKNOWN
    return Life.ALIVE if silent <= SECONDS_TO_LIVE else Life.DEAD


def beat() -> dict[str, str]:
    """The tag of a heartbeat now."""
    return {names.HEARTBEAT: f"{time.time():.0f}"}


def joined_tag() -> str:
    """The name of the tag with which this process says in a sweep's run that it trains it."""
    return names.JOINED + sha256(provenance.this_process().encode()).hexdigest()[:12]


def joined_tags() -> dict[str, str]:
    """The same tag with its heartbeat now."""
    return {joined_tag(): f"{provenance.this_process()}|{time.time():.0f}"}


class Heartbeats:
    """Renews the heartbeats of the runs that this process writes, from a thread, with a connection of its own.

    It fails in silence while the store is away, and tries again soon: who writes the runs gives the notices.

    Args:
        seconds: between two heartbeats.
    """

    def __init__(self, uri: str, seconds: float = SECONDS_BETWEEN) -> None:
        self._uri, self._seconds = uri, seconds
        self._runs: dict[str, bool] = {}  # by id, whether it is a sweep's
        self._lost: set[str] = set()
        self._changing, self._ending = threading.Lock(), threading.Event()
        self._checked_at = time.time()

    def add(self, run_id: str, *, is_sweep: bool = False) -> None:
        """Renew that run's heartbeat from now on."""
        with self._changing:
            if not self._runs:
                self._checked_at = time.time()
            self._runs[run_id] = is_sweep

    def remove(self, run_id: str) -> None:
        """Renew it no more."""
        with self._changing:
            self._runs.pop(run_id, None)
            self._lost.discard(run_id)

    @property
    def lost(self) -> frozenset[str]:
        """The runs that were taken away: another process found this one dead, and ended or continued them."""
        with self._changing:
            return frozenset(self._lost)

    @property
    def are_overdue(self) -> bool:
        """Whether this process has been silent for so long that others may soon think it dead."""
        return time.time() - self._checked_at > SECONDS_TO_LIVE / 2  # by the clock, which a suspended machine moves too

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Renew the heartbeats inside the block."""
        self._ending.clear()
        thread = threading.Thread(target=self._beat_on, daemon=True, name="heartbeats")
        thread.start()
        try:
            yield
        finally:
            self._ending.set()
            thread.join(timeout=_SECONDS_AFTER_FAILURE)  # it may wait for a store that is away

    def _beat_on(self) -> None:
        pause = self._seconds
        while not self._ending.wait(pause):
            pause = self._seconds if self.renew() else min(self._seconds, _SECONDS_AFTER_FAILURE)

    def renew(self) -> bool:
        """Renew every heartbeat now, and look whether the runs are still ours; returns whether the store was there."""
        with self._changing:
            runs = dict(self._runs)
        try:
            client = MlflowClient(tracking_uri=self._uri)
            gone = self._not_ours(client, [run_id for run_id, is_sweep in runs.items() if not is_sweep])
            for run_id, is_sweep in runs.items():
                if self._ending.is_set() or run_id not in self._runs or run_id in gone:
                    continue
                tags = {**beat(), **(joined_tags() if is_sweep else {})}
                _set_tags(client, run_id, tags)
        except (MlflowException, SQLAlchemyError, OSError):
            return False
        with self._changing:
            self._lost |= gone & self._runs.keys()
            self._checked_at = time.time()
        return True

    def _not_ours(self, client: MlflowClient, run_ids: list[str]) -> set[str]:
        """Those of the runs that are no longer RUNNING, or have another owner."""
        found: set[str] = set()
        me = provenance.this_process()
        for first in range(0, len(run_ids), _MOST_IDS):
            some = run_ids[first : first + _MOST_IDS]
            experiment = client.get_run(some[0]).info.experiment_id
            among = ", ".join(f"'{run_id}'" for run_id in some)
            for run in client.search_runs([experiment], f"attributes.run_id IN ({among})", max_results=_MOST_IDS):
                if run.info.status != "RUNNING" or run.data.tags.get(names.OWNER) != me:
                    found.add(run.info.run_id)
        return found


def _set_tags(client: MlflowClient, run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags of a run, unless a person has deleted it."""
    try:
        client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])
    except MlflowException as error:
        if error.error_code not in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"):
            raise
