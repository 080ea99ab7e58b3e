"""A sweep on a Ray cluster of two nodes, one of which is lost; what may be asked of a cluster, and what not."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient

from gpt_experiments import names
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import ConfigError
from gpt_experiments.execution.protocol import JobFailed, JobStopped, Saved, StopJob
from gpt_experiments.execution.ray_memory import MOST_TRIES_AGAIN, JobMemory
from gpt_experiments.execution.ray_plan import Machine, plan_workers
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.records import PlannedTrial
from gpt_experiments.sweep.definition import SweepDefinition
from gpt_experiments.sweep.resources import RunOptions, find_hardware
from gpt_experiments.sweep.runner import run_sweep
from gpt_experiments.tracking import Store
from gpt_experiments.training import Evaluation, Progress
from tests.support.listeners import Recorder

SWEEP = SweepDefinition(
    name="far",
    method="one-at-a-time",
    baseline=Shape(n_head=2, n_layer=1, n_embed=8, dropout=0.1, block_size=16),
    levels={"n_head": (1, 2, 4), "n_layer": (1, 2)},
    training=TrainingSetup(steps=800, batch_size=4, eval_interval=100),
)


class LosesANode(Recorder):
    """Kills the processes of a node when two trials have been evaluated, so that both nodes train."""

    def __init__(self, node: Any) -> None:
        super().__init__()
        self._node, self._evaluated = node, set[str]()

    def trial_evaluated(self, planned: PlannedTrial, evaluation: Evaluation) -> None:
        super().trial_evaluated(planned, evaluation)
        if evaluation.step > 0 and planned.cell not in self._evaluated and len(self._evaluated) < 2:
            self._evaluated.add(planned.cell)
            if len(self._evaluated) == 2:
                kill(self._node)


def kill(node: Any) -> None:
    """As when its machine is switched off: no process of it ends in order."""
    (raylet,) = node.all_processes["raylet"]
    tree = psutil.Process(raylet.process.pid)
    for process in [*tree.children(recursive=True), tree]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


@pytest.mark.slow
def test_when_a_node_is_lost_another_one_trains_its_trial_and_every_cell_is_finished_once(
    ray_nodes: Any, store_uri: str, corpus: Corpus, capfd: pytest.CaptureFixture[str]
) -> None:
    store, node = Store(store_uri), ray_nodes.add_node(num_cpus=1, object_store_memory=2**28)
    ray_nodes.remove_node(next(one for one in ray_nodes.worker_nodes if one is not node))
    listener = LosesANode(node)
    options = RunOptions(device="cpu", executor="ray", address=ray_nodes.address)
    summary = run_sweep(SWEEP, corpus, store, options, listener)
    ray_nodes.worker_nodes.discard(node)
    assert listener.started[0].workers == 2
    assert [record.outcome for record in summary.trials] == ["finished"] * 4
    assert any("tried again on another" in text for text in listener.notices)
    client, runs = MlflowClient(tracking_uri=store_uri), store.search(f"tags.`{names.KIND}` = 'trial'")
    assert Counter(run.info.status for run in runs) == {"FINISHED": 4}
    assert len({run.data.tags[names.CELL] for run in runs}) == 4
    for run in runs:
        steps = [metric.step for metric in client.get_metric_history(run.info.run_id, names.VAL_LOSS)]
        assert steps == list(range(0, 801, 100))
        assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"checkpoint", "sample.txt"}
    assert "ray" not in "".join(capfd.readouterr())  # Ray's own words stay off the screen


def test_on_cpus_there_is_a_worker_for_each_core_with_more_threads_where_trials_are_few() -> None:
    machines = [Machine(cpus=16, gpus=0), Machine(cpus=64, gpus=0)]

    def planned(trials: int, workers: int | None = None) -> tuple[int, int, int]:
        hardware = plan_workers(machines, device="auto", workers=workers, trials=trials, address="auto")
        assert hardware.cluster is not None
        assert (hardware.device, hardware.cluster.cpus, hardware.cluster.gpus) == ("cpu", hardware.threads, 0)
        return hardware.workers, hardware.threads, hardware.cluster.most_workers

    assert planned(500) == (80, 1, 1024)
    assert planned(500, workers=200) == (80, 1, 200)  # where it grows to so many
    assert planned(20) == (20, 4, 1024)
    assert planned(3) == (3, 16, 1024)  # a worker must fit into the smallest machine
    assert planned(500, workers=3) == (3, 16, 3)


def test_on_gpus_there_is_a_worker_for_each_or_several_share_one() -> None:
    machines = [Machine(cpus=32, gpus=0), Machine(cpus=32, gpus=4), Machine(cpus=16, gpus=4)]
    alone = plan_workers(machines, device="auto", workers=None, trials=100, address="auto")
    assert alone.cluster is not None
    assert (alone.device, alone.workers, alone.writers, alone.cluster.gpus, alone.cluster.cpus) == ("cuda", 8, 3, 1, 4)
    shared = plan_workers(machines, device="cuda", workers=50, trials=100, address="auto")
    assert shared.cluster is not None
    assert (shared.workers, shared.cluster.gpus) == (50, 0.1428)  # of seven; 0.1429 would be more than the GPU
    assert shared.cluster.cpus == 0


@pytest.mark.parametrize("device", ["cuda:1", "mps", "abacus"])
def test_a_device_that_ray_does_not_give_out_is_refused(device: str) -> None:
    with pytest.raises(ConfigError, match="device must be auto, cpu or cuda with --executor ray"):
        plan_workers([Machine(cpus=1, gpus=0)], device=device, workers=None, trials=1, address=None)


@pytest.mark.parametrize("address", ["", "somewhere", "http://head:6379", "head", "ray://head:10001/x", "head:1000000"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="address must be auto, HOST:PORT or ray://HOST:PORT"):
        RunOptions(executor="ray", address=address)


def test_an_address_that_nothing_uses_is_refused() -> None:
    with pytest.raises(ConfigError, match="use it with --executor ray"):
        RunOptions(address="auto")


def test_without_ray_the_user_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "gpt_experiments.execution.ray_connection", raising=False)
    monkeypatch.delattr("gpt_experiments.execution.ray_connection", raising=False)
    with pytest.raises(ConfigError, match=r"python -m pip install 'gpt-experiments\[ray\]'"):
        find_hardware(RunOptions(executor="ray"), 1)


def test_a_job_whose_workers_are_lost_goes_on_from_its_latest_state_but_not_for_ever(tmp_path: Path) -> None:
    memory = JobMemory(tmp_path)
    assert memory.is_new("a", Saved(step=2, state=b"two"))
    assert memory.is_new("a", Saved(step=4, state=b"four"))
    assert not memory.is_new("a", Saved(step=2, state=b"two"))  # by the next worker, which began before it
    for _ in range(MOST_TRIES_AGAIN):
        memory.count_tries(["a"])
        assert memory.ending("a", "x died") is None
        assert memory.state("a") == b"four"
    memory.count_tries(["a"])
    failed = memory.ending("a", "x died")
    assert isinstance(failed, JobFailed)
    assert failed.reason == f"{MOST_TRIES_AGAIN + 1} workers were lost that trained it; the last: x died"
    memory.forget("a")
    assert memory.state("a") is None


def test_a_job_that_is_to_stop_ends_with_its_worker(tmp_path: Path) -> None:
    memory = JobMemory(tmp_path)
    memory.is_new("a", Saved(step=2, state=b"two"))
    memory.is_new("a", Progress(step=3, batch_loss=1.0, tokens_per_second=1.0))
    memory.note_stop(StopJob(key="a"))
    memory.count_tries(["a"])
    assert memory.ending("a", "x died") == JobStopped(step=3)
    memory.note_stop(StopJob(key="a", keep=True))
    assert memory.ending("a", "x died") == JobStopped(step=2, state=b"two")
