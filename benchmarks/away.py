"""A tracking server on PostgreSQL is killed in the middle of a sweep and stays away for a minute: what is lost?

    python benchmarks/away.py [--seconds 60] [--silent]

With `--silent` it is suspended instead: it takes connections, and does not answer.

The sweep is a real process with local workers. It needs PostgreSQL (Debian's package `postgresql`) and `psycopg`. What
it prints is for a page of this folder.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from gpt_experiments import names  # noqa: E402
from gpt_experiments.tracking import Store  # noqa: E402
from tests.conftest import generated_text  # noqa: E402
from tests.support.mlflow_server import Server  # noqa: E402
from tests.support.postgres import postgres  # noqa: E402

DEFINITION = """
name: away
method: grid
baseline: {n_head: 2, n_layer: 1, n_embed: 16, dropout: 0.1, block_size: 32}
levels: {n_head: [1, 2, 4], dropout: [0.0, 0.1]}
seeds: [1, 2]
training: {steps: 300, batch_size: 8, eval_interval: 100}
"""
STEPS = [0, 100, 200, 300]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="for how long the server stays away")
    parser.add_argument("--silent", action="store_true", help="suspend it instead of killing it")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, postgres() as database:
        folder = Path(name)
        server = Server(folder, database, ["--artifacts-destination", str(folder / "artifacts")])
        server.start()
        try:
            _sweep(folder, server, given.seconds, silent=given.silent)
            _count(Store(server.uri))
        finally:
            server.stop()


def _sweep(folder: Path, server: Server, away: float, *, silent: bool) -> None:
    """Run the sweep, and kill or suspend the server as soon as a trial is finished."""
    (folder / "away.yaml").write_text(DEFINITION)
    (folder / "text.txt").write_text(generated_text(40_000))
    arguments = ["sweep", str(folder / "away.yaml"), "--data", str(folder / "text.txt"), "--device", "cpu"]
    began = time.monotonic()
    sweep = subprocess.Popen(
        [sys.executable, "-m", "gpt_experiments", *arguments, "--workers", "2", "--tracking-uri", server.uri],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "GPT_EXPERIMENTS_UNWRITTEN_DIR": str(folder / "unwritten")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert sweep.stdout is not None
    coming_back: threading.Timer | None = None
    for line in sweep.stdout:
        print(f"{time.monotonic() - began:6.1f} s  {line.rstrip()}", flush=True)
        if coming_back is None and line.startswith("finished "):
            server.send(signal.SIGSTOP) if silent else server.stop(signal.SIGKILL)
            print(f"{time.monotonic() - began:6.1f} s  THE SERVER IS {'SILENT' if silent else 'KILLED'}", flush=True)
            bring_back = partial(server.send, signal.SIGCONT) if silent else server.start
            coming_back = threading.Timer(away, bring_back)
            coming_back.start()
    assert coming_back is not None
    coming_back.join()
    print(f"exit status {sweep.wait()}; left to write: {len(list((folder / 'unwritten').glob('*/*/trial.json')))}")


def _count(store: Store) -> None:
    runs = store.search(f"tags.`{names.KIND}` = 'trial'")
    cells = {run.data.tags[names.CELL] for run in runs}
    statuses = {status: sum(run.info.status == status for run in runs) for status in ("FINISHED", "RUNNING", "KILLED")}
    print(f"{len(runs)} runs, {len(cells)} cells, {statuses}")
    whole = 0
    for run in runs:
        steps = [point.step for point in store.client.get_metric_history(run.info.run_id, names.VAL_LOSS)]
        files = {file.path for file in store.client.list_artifacts(run.info.run_id)}
        whole += steps == STEPS and "checkpoint" in files
    print(f"{whole} with each loss once and their files")


if __name__ == "__main__":
    main()
