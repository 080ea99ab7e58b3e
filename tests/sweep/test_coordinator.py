"""A whole sweep in this process: what is stopped early, and what waits for another process."""

from __future__ import annotations

import time

import pytest
import torch
from mlflow import MlflowClient

from gpt_experiments import names
from gpt_experiments.config import Variant
from gpt_experiments.corpus import Corpus
from gpt_experiments.execution.inline import InlineExecutor
from gpt_experiments.execution.protocol import Event, Placed
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.records import EarlyStop, PlannedTrial
from gpt_experiments.sweep.definition import SweepDefinition
from gpt_experiments.sweep.methods.random import Random
from gpt_experiments.sweep.plan import Schedule
from gpt_experiments.sweep.resources import RunOptions, find_hardware
from gpt_experiments.sweep.runner import run_sweep
from gpt_experiments.tracking import Store
from gpt_experiments.training import Evaluation, describe_device
from tests.support.executors import hardware
from tests.support.listeners import Recorder

INLINE = RunOptions(device="cpu", executor="inline")
SWEEP = SweepDefinition(
    name="drawn",
    method="random",
    trials=3,
    baseline=Shape(n_head=2, n_layer=1, n_embed=8, dropout=0.0, block_size=16),
    levels={"n_head": (1, 2, 4)},
    training=TrainingSetup(steps=4, batch_size=2, eval_interval=2),
)

STOP = EarlyStop(pruner="median", step=2, steps=4, val_loss=3.5, limit=3.25, against="the median of 4 trials", trials=4)


@pytest.fixture
def updates(monkeypatch: pytest.MonkeyPatch) -> dict[int, float | None]:
    """The schedule stops every trial with four heads after two steps; what the method learns of each number."""
    learned: dict[int, float | None] = {}

    def evaluated(self: Schedule, planned: PlannedTrial, evaluation: Evaluation) -> EarlyStop | None:
        return STOP if planned.variant.shape.n_head == 4 and evaluation.step == 2 else None

    def update(self: Random, variant: Variant, value: float | None) -> None:
        learned[variant.shape.n_head] = value

    monkeypatch.setattr(Schedule, "evaluated", evaluated)
    monkeypatch.setattr(Random, "update", update)
    return learned


@pytest.mark.slow
def test_a_trial_that_is_stopped_ends_early_without_a_result_and_the_sweep_is_complete(
    store_uri: str, corpus: Corpus, updates: dict[int, float | None]
) -> None:
    store, listener = Store(store_uri), Recorder()
    summary = run_sweep(SWEEP, corpus, store, INLINE, listener)
    ended = {record.planned.trial.shape.n_head: record for record in summary.trials}
    assert {heads: record.outcome for heads, record in ended.items()} == {1: "finished", 2: "finished", 4: "stopped"}
    assert ended[4].summary is None
    assert summary.is_complete
    client = MlflowClient(tracking_uri=store_uri)
    assert client.get_run(str(summary.parent_run_id)).info.status == "FINISHED"
    stopped = client.get_run(ended[4].run_id)
    assert stopped.info.status == "KILLED"
    assert stopped.data.tags[names.FAILURE] == str(STOP)
    assert [metric.step for metric in client.get_metric_history(ended[4].run_id, names.VAL_LOSS)] == [0, 2]
    assert [file.path for file in client.list_artifacts(ended[4].run_id)] == ["images"]
    assert updates[4] is None
    assert updates[1] == ended[1].summary.best_val_loss
    assert {run.info.status for run in store.search(f"tags.`{names.KIND}` = 'trial'")} == {"FINISHED", "KILLED"}


@pytest.mark.slow
def test_in_this_process_there_is_one_worker_and_torch_is_left_as_it_was(store_uri: str, corpus: Corpus) -> None:
    before = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    listener = Recorder()
    options = RunOptions(device="cpu", executor="inline", workers=2)
    summary = run_sweep(SWEEP, corpus, Store(store_uri), options, listener)
    assert summary.is_complete
    assert listener.started[0].workers == 1
    assert (torch.get_num_threads(), torch.get_deterministic_debug_mode()) == before


def test_a_run_names_the_hardware_that_its_worker_has_and_the_host_only_where_it_is_another(
    store_uri: str, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first two trials come to workers of other machines."""
    places = iter([Placed(hardware="an abacus", threads=3, host="far"), Placed(hardware="x", threads=1, host="away")])
    send = InlineExecutor._note

    def elsewhere(self: InlineExecutor, key: str, event: Event) -> None:
        send(self, key, next(places, event) if isinstance(event, Placed) else event)

    monkeypatch.setattr(InlineExecutor, "_note", elsewhere)
    store = Store(store_uri)
    run_sweep(SWEEP, corpus, store, INLINE, Recorder())
    wanted = (names.HARDWARE, names.THREADS, names.HOST)
    runs = [run.data.tags for run in store.search(f"tags.`{names.KIND}` = 'trial'")]
    here = describe_device(torch.device("cpu")), str(find_hardware(INLINE, 3).threads), None
    assert {tuple(tags.get(name) for name in wanted) for tags in runs} == {
        ("an abacus", "3", "far"),
        ("x", "1", "away"),
        here,
    }


def test_while_nothing_trains_in_this_process_whoever_asks_for_events_waits(corpus: Corpus) -> None:
    """A sweep that waits for the results of another process would otherwise keep a core busy."""
    executor = InlineExecutor(corpus, hardware())
    started = time.monotonic()
    assert executor.events(0.2) == []
    assert time.monotonic() - started >= 0.19
    executor.close()
