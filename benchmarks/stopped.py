"""Stops a sweep at three places, each time in another way, lets it go on, and compares it with one without a stop.

`python benchmarks/stopped.py`: SIGTERM, SIGKILL and --timeout, as real processes, on two workers. It prints at which
steps each trial went on, and whether the weights of all trials are equal, bit for bit.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from mlflow.entities import Run

from gpt_experiments import names
from gpt_experiments.corpus.sources import load_corpus
from gpt_experiments.model import load_checkpoint
from gpt_experiments.tracking import Store

DEFINITION = """
name: stopped
method: one-at-a-time
baseline: {{n_head: 2, n_layer: 2, n_embed: 32, dropout: 0.1, block_size: 32}}
levels: {{n_head: [1, 4]}}
training: {{steps: {steps}, batch_size: 8, eval_interval: {interval}}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seconds", type=float, default=40.0, help="from the first evaluation to each of the stops")
    parser.add_argument("--characters", type=int, default=100_000, help="of the corpus")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        definition = DEFINITION.format(steps=arguments.steps, interval=arguments.steps // 20)
        (folder / "stopped.yaml").write_text(definition, encoding="utf-8")
        (folder / "text.txt").write_text(load_corpus().text[: arguments.characters], encoding="utf-8")
        for how in ("SIGTERM", "SIGKILL", "--timeout"):
            print(f"{how}: exit status {stopped(folder, how, arguments.seconds)}", flush=True)
        print(f"to the end: exit status {start(folder, 'stopped').wait()}", flush=True)
        print(f"without a stop: exit status {start(folder, 'expected').wait()}", flush=True)
        found, expected = trials(folder, "stopped"), trials(folder, "expected")
        for label, run in found.items():
            pauses = [pause["step"] for pause in json.loads(run.data.tags.get(names.CONTINUED, "[]"))]
            same = torch.equal(weights(folder, run, "stopped"), weights(folder, expected[label], "expected"))
            print(f"{label}: {run.info.status}, went on at steps {pauses}, weights {'equal' if same else 'DIFFER'}")


def start(folder: Path, store: str, *options: str) -> subprocess.Popen[str]:
    where = ["--data", "text.txt", "--tracking-uri", f"sqlite:///{folder}/{store}.db", "--device", "cpu"]
    command = [sys.executable, "-m", "gpt_experiments", "sweep", "stopped.yaml", *where, "--workers", "2", *options]
    with (folder / f"{store}.txt").open("a", encoding="utf-8") as said:
        return subprocess.Popen(command, cwd=folder, text=True, stdout=said, stderr=subprocess.STDOUT)


def stopped(folder: Path, how: str, seconds: float) -> int:
    """Run the sweep until so many seconds after its first evaluation here; the exit status."""
    said = folder / "stopped.txt"
    before = said.stat().st_size if said.exists() else 0
    if how == "--timeout":
        return start(folder, "stopped", "--timeout", str(seconds)).wait()
    process = start(folder, "stopped")
    while "evaluated" not in said.read_text(encoding="utf-8")[before:]:
        time.sleep(0.2)
    time.sleep(seconds)
    process.send_signal(signal.Signals[how])
    return process.wait()


def trials(folder: Path, store: str) -> dict[str, Run]:
    """The finished runs by their variants, of each of which there is one."""
    condition = f"tags.`{names.KIND}` = 'trial' and attributes.status = 'FINISHED'"
    runs = Store(f"sqlite:///{folder}/{store}.db").search(condition)
    assert len({run.data.tags[names.CELL] for run in runs}) == len(runs)
    return {run.data.tags[names.VARIANT]: run for run in runs}


def weights(folder: Path, run: Run, store: str) -> torch.Tensor:
    client = Store(f"sqlite:///{folder}/{store}.db").client
    place = client.download_artifacts(run.info.run_id, names.CHECKPOINT_FOLDER)
    return torch.cat([weight.detach().flatten() for weight in load_checkpoint(Path(place)).model.parameters()])


if __name__ == "__main__":
    main()
