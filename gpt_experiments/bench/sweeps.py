"""Times whole sweeps as their users run them, and what a sweep costs apart from its training."""

from __future__ import annotations

import dataclasses
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import gpt_experiments
from gpt_experiments import names
from gpt_experiments.bench.results import WAYS, OrchestrationTimes, SweepTimes, Way
from gpt_experiments.bench.steps import excerpt, in_turn
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import BenchmarkError
from gpt_experiments.parameters import TrainingSetup
from gpt_experiments.scratch import scratch_folder
from gpt_experiments.sweep.definition import SweepDefinition
from gpt_experiments.sweep.resources import RunOptions, find_hardware
from gpt_experiments.sweep.runner import run_sweep
from gpt_experiments.sweep.yaml_source import dump_yaml
from gpt_experiments.tracking import Store

_ORCHESTRATED: Final = TrainingSetup(steps=1, batch_size=1, eval_interval=1)
_SMALL_CORPUS: Final = 6_000  # characters: enough for a context of 256 in both splits


def scaled(definition: SweepDefinition, scale: float) -> SweepDefinition:
    """The sweep with its steps, and the steps between evaluations, times `scale`: as many evaluations as before."""
    training = definition.training
    shorter = dataclasses.replace(
        training,
        steps=max(1, round(training.steps * scale)),
        eval_interval=max(1, round(training.eval_interval * scale)),
    )
    return dataclasses.replace(definition, training=shorter)


def time_sweeps(
    definition: SweepDefinition, corpus: Corpus, device: str, *, scale: float, rounds: int, workers: int | None
) -> SweepTimes:
    """Time the sweep at `scale` both ways, in turn, each in processes of its own.

    Steps, the corpus with its exact evaluations, and the batches of plain evaluations shrink alike, so that their
    shares are the study's. Only our overhead does not shrink: starting processes, compiling, files, MLflow.

    Raises:
        BenchmarkError: one of the commands fails.
        CorpusError: the corpus at that scale is too short for the longest context.
    """
    small, text = scaled(definition, scale), excerpt(corpus, round(len(corpus.text) * scale))
    text.require_context(definition.longest_context)
    seconds: dict[Way, list[float]] = {way: [] for way in WAYS}
    in_trials = []
    with scratch_folder() as folder:
        (folder / "corpus.txt").write_text(text.text, encoding="utf-8")
        (folder / "sweep.yaml").write_text(dump_yaml(small.as_dict()), encoding="utf-8")
        for number in range(rounds):
            commands: dict[Way, list[str]] = {
                "plain": ["-m", "gpt_experiments.bench.plain_sweep", "sweep.yaml", "corpus.txt", device, str(scale)],
                "ours": _our_sweep(_tracking_uri(folder, number), device, workers),
            }
            for way in in_turn(number):
                seconds[way].append(_seconds(commands[way], folder, number))
            in_trials.append(sum(_in_trials(Store(_tracking_uri(folder, number)))))
    trials = len(small.one_at_a_time())
    return SweepTimes(
        variants=trials,
        steps=small.training.steps,
        scale=scale,
        workers=find_hardware(RunOptions(device=device, workers=workers), trials).workers,
        seconds=seconds,
        in_trials=in_trials,
    )


def _in_trials(store: Store) -> tuple[float, float]:
    """Seconds of training, and of evaluation, of all the trials that the store has, together."""
    runs = store.search(f"tags.`{names.KIND}` = 'trial'")
    training, evaluation = (
        sum(run.data.metrics[metric] for run in runs) for metric in (names.TRAIN_SECONDS, names.EVAL_SECONDS)
    )
    return training, evaluation


def _tracking_uri(folder: Path, number: int) -> str:
    return f"sqlite:///{folder}/store-{number}.db"


class _Silent:
    """A listener that shows nothing."""

    def _ignore(self, event: object, more: object = None) -> None:
        """Show nothing."""

    sweep_started = trial_started = trial_ended = notice = sweep_ended = trial_progress = trial_evaluated = _ignore


def _our_sweep(tracking_uri: str, device: str, workers: int | None) -> list[str]:
    command = ["-m", "gpt_experiments", "sweep", "sweep.yaml", "--data", "corpus.txt", "--device", device, "--quiet"]
    command += ["--tracking-uri", tracking_uri]
    return command if workers is None else [*command, "--workers", str(workers)]


def _seconds(arguments: Sequence[str], folder: Path, number: int) -> float:
    """Wall time of Python with these arguments; its compiled code is made anew, as after an installation."""
    package = str(Path(gpt_experiments.__file__).parent.parent)
    path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path, "NUMBA_CACHE_DIR": str(folder / f"numba-{number}")}
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        check=False,
        encoding="utf-8",
        errors="replace",
    )
    if done.returncode:
        raise BenchmarkError(
            f"`python {' '.join(arguments)}` ended with exit status {done.returncode}: {done.stderr.strip()[-500:]}"
        )
    return time.perf_counter() - started


def time_orchestration(definition: SweepDefinition, device: str, *, workers: int | None) -> OrchestrationTimes:
    """Run the sweep at one step of one window a trial, on a few thousand random words, into a store of its own."""
    words = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    text = " ".join("".join(words.choices(letters, k=words.randint(1, 9))) for _ in range(_SMALL_CORPUS // 6))
    corpus = Corpus.from_text(text + "\n", name="random words")
    short = dataclasses.replace(definition, training=_ORCHESTRATED)
    options = RunOptions(device=device, workers=workers)
    with scratch_folder() as folder:
        store = Store(f"sqlite:///{folder}/mlflow.db")
        wall, parent = time.perf_counter(), time.process_time()
        report = run_sweep(short, corpus, store, options, _Silent())
        wall, parent = time.perf_counter() - wall, time.process_time() - parent
        if report.interrupted:
            raise KeyboardInterrupt
        if not report.is_complete:
            why = f": {report.failed[0].reason}" if report.failed else ""
            raise BenchmarkError(f"{report.total - report.done} of {report.total} trials have no result{why}")
        training, evaluation = _in_trials(store)
    return OrchestrationTimes(
        trials=len(report.trials),
        workers=find_hardware(options, len(report.trials)).workers,
        wall=wall,
        parent=parent,
        training=training,
        evaluation=evaluation,
    )
