"""Processes that share one store: what is lost, trained twice or stuck?

    python benchmarks/together.py kills [--kills 200]
    python benchmarks/together.py overlap [--rounds 20] [--postgresql]

`kills`: each round is a sweep of its own. Four processes train it with `--join`; one of them, chosen by chance, is
killed with SIGKILL after a time of chance, and started again. When all kills of the round are done, the processes that
are left end the sweep.

`overlap`: each round has a fresh store and eight sweeps, each in a process of its own and each with half of 16 cells.

All processes are forks of one that has loaded PyTorch and MLflow, which takes seconds. They share one CPU core in one
round and two in the next. A trial trains in its sweep's own process, and leaves a model and no pictures. With
`--postgresql`, a database of its own takes the place of SQLite; it needs Debian's package `postgresql`.
"""

from __future__ import annotations

import os

os.environ["GPT_EXPERIMENTS_KERNELS"] = "off"  # compiled kernels have threads, which a fork does not take along

import argparse
import json
import multiprocessing
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from gpt_experiments import names  # noqa: E402
from gpt_experiments.corpus import Corpus  # noqa: E402
from gpt_experiments.execution import files  # noqa: E402
from gpt_experiments.sweep.definition_file import load_definition  # noqa: E402
from gpt_experiments.sweep.resources import RunOptions  # noqa: E402
from gpt_experiments.sweep.runner import run_sweep  # noqa: E402
from gpt_experiments.tracking import Store  # noqa: E402
from tests.conftest import generated_text  # noqa: E402
from tests.support.few_files import write_checkpoint  # noqa: E402
from tests.support.postgres import postgres  # noqa: E402

DEFINITION = """
name: {name}
method: grid
baseline: {{n_head: 1, n_layer: 1, n_embed: 8, dropout: 0.0, block_size: 8}}
levels: {{n_head: {heads}, n_layer: [1, 2]}}
seeds: {seeds}
training: {{steps: {steps}, batch_size: 4, eval_interval: 50, learning_rate: {rate}}}
"""
CONTEXT = multiprocessing.get_context("fork")


class Silent:
    """A listener that shows nothing."""

    def ignore(self, event: object, more: object = None) -> None:
        """Show nothing."""

    sweep_started = trial_started = trial_ended = notice = sweep_ended = trial_progress = trial_evaluated = ignore


def main() -> None:
    """Run the rounds, and print the counts of each and of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["kills", "overlap"])
    parser.add_argument("--kills", type=int, default=200, help="of all rounds together")
    parser.add_argument("--kills-in-a-round", type=int, default=10)
    parser.add_argument("--pause", type=float, default=2.0, help="mean seconds between kills")
    parser.add_argument("--rounds", type=int, default=20, help="of `overlap`")
    parser.add_argument("--steps", type=int, default=400, help="of a trial")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--postgresql", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, postgres() if given.postgresql else nullcontext() as database:
        folder = Path(temporary)
        (folder / "text.txt").write_text(generated_text(3_000))
        kill_some(folder, database, given) if given.what == "kills" else overlap(folder, database, given)


def kill_some(folder: Path, database: str | None, given: argparse.Namespace) -> None:
    uri = database or f"sqlite:///{folder}/mlflow.db"
    answer_of(Store, uri)  # makes the tables of a fresh store, which takes long
    rng, killed, found, began, number = random.Random(given.seed), 0, Counter[str](), time.monotonic(), 0
    while killed < given.kills:
        number += 1
        file = folder / f"kills-{number}.yaml"
        text = DEFINITION.format(name=file.stem, heads=[1, 2, 4], seeds=2, steps=given.steps, rate=1e-3 * number)
        file.write_text(text)  # the learning rate gives each round cells of its own
        kills = min(given.kills_in_a_round, given.kills - killed)
        cores = cores_of_round(number)
        running = [start(file, uri, cores, number, join=True) for number in range(4)]
        for _ in range(kills):
            time.sleep(rng.uniform(0.05, 2 * given.pause))
            alive = [number for number, process in enumerate(running) if process.is_alive()]
            if not alive:
                break
            number_of_process = rng.choice(alive)
            os.kill(running[number_of_process].pid or 0, signal.SIGKILL)
            running[number_of_process].join()
            killed += 1
            running[number_of_process] = start(file, uri, cores, number_of_process, join=True)
        found += statuses(running)
        found += answer_of(judged, uri, f"tags.`{names.SWEEP}` = '{file.stem}'", 12, 1)
        print(f"round {number}: {killed} kills, {dict(found)}, {time.monotonic() - began:.0f} s", flush=True)
    print(json.dumps({"kills": killed, "rounds": number, "seconds": round(time.monotonic() - began), **found}))


def overlap(folder: Path, database: str | None, given: argparse.Namespace) -> None:
    rng, found, began = random.Random(given.seed), Counter[str](), time.monotonic()
    for number in range(1, given.rounds + 1):
        uri = f"sqlite:///{folder}/round-{number}.db"
        if database is not None:
            answer_of(fresh_database, database, f"round_{number}")
            uri = database.replace("/postgres", f"/round_{number}")
        files = []
        for sweep in range(8):
            files.append(folder / f"overlap-{sweep}.yaml")
            heads = sorted(rng.sample([1, 2, 4, 8], 2))
            form = {"heads": heads, "seeds": 2, "steps": given.steps, "rate": 1e-3}
            files[-1].write_text(DEFINITION.format(name=files[-1].stem, **form))
        cores = cores_of_round(number)
        running = [start(file, uri, cores, sweep, join=False) for sweep, file in enumerate(files)]
        found += statuses(running)
        cells = len({head for file in files for head in load_definition(str(file)).levels["n_head"]}) * 4
        found += answer_of(judged, uri, f"tags.`{names.KIND}` != 'none'", cells, len(files))
        print(f"round {number}: {dict(found)}, {time.monotonic() - began:.0f} s", flush=True)
    print(json.dumps({"rounds": given.rounds, "seconds": round(time.monotonic() - began), **found}))


def cores_of_round(number: int) -> list[int]:
    """The CPU cores that the processes of a round share: one, two, one …"""
    return sorted(os.sched_getaffinity(0))[: 2 - number % 2]


def start(file: Path, uri: str, cores: list[int], number: int, *, join: bool) -> BaseProcess:
    """A process that trains a sweep; on one core, as threads of processes that share cores wait for one another."""
    process = CONTEXT.Process(target=train, args=(file, uri, cores[number % len(cores)], join))
    process.start()
    return process


def train(file: Path, uri: str, core: int, join: bool) -> None:
    """Train the sweep of a file in this process; its exit status is that of the command."""
    os.sched_setaffinity(0, {core})
    files.write_trial_files = write_checkpoint
    corpus = Corpus.from_text(file.with_name("text.txt").read_text(), name="text")
    options = RunOptions(device="cpu", executor="inline", join=join, attention_over_training=False)
    summary = run_sweep(load_definition(str(file)), corpus, Store(uri), options, Silent())
    os._exit(0 if summary.is_complete else 1)


def statuses(running: list[BaseProcess]) -> Counter[str]:
    """Wait for all of them; how many failed, or had not ended after 15 minutes."""
    end, found = time.monotonic() + 900, Counter[str]()
    for process in running:
        process.join(max(0.0, end - time.monotonic()))
        if process.exitcode is None:
            found["stuck processes"] += 1
            process.kill()
        elif process.exitcode != 0:
            found["failed processes"] += 1
    return found


def judged(uri: str, condition: str, cells: int, sweeps: int) -> Counter[str]:
    """What became of the cells: `done`, and what must not be: `lost`, `twice`, `stuck`."""
    runs = Store(uri).search(condition)
    trials = [run for run in runs if run.data.tags.get(names.KIND) == "trial"]
    finished = Counter(run.data.tags[names.CELL] for run in trials if run.info.status == "FINISHED")
    ended = [run for run in runs if run.data.tags.get(names.KIND) == "sweep" and run.info.status == "FINISHED"]
    return Counter(
        done=len(finished),
        lost=cells - len(finished),
        twice=sum(count - 1 for count in finished.values()),
        stuck=sum(run.info.status == "RUNNING" for run in runs) + sweeps - len(ended),
        closed=sum(run.info.status == "KILLED" for run in trials),
    )


def fresh_database(uri: str, name: str) -> None:
    import psycopg

    with psycopg.connect(uri.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"create database {name}")


def answer_of(function: Callable[..., object], *args: object) -> Counter[str]:
    """What a function returns, called in a process of its own: no open store may be there at a fork."""
    here, there = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_answer, args=(there, function, args))
    process.start()
    answer = here.recv()
    process.join()
    return answer if isinstance(answer, Counter) else Counter()


def _answer(there: Connection, function: Callable[..., object], args: tuple[object, ...]) -> None:
    answer = function(*args)
    there.send(answer if isinstance(answer, Counter) else None)


if __name__ == "__main__":
    main()
