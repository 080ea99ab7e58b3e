"""Kills processes that train small sweeps together, again and again, and counts what is lost, twice or stuck.

    python benchmarks/kills.py --kills 200 [--tracking-uri URI]

Each round is a sweep of its own. Four processes train it with `--join`; one of them, chosen by chance, is killed with
SIGKILL after a time of chance, and started again. When all kills of the round are done, the processes that are left
end the sweep. See benchmarks/scale.md for what was found.
"""

from __future__ import annotations

import os

os.environ["GPT_EXPERIMENTS_KERNELS"] = "off"  # compiled kernels have threads, which a fork does not take along

import argparse
import json
import multiprocessing
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

from gpt_experiments import names
from gpt_experiments.corpus import Corpus
from gpt_experiments.sweep.definition_file import load_definition
from gpt_experiments.sweep.resources import RunOptions
from gpt_experiments.sweep.runner import run_sweep
from gpt_experiments.tracking import Store
from gpt_experiments.tracking.mlflow_internals import MLFLOW_PARENT_RUN_ID

DEFINITION = """
name: {name}
method: grid
baseline: {{n_head: 1, n_layer: 1, n_embed: 8, dropout: 0.0, block_size: 8}}
levels: {{n_head: [1, 2, 4], n_layer: [1, 2]}}
seeds: 2
training: {{steps: {steps}, batch_size: 4, eval_interval: 50}}
"""
TRIALS = 12


class Silent:
    """A listener that shows nothing."""

    def ignore(self, event: object, more: object = None) -> None:
        """Show nothing."""

    sweep_started = trial_started = trial_ended = notice = sweep_ended = trial_progress = trial_evaluated = ignore


def main() -> None:
    """Run the rounds, and print the counts as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--kills-in-a-round", type=int, default=20)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no further round after so long")
    parser.add_argument("--tracking-uri")
    given = parser.parse_args()
    rng, killed, found, began = random.Random(given.seed), 0, Counter[str](), time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        uri = given.tracking_uri or f"sqlite:///{folder}/mlflow.db"
        text = " ".join("".join(rng.choices("abcdefgh", k=4)) for _ in range(600))
        (folder / "text.txt").write_text(text)
        in_process(Store, uri).join()  # makes the tables of a fresh store, which takes long
        number = 0
        while killed < given.kills and time.monotonic() - began < 60 * given.minutes:
            number += 1
            file = folder / f"kills-{number}.yaml"
            file.write_text(DEFINITION.format(name=file.stem, steps=given.steps))
            killed += run_round(file, uri, min(given.kills_in_a_round, given.kills - killed), given.processes, rng)
            found += judged(Store(uri), file.stem)
            print(f"round {number}: {killed} kills, {dict(found)}, {time.monotonic() - began:.0f} s", flush=True)
    print(json.dumps({"kills": killed, "rounds": number, "seconds": round(time.monotonic() - began), **found}))


def run_round(file: Path, uri: str, kills: int, processes: int, rng: random.Random) -> int:
    """One sweep; returns how many processes were killed before it was done."""
    running = [start(file, uri) for _ in range(processes)]
    killed = 0
    while killed < kills:
        time.sleep(rng.uniform(0.05, 4.0))
        alive = [number for number, process in enumerate(running) if process.is_alive()]
        if not alive:
            break
        number = rng.choice(alive)
        os.kill(running[number].pid or 0, signal.SIGKILL)
        running[number].join()
        killed += 1
        running[number] = start(file, uri)
    for process in running:
        process.join(900)
        if process.exitcode != 0:
            raise SystemExit(f"{file.name}: a process ended with status {process.exitcode}")
    return killed


def start(file: Path, uri: str) -> BaseProcess:
    """A process that trains the sweep together with others; forked, because to load PyTorch takes seconds."""
    return in_process(train, file, uri)


def in_process(target: Callable[..., object], *args: object) -> BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=target, args=args)
    process.start()
    return process


def train(file: Path, uri: str) -> None:
    corpus = Corpus.from_text(file.with_name("text.txt").read_text(), name="text")
    options = RunOptions(device="cpu", executor="inline", join=True, attention_over_training=False)
    summary = run_sweep(load_definition(str(file)), corpus, Store(uri), options, Silent())
    os._exit(0 if summary.is_complete else 1)


def judged(store: Store, name: str) -> Counter[str]:
    """What became of the trials of a sweep: `done`, and what must not be: `lost`, `twice`, `stuck`."""
    (parent,) = store.search(f"tags.`{names.KIND}` = 'sweep' and tags.`{names.SWEEP}` = '{name}'")
    trials = store.search(f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent.info.run_id}'")
    finished = Counter(run.data.tags[names.CELL] for run in trials if run.info.status == "FINISHED")
    return Counter(
        done=len(finished),
        lost=TRIALS - len(finished),
        twice=sum(count - 1 for count in finished.values()),
        stuck=sum(run.info.status == "RUNNING" for run in trials) + (parent.info.status != "FINISHED"),
        closed=sum(run.info.status == "KILLED" for run in trials),
    )


if __name__ == "__main__":
    main()
