"""The run of a sweep: opened by one process or joined by several, and closed by the last of them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mlflow.entities import Run

from gpt_experiments import names
from gpt_experiments.errors import TrackingError
from gpt_experiments.tracking import provenance
from gpt_experiments.tracking.agreement import Answer, answer, asker_of, withdraw
from gpt_experiments.tracking.failures import as_tracking_errors
from gpt_experiments.tracking.leases import (
    Life,
    joined_tag,
    joined_tags,
    life_of,
    living_processes,
    processes_of,
    silence,
)
from gpt_experiments.tracking.mlflow_internals import MLFLOW_PARENT_RUN_ID
from gpt_experiments.tracking.recorder import RunRecorder
from gpt_experiments.tracking.store import Store

_SECONDS_BETWEEN_LOOKS: Final = 0.2
_JOINING: Final = "one with --join works at it together with others that have --join"


@dataclass(frozen=True, kw_only=True)
class WantedSweep:
    """A sweep that a process wants to train.

    Attributes:
        key: its identity.
        planned: a digest of its definition.
        take_over: go on with it also if its run is marked as running by a process that cannot be checked from here;
            the trials that it was training are then closed as KILLED.
        join: work at it together with others, which may have begun it.
    """

    name: str
    key: str
    planned: str
    params: Mapping[str, object]
    notes: Mapping[str, str]
    take_over: bool = False
    join: bool = False


def open_sweep(store: Store, wanted: WantedSweep) -> RunRecorder:
    """The sweep's run: the existing one, reopened or joined, or a new one; this process is one of those that train it.

    Processes that begin the same sweep at once agree on one of them by the rule of `agreement`; with `join` the others
    join it.

    Raises:
        TrackingError: a living process trains that sweep, and they do not join each other, or not by the same
            definition; or without `take_over` one of another host that left no heartbeat, as earlier versions did.
    """
    while True:
        found = _runs_of(store, wanted.key)
        running = found[0] if found and is_trained_by_others(found[0]) else None
        if running is not None:
            if wanted.join and life_of(running.data.tags) is Life.ALIVE:
                _check_definition(wanted, running)
                joined = _join(store, running)
                if joined is not None:
                    return joined
                continue
            _check_take_over(wanted, running)
        ticket = store.start_run(
            kind="sweep",
            run_name=wanted.name,
            sweep=wanted.name,
            params={},
            tags={names.SWEEP_KEY: wanted.key, names.CLAIM: names.ASKED},
        )
        if _holds(store, wanted, ticket.run_id):
            return _opened(store, wanted, ticket)
        store.heartbeats.remove(ticket.run_id)
        with as_tracking_errors(store.uri):
            withdraw(store.client, ticket.run_id)
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def leave_sweep(store: Store, parent: RunRecorder) -> list[str]:
    """Say that this process trains the sweep no more; returns the living processes that still do.

    Who returns with none of them has to close the run. Two that leave at once may both return none.
    """
    store.heartbeats.remove(parent.run_id)
    with as_tracking_errors(store.uri):
        run = store.client.get_run(parent.run_id)
        if joined_tag() in run.data.tags:
            store.client.delete_tag(parent.run_id, joined_tag())
            run = store.client.get_run(parent.run_id)
    return living_processes(run.data.tags)


def is_trained_by_others(run: Run) -> bool:
    """Whether a sweep's run says that another process trains it, which is not known to be dead."""
    if living_processes(run.data.tags):
        return True
    is_mine = run.data.tags.get(names.OWNER) == provenance.this_process()
    return run.info.status == "RUNNING" and not is_mine and life_of(run.data.tags) is not Life.DEAD


def _runs_of(store: Store, key: str) -> list[Run]:
    """The runs of the sweep of that identity, newest first, without those that have only asked for it."""
    return [run for run in store.search(f"tags.`{names.SWEEP_KEY}` = '{key}'") if asker_of(run).holds]


def _holds(store: Store, wanted: WantedSweep, ticket: str) -> bool:
    """Wait until it is clear whether this process, with its run `ticket`, holds the sweep."""
    while True:
        runs = store.search(f"tags.`{names.SWEEP_KEY}` = '{wanted.key}'")
        mine = next((run for run in runs if run.info.run_id == ticket), None)
        if mine is None:
            raise TrackingError(f"run {ticket}, with which this process asked for the sweep, was deleted; try again")
        others = [run for run in runs if run.info.run_id != ticket and _competes(run, wanted)]
        match answer(asker_of(mine), map(asker_of, others)):
            case Answer.HOLD:
                return True
            case Answer.WITHDRAW:
                return False
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _competes(run: Run, wanted: WantedSweep) -> bool:
    if life_of(run.data.tags) is not Life.ALIVE:
        return False
    if not asker_of(run).holds:
        return run.info.status == "RUNNING"
    return is_trained_by_others(run) and not (wanted.take_over and _is_out_of_sight(run))


def _is_out_of_sight(run: Run) -> bool:
    """Whether none of the processes that train the sweep is a living one of this host."""
    return not any(map(provenance.is_alive_here, _owners(run.data.tags)))


def _owners(tags: Mapping[str, str]) -> Sequence[str]:
    """The other processes that train the sweep, as far as it is known, or else the one that opened its run."""
    return living_processes(tags) or [tags.get(names.OWNER, "")]


def _join(store: Store, run: Run) -> RunRecorder | None:
    """Become one of the processes that train the sweep; None where the last of them has closed it meanwhile."""
    recorder = store.recorder(run.info.run_id)
    recorder.set_tags(joined_tags())
    with as_tracking_errors(store.uri):
        again = store.client.get_run(run.info.run_id)
        if again.info.status != "RUNNING":
            if not living_processes(again.data.tags):
                store.client.delete_tag(run.info.run_id, joined_tag())
                return None
            store.client.update_run(run.info.run_id, status="RUNNING")  # closed while another one joined
    store.heartbeats.add(run.info.run_id, is_sweep=True)
    return recorder


def _opened(store: Store, wanted: WantedSweep, ticket: RunRecorder) -> RunRecorder:
    """Turn the ticket into the sweep's run, or reopen the run that there is."""
    earlier = _runs_of(store, wanted.key)
    tags = {**wanted.notes, names.PLANNED: wanted.planned, names.CLAIM: names.HOLDS, **joined_tags()}
    if not earlier:
        ticket.log_params(wanted.params)
        ticket.set_tags(tags)
        store.heartbeats.add(ticket.run_id, is_sweep=True)
        return ticket
    run = earlier[0]
    if wanted.take_over:
        _close_trials_of(store, run)
    tags = {**provenance.source_tags(), **tags}
    dead = [name for name in run.data.tags if name.startswith(names.JOINED) and name not in tags]
    recorder = store.recorder(run.info.run_id)
    recorder.reopen(
        tags, [*dead, *(name for name in provenance.CHECKOUT_TAGS if name in run.data.tags and name not in tags)]
    )
    store.heartbeats.add(run.info.run_id, is_sweep=True)
    store.keep_uncommitted(recorder)
    store.heartbeats.remove(ticket.run_id)
    with as_tracking_errors(store.uri):
        withdraw(store.client, ticket.run_id)
    return recorder


def _close_trials_of(store: Store, parent: Run) -> None:
    """End as KILLED what the processes from which a sweep is taken over have left RUNNING."""
    owners = {*_owners(parent.data.tags), parent.data.tags.get(names.OWNER, "")} - {provenance.this_process()}
    condition = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent.info.run_id}' and attributes.status = 'RUNNING'"
    reason = f"the sweep was taken over by {provenance.described(provenance.this_process())}"
    for run in store.search(condition):
        if run.data.tags.get(names.OWNER, "") in owners:
            store.recorder(run.info.run_id).kill(reason)


def _check_definition(wanted: WantedSweep, run: Run) -> None:
    """Raise a TrackingError if the sweep is trained by another plan: who leaves last closes it by its own."""
    if run.data.tags.get(names.PLANNED, wanted.planned) != wanted.planned:
        who = provenance.described(_owners(run.data.tags)[0])
        raise TrackingError(
            f"sweep {wanted.name!r} is being trained by {who} by another definition, which is artifact "
            f"{names.DEFINITION_FILE} of run {run.info.run_id}; start the same command with the same file, or wait "
            "until it ends, or give this sweep another name"
        )


def _check_take_over(wanted: WantedSweep, run: Run) -> None:
    """Raise a TrackingError, unless the sweep may be taken over from the process that runs it."""
    tags = run.data.tags
    owners = _owners(tags)
    others = f" and {len(owners) - 1} more" if len(owners) > 1 else ""
    running = f"sweep {wanted.name!r} is being run by {provenance.described(owners[0])}{others} (run {run.info.run_id})"
    if not _is_out_of_sight(run):
        raise TrackingError(f"{running}; wait until it ends, or stop it; {_JOINING}")
    if wanted.take_over:
        return
    silent = silence(processes_of(tags).get(owners[0], tags.get(names.HEARTBEAT, "")))
    if silent is not None:
        raise TrackingError(
            f"{running}, whose last heartbeat is {silent:.0f} s old; wait until it ends: once it is silent for five "
            f"minutes, the same command goes on; {_JOINING}; if it is certainly dead, add --take-over"
        )
    raise TrackingError(
        f"{running}. It cannot be seen from here whether that process still lives: if it has ended, type the same "
        "command with --take-over; finished trials are kept, and the rest is trained"
    )
