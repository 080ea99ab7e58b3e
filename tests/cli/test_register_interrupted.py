"""`register` as a user types it, ended while it trains fresh seeds; the same command goes on where it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from mlflow.entities import Run

from gpt_experiments import names
from gpt_experiments.corpus.sources import load_corpus
from gpt_experiments.parameters import TrainingSetup
from gpt_experiments.tracking import Store
from tests.support.stores import add_sweep

pytestmark = pytest.mark.slow


def fresh(store: Store, sweep: str) -> list[Run]:
    return store.search(f"tags.`{names.CONFIRMS}` = '{sweep}'")


@pytest.mark.parametrize(
    ("number", "status"),
    [pytest.param(signal.SIGKILL, -signal.SIGKILL, marks=pytest.mark.thorough), (signal.SIGINT, 130)],
)
def test_what_is_finished_stays_and_the_rest_is_trained(
    number: signal.Signals, status: int, store_uri: str, tmp_path: Path, text: str
) -> None:
    path = tmp_path / "text.txt"
    path.write_text(text)
    store, corpus = Store(store_uri), load_corpus(path)
    sweep = add_sweep(store, corpus, {2: [4.0]}, training=TrainingSetup(steps=300, batch_size=4, eval_interval=100))
    command = [sys.executable, "-m", "gpt_experiments", "register", "--tracking-uri", store_uri, "--confirm", "3"]
    command += ["--executor", "inline", "--device", "cpu", "--data", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path)
    deadline = time.monotonic() + 240
    while "FINISHED" not in {run.info.status for run in fresh(store, sweep)}:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.kill(process.pid, number)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == status, output
    kept = {run.info.run_id for run in fresh(store, sweep) if run.info.status == "FINISHED"}
    assert 1 <= len(kept) < 3
    assert store.client.search_registered_models() == []

    again = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert f"{3 - len(kept)} trial" in again.stdout
    done = [run for run in fresh(store, sweep) if run.info.status == "FINISHED"]
    assert kept < {run.info.run_id for run in done}
    assert set(Counter(run.data.tags[names.CELL] for run in done).values()) == {1}
    assert {run.data.params["seed"] for run in done} == {"1000001", "1000002", "1000003"}
    assert "RUNNING" not in {run.info.status for run in fresh(store, sweep)}
    (version,) = store.client.search_model_versions("name = 'gpt-experiments'")
    assert version.run_id in {run.info.run_id for run in done}
