"""Times what it costs to keep the states of a study trial, against its training: `python benchmarks/state.py`.

It measures each part by itself, many times, since the whole is less than the noise between two trainings: taking the
state of the baseline's trial out of training and turning it into bytes (the worker pauses), sending it through a pipe
as a worker does, and keeping it in a SQLite store on this disk (the coordinator's process, while the worker trains on).
Times are CPU seconds, and so hold on a machine that others use too.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import torch

from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.corpus.sources import load_corpus
from gpt_experiments.kernels import are_switched_on
from gpt_experiments.parameters import TrainingSetup
from gpt_experiments.tracking import Store
from gpt_experiments.training import TrialState, prepare_process
from gpt_experiments.training.learners import SoloLearner
from gpt_experiments.training.state import generator_state

CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20, help="how often each part is measured")
    times = parser.parse_args().times
    prepare_process(CPU, 1)
    corpus, trial = load_corpus(), Trial(training=TrainingSetup())
    learner = SoloLearner(trial, corpus, CPU)
    learner.take(3)
    data = state_of(learner, trial).to_bytes()
    parts = {
        "take it out and make bytes": timed(lambda: state_of(learner, trial).to_bytes(), times),
        "send it through a pipe": sending(data, times),
        "keep it in the store": keeping(corpus, data, times),
    }
    training = trial.training.steps * timed(lambda: learner.take(1), times)
    training += len(trial.training.evaluation_steps()) * timed(learner.evaluate, 1)
    saves = len(trial.training.evaluation_steps()) - 2  # all but the first and the last
    print(f"a state has {len(data) / 1e6:.2f} MB")
    print(f"a trial of {trial.training.steps:,} steps takes {training:.0f} s of CPU time")
    for name, seconds in parts.items():
        print(f"{name}: {1000 * seconds:.1f} ms, {saves} times: {100 * saves * seconds / training:.3f} % of the trial")
    total = saves * sum(parts.values())
    print(f"together: {total:.2f} s, {100 * total / training:.2f} % of the trial")


def state_of(learner: SoloLearner, trial: Trial) -> TrialState:
    weights, means, mean_squares = learner.weights_and_moments(0)
    return TrialState(
        step=3,
        group=(trial,),
        index=0,
        device="cpu",
        threads=1,
        kernels=are_switched_on(),
        evaluations=(),
        train_seconds=1.0,
        eval_seconds=1.0,
        weights=weights,
        means=means,
        mean_squares=mean_squares,
        generator=generator_state(CPU),
    )


def timed(work: Callable[[], object], times: int) -> float:
    """The median of the CPU seconds that it takes in this process."""
    seconds = []
    for _ in range(times):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return median(seconds)


def sending(data: bytes, times: int) -> float:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=receive, args=(theirs,), daemon=True)
    process.start()
    ours.send(b"")
    ours.recv()  # it has started

    def send() -> None:
        ours.send(data)
        ours.recv()

    seconds = timed(send, times)
    process.terminate()
    return seconds


def receive(connection: Connection) -> None:
    while True:
        connection.recv()
        connection.send(True)


def keeping(corpus: Corpus, data: bytes, times: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{Path(folder)}/mlflow.db")
        recorder = store.start_run(kind="trial", run_name="state", params={})
        step = iter(range(1_000_000))
        seconds = timed(lambda: recorder.keep_state(next(step), "group", data), times)
        recorder.finish()
    return seconds


if __name__ == "__main__":
    main()
