"""Heartbeats and what follows from them, in a real store."""

from __future__ import annotations

import signal
import socket
import sys
import time

import psutil
import pytest

from gpt_experiments import names
from gpt_experiments.errors import TrackingError
from gpt_experiments.tracking import Store, provenance
from gpt_experiments.tracking.leases import Heartbeats, Life, life_of
from gpt_experiments.tracking.sweep_record import find_sweep
from tests.support.left import FAR, another_process, leave_to


@pytest.fixture
def store(store_uri: str) -> Store:
    return Store(store_uri)


def trial(store: Store) -> str:
    return store.start_run(kind="trial", run_name="x", params={}).run_id


def heartbeat(store: Store, run_id: str) -> int:
    return int(store.client.get_run(run_id).data.tags[names.HEARTBEAT])


def test_a_run_begins_with_a_heartbeat_which_is_renewed_until_it_ends(store: Store) -> None:
    recorder = store.start_run(kind="trial", run_name="x", params={})
    assert abs(heartbeat(store, recorder.run_id) - time.time()) < 60
    store.client.set_tag(recorder.run_id, names.HEARTBEAT, "1")
    store.heartbeats._seconds = 0.05
    with store.heartbeats.beating():
        for _ in range(100):
            if heartbeat(store, recorder.run_id) > 1:
                break
            time.sleep(0.05)
        assert abs(heartbeat(store, recorder.run_id) - time.time()) < 60
        recorder.finish()
    store.client.set_tag(recorder.run_id, names.HEARTBEAT, "1")  # not before a renewal under way has ended
    assert store.heartbeats.renew()
    assert heartbeat(store, recorder.run_id) == 1


def test_a_silent_run_is_closed_wherever_its_host_was(store: Store) -> None:
    silent, fresh, earlier, alive = (trial(store) for _ in range(4))
    leave_to(store, silent, FAR, silent=301)
    leave_to(store, fresh, FAR, silent=200)
    leave_to(store, earlier, FAR)
    with another_process() as owner:
        leave_to(store, alive, owner, silent=1000)  # its process can be seen
        assert store.close_abandoned() == [silent]
    closed = store.client.get_run(silent)
    assert closed.info.status == "KILLED"
    assert "died" in closed.data.tags[names.FAILURE]


def test_a_process_of_this_host_that_died_is_dead_at_once(store: Store) -> None:
    run_id = trial(store)
    leave_to(store, run_id, f"{socket.gethostname()}|{2**22 - 1}|1", silent=0)
    assert store.close_abandoned() == [run_id]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows suspends no processes")
@pytest.mark.parametrize("kind", ["trial", "sweep"])
def test_what_a_dead_process_had_only_asked_for_is_deleted(store: Store, kind: names.Kind) -> None:
    held = store.start_run(kind="sweep", run_name="x", sweep="x", params={})
    held.finish()
    asked = store.start_run(kind=kind, run_name="x", sweep="x", params={}, tags={names.CLAIM: names.ASKED}).run_id
    assert find_sweep(store, "x").info.run_id == held.run_id, "nor is it the newest sweep while its process lives"
    leave_to(store, asked, FAR, silent=301)
    assert store.close_abandoned() == []
    assert store.client.get_run(asked).info.lifecycle_stage == "deleted"
    store.client.delete_run(held.run_id)
    with pytest.raises(TrackingError, match=f"restore its run with.*{held.run_id}"):
        find_sweep(store, "x")


def test_a_suspended_process_is_dead_once_it_is_silent_for_too_long() -> None:
    with another_process() as owner:
        process = psutil.Process(int(owner.split("|")[1]))
        process.send_signal(signal.SIGSTOP)
        while process.status() != psutil.STATUS_STOPPED:
            time.sleep(0.01)
        lives = [life_of({names.OWNER: owner, names.HEARTBEAT: f"{time.time() - silent:.0f}"}) for silent in (100, 400)]
    assert lives == [Life.ALIVE, Life.DEAD]


def test_who_was_thought_dead_finds_out(store: Store) -> None:
    mine, ended, taken = (trial(store) for _ in range(3))
    store.client.set_terminated(ended, "KILLED")
    store.client.set_tag(taken, names.OWNER, FAR)
    assert store.heartbeats.renew()
    assert store.heartbeats.lost == {ended, taken}
    assert not store.heartbeats.are_overdue
    store.heartbeats.remove(ended)
    assert store.heartbeats.lost == {taken}
    assert mine not in store.heartbeats.lost


def test_a_run_that_was_deleted_does_not_end_the_heartbeats_of_others(store: Store) -> None:
    deleted, other = trial(store), trial(store)
    store.client.delete_run(deleted)
    store.client.set_tag(other, names.HEARTBEAT, "1")
    assert store.heartbeats.renew()
    assert heartbeat(store, other) > 1


def test_a_store_that_is_away_is_no_error() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        heartbeats = Heartbeats(f"http://127.0.0.1:{unused.getsockname()[1]}")
    heartbeats.add("0" * 32)
    assert not heartbeats.renew()


def test_the_owner_of_a_run_is_this_process(store: Store) -> None:
    tags = store.client.get_run(trial(store)).data.tags
    assert tags[names.OWNER] == provenance.this_process()
    assert life_of(tags) is Life.ALIVE


def test_a_sweep_lives_as_long_as_one_of_its_processes(store: Store) -> None:
    now = f"{time.time():.0f}"
    dead, far = f"{names.JOINED}1", f"{names.JOINED}2"
    tags = {names.OWNER: "x", dead: f"{socket.gethostname()}|{2**22 - 1}|1|{now}", far: f"{FAR}|{now}"}
    assert life_of(tags) is Life.ALIVE
    assert life_of(tags | {far: f"{FAR}|1"}) is Life.DEAD
