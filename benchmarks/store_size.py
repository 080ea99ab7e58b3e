"""Makes a store of many runs by SQL, and measures what a sweep and a report ask of it.

    python benchmarks/store_size.py FOLDER --runs 100000

It prints the seconds of each question, and the memory of the process. See benchmarks/store-size.md for what was found.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gpt_experiments import names
from gpt_experiments.config import Trial
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.tracking import Claims, Store, schema
from gpt_experiments.tracking.finished import FinishedCells
from gpt_experiments.training import TrainingSummary

DIGEST = "0" * 64
LEVELS = ((1, 2, 4), (1, 2, 3), (8, 16, 32), (0.0, 0.1, 0.3), (16, 32, 64))
TABLES = ("runs", "tags", "params", "latest_metrics", "metrics")
AT_ONCE = 2000


def trials() -> Iterator[Trial]:
    """All shapes with seed 1, then all with seed 2, and so on."""
    for seed in itertools.count(1):
        for heads, layers, width, dropout, block in itertools.product(*LEVELS):
            shape = Shape(n_head=heads, n_layer=layers, n_embed=width, dropout=dropout, block_size=block)
            yield Trial(shape=shape, seed=seed, training=TrainingSetup())


def fill(file: Path, count: int) -> None:
    """Make a store with so many finished trials: one is written as the program does, the others are copies of it."""
    store = Store(f"sqlite:///{file}")
    first = next(trials())
    tags = {names.VARIANT: "baseline", names.CELL: first.cell(DIGEST), names.CORPUS_DIGEST: DIGEST}
    params = schema.trial_params(first, device="cpu", vocab_size=65)
    recorder = store.start_run(kind="trial", run_name="x (seed 1)", params=params, tags=tags)
    recorder.log_text("weights", "checkpoint/model.safetensors")
    summary = TrainingSummary(
        final_train_loss=2.0,
        final_val_loss=2.2,
        best_val_loss=2.1,
        n_params=10,
        train_seconds=3.0,
        eval_seconds=1.0,
        tokens_per_second=99.0,
    )
    recorder.log_metrics(schema.summary_metrics(summary))
    recorder.finish()
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("PRAGMA synchronous = OFF")
        patterns = {table: _rows(database, table, recorder.run_id) for table in TABLES}
        copies = itertools.islice(trials(), 1, count)
        for some in iter(lambda: list(itertools.islice(copies, AT_ONCE)), []):
            _copy(database, patterns, some)
            database.commit()


def _rows(database: sqlite3.Connection, table: str, run_id: str) -> list[dict[str, Any]]:
    found = database.execute(f"SELECT * FROM {table} WHERE run_uuid = ?", (run_id,))
    columns = [column[0] for column in found.description]
    return [dict(zip(columns, row, strict=True)) for row in found]


def _copy(database: sqlite3.Connection, patterns: dict[str, list[dict[str, Any]]], some: list[Trial]) -> None:
    rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in TABLES}
    for trial in some:
        run_id, cell = uuid.uuid4().hex, trial.cell(DIGEST)
        params = schema.trial_params(trial, device="cpu", vocab_size=65)
        for table, pattern in patterns.items():
            for row in pattern:
                new = {**row, "run_uuid": run_id}
                if table == "params":
                    new["value"] = str(params[row["key"]])
                elif table == "tags" and row["key"].startswith(names.CELL):
                    new |= {"value": cell, "key": names.CELL if row["key"] == names.CELL else schema.shelf_of(cell)}
                rows[table].append(tuple(new.values()))
    for table, pattern in patterns.items():
        marks = ", ".join("?" * len(pattern[0]))
        database.executemany(f"INSERT INTO {table} ({', '.join(pattern[0])}) VALUES ({marks})", rows[table])


def measure(what: str, ask: Callable[[], object]) -> None:
    """Print the best of three."""
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        ask()
        seconds.append(time.perf_counter() - began)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{what:60} {min(seconds):8.3f} s  {memory:6,} MiB", flush=True)


def main() -> None:
    """Make the store where it is not there yet, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=100_000)
    given = parser.parse_args()
    file = given.folder / f"runs-{given.runs}.db"
    if not file.exists():
        given.folder.mkdir(parents=True, exist_ok=True)
        fill(file, given.runs)
    store = Store(f"sqlite:///{file}")
    known = [trial.cell(DIGEST) for trial in itertools.islice(trials(), 243)]
    new = [f"{number:016x}" for number in range(243)]
    measure("which of 11 cells are done", lambda: FinishedCells(store).ask(known[:11]))
    measure("which of 243 cells are done, all are", lambda: FinishedCells(store).ask(known))
    measure("which of 243 cells are done, none is", lambda: FinishedCells(store).ask(new))
    measure("what others do with 1 cell", lambda: Claims(store).look(new[:1]))
    measure("what others do with 243 cells", lambda: Claims(store).look(new))
    measure("which runs are abandoned", store.close_abandoned)
    measure("one search by the tag that every run has", lambda: store.search(f"tags.`{names.CELL}` = '{new[0]}'"))
    measure("a page of 1,000 runs", lambda: store.first_page("attributes.status = 'FINISHED'", 1000))


if __name__ == "__main__":
    main()
