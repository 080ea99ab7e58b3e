"""Processes that train one sweep together through the store alone, and what is refused."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from gpt_experiments import names
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import ConfigError, TrackingError
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.sweep.definition import SweepDefinition
from gpt_experiments.sweep.resources import RunOptions
from gpt_experiments.sweep.runner import run_sweep
from gpt_experiments.tracking import Store
from gpt_experiments.tracking.parent_run import WantedSweep, leave_sweep, open_sweep
from tests.support.left import FAR, another_process, join_as, leave_to
from tests.support.listeners import Recorder

SWEEP = SweepDefinition(
    name="together",
    method="grid",
    baseline=Shape(n_head=2, n_layer=1, n_embed=8, dropout=0.0, block_size=16),
    levels={"n_head": (1, 2)},
    training=TrainingSetup(steps=4, batch_size=2, eval_interval=2),
)
JOINED = RunOptions(device="cpu", executor="inline", join=True)
WANTED = WantedSweep(name="together", key="key", planned="plan", params={}, notes={}, join=True)


def test_who_joins_gets_the_same_run_and_only_the_last_one_finds_nobody_left(store_uri: str) -> None:
    store = Store(store_uri)
    first = open_sweep(store, WANTED)
    with another_process() as owner:
        leave_to(store, first.run_id, owner)
        join_as(store, first.run_id, owner)
        with pytest.raises(TrackingError, match="wait until it ends, or stop it; one with --join works at it"):
            open_sweep(store, dataclasses.replace(WANTED, join=False))
        joined = open_sweep(store, WANTED)
        assert joined.run_id == first.run_id
        assert leave_sweep(store, joined) == [owner]
    assert leave_sweep(store, joined) == [], "the other one has died"
    assert [run.info.run_id for run in store.search(f"tags.`{names.KIND}` = 'sweep'")] == [first.run_id]


def test_who_joins_must_have_the_same_definition(store_uri: str, corpus: Corpus) -> None:
    store = Store(store_uri)
    trained = run_sweep(SWEEP, corpus, store, JOINED, Recorder())
    (parent,) = store.search(f"tags.`{names.KIND}` = 'sweep'")
    with another_process() as owner:
        leave_to(store, parent.info.run_id, owner)
        join_as(store, parent.info.run_id, owner)
        more = dataclasses.replace(SWEEP, levels={"n_head": (1, 2, 4)})
        with pytest.raises(TrackingError, match=r"by another definition, which is artifact sweep\.yaml of run"):
            run_sweep(more, corpus, store, JOINED, Recorder())
        same = dataclasses.replace(SWEEP, description="in other words")
        assert run_sweep(same, corpus, store, JOINED, Recorder()).total == trained.total
    assert run_sweep(more, corpus, store, JOINED, Recorder()).total == 3, "once the others have ended, it is extended"


def test_a_sweep_of_a_silent_host_goes_on_without_a_word(store_uri: str) -> None:
    store = Store(store_uri)
    first = open_sweep(store, WANTED)
    leave_to(store, first.run_id, FAR, silent=100)
    with pytest.raises(TrackingError, match=r"last heartbeat is 1\d\d s old; wait until it ends: once it is silent"):
        open_sweep(store, dataclasses.replace(WANTED, join=False))
    leave_to(store, first.run_id, FAR, silent=301)
    assert open_sweep(store, dataclasses.replace(WANTED, join=False)).run_id == first.run_id


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"method": "tpe", "trials": 2}, "--join is not for tpe: one process must choose its variants"),
        ({"pruner": "median", "seeds": (1, 2, 3)}, "--join is not for a sweep with a pruner"),
    ],
)
def test_what_one_process_must_see_is_not_trained_together(
    store_uri: str, corpus: Corpus, changes: dict[str, object], why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        run_sweep(dataclasses.replace(SWEEP, **changes), corpus, Store(store_uri), JOINED, Recorder())  # type: ignore[arg-type]


def test_a_joined_sweep_cannot_be_forced() -> None:
    with pytest.raises(ConfigError, match="join and force exclude each other"):
        RunOptions(join=True, force=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_of_two_that_train_together_is_killed_and_nothing_is_lost(
    tmp_path: Path, text: str, store_uri: str
) -> None:
    (tmp_path / "text.txt").write_text(text[:3000])
    (tmp_path / "mine.yaml").write_text(
        "name: mine\nmethod: grid\nbaseline: {n_head: 2, n_layer: 1, n_embed: 8, dropout: 0.0, block_size: 16}\n"
        "levels: {n_head: [1, 2]}\nseeds: 2\ntraining: {steps: 60, batch_size: 2, eval_interval: 20}\n"
    )
    command = [sys.executable, "-m", "gpt_experiments", "sweep", str(tmp_path / "mine.yaml"), "--join"]
    command += ["--data", str(tmp_path / "text.txt"), "--tracking-uri", store_uri, "--executor", "inline"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        second = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert first.stdout is not None
        next(line for line in first.stdout if line.startswith("evaluated"))
        first.kill()
    output, _ = second.communicate(timeout=500)
    assert second.returncode == 0, output
    store = Store(store_uri)
    runs = store.search(f"tags.`{names.KIND}` = 'trial'")
    finished = Counter(run.data.tags[names.CELL] for run in runs if run.info.status == "FINISHED")
    assert len(finished) == 4
    assert set(finished.values()) == {1}
    assert "RUNNING" not in {run.info.status for run in runs}
    (parent,) = store.search(f"tags.`{names.KIND}` = 'sweep'")
    assert parent.info.status == "FINISHED"
