"""Times training steps of each variant, plain and ours in turn, and finds the peak memory of each way."""

from __future__ import annotations

import dataclasses
import multiprocessing
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import torch

from gpt_experiments.bench.machine import synchronize
from gpt_experiments.bench.plain import PlainTraining
from gpt_experiments.bench.results import WAYS, StepTimes, Way
from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.training import Evaluation, Progress, TrainingResult, prepare_process, train

WARM_UP: Final = {"cpu": 2, "mps": 50, "cuda": 50}  # steps that are not timed: compiling, capturing, first touches
_STEPS_TO_PEAK: Final = 5  # three warm up, one captures, and one is a replay
PART_OF_CORPUS: Final = 20_000  # characters; the cost of a step does not depend on their number

Timer = Callable[[Trial, Corpus, torch.device], float]
"""Seconds of a step, as many steps as the trial has, after a warm-up."""


def time_steps(trial: Trial, label: str, corpus: Corpus, device: torch.device, *, rounds: int) -> StepTimes:
    """Time the trial's steps `rounds` times, first one way, then the other; which is first alternates."""
    short = excerpt(corpus, PART_OF_CORPUS)
    memory = {way: _in_process(peak_memory, way, trial, short, str(device)) for way in WAYS}
    seconds: dict[Way, list[float]] = {way: [] for way in WAYS}
    for number in range(rounds):
        for way in in_turn(number):
            seconds[way].append(TIMERS[way](trial, short, device))
    config = trial.model_config(corpus.vocab_size)
    tokens = trial.training.batch_size * trial.shape.block_size
    return StepTimes(
        label=label,
        n_params=config.n_params,
        tokens=tokens,
        flops=tokens * config.flops_per_token,
        seconds=seconds,
        memory=memory,
    )


def in_turn(number: int) -> tuple[Way, Way]:
    """Both ways, in the order for the round of that number, which alternates."""
    return WAYS if number % 2 == 0 else WAYS[::-1]


def excerpt(corpus: Corpus, length: int) -> Corpus:
    """The corpus's first `length` characters, and each of its characters once, so that the vocabulary is the same."""
    text = corpus.text[:length] + "".join(corpus.tokenizer.vocabulary)
    return Corpus.from_text(text, name=f"{corpus.name}, an excerpt")


def time_plain(trial: Trial, corpus: Corpus, device: torch.device) -> float:
    """Seconds of a plain step, on one CPU thread."""
    with _threads_and_kernels_restored():
        torch.set_num_threads(1)
        training = PlainTraining(trial, corpus, device)
        for _ in range(WARM_UP[device.type]):
            training.step()
        synchronize(device)
        started = time.perf_counter()
        for _ in range(trial.training.steps):
            training.step()
        synchronize(device)
        return (time.perf_counter() - started) / trial.training.steps


def time_ours(trial: Trial, corpus: Corpus, device: torch.device) -> float:
    """Seconds of a step of ours, evaluations left out, on one CPU thread."""
    with prepared(device):
        return time_events(train(with_warm_up(trial, device), corpus, device), WARM_UP[device.type])


TIMERS: Final[dict[Way, Timer]] = {"plain": time_plain, "ours": time_ours}


def time_events(events: Iterable[object], warm_up: int) -> float:
    """Seconds of a step, from the progress that training reports after `warm_up` steps."""
    begun: tuple[int, float] | None = None
    ended = (0, 0.0)
    for event in events:
        if not isinstance(event, Progress):
            continue
        ended = (event.step, time.perf_counter())
        if begun is None and event.step >= warm_up:
            begun = ended
    assert begun is not None
    return (ended[1] - begun[1]) / (ended[0] - begun[0])


def peak_memory(way: Way, trial: Trial, corpus: Corpus, device_name: str) -> int:
    """Bytes at the peak of a few steps and an evaluation in this process, which should be fresh."""
    device = torch.device(device_name)
    prepare_process(device, 1)
    steps = dataclasses.replace(trial.training, steps=_STEPS_TO_PEAK, eval_interval=_STEPS_TO_PEAK)
    few = dataclasses.replace(trial, training=steps)
    if way == "ours":
        _finish(train(few, corpus, device))
    else:
        training = PlainTraining(few, corpus, device)
        training.estimate_losses(batches=2)
        for _ in range(_STEPS_TO_PEAK):
            training.step()
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)  # with what a graph keeps for itself
    return _peak_of_process()


def _peak_of_process() -> int:
    """The most main memory that this process has held, bytes."""
    try:
        # Not ru_maxrss, which on Linux begins with what the parent process held.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except OSError:  # not Linux
        import resource  # nor Windows

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def with_warm_up(trial: Trial, device: torch.device) -> Trial:
    steps = trial.training.steps + WARM_UP[device.type]
    return dataclasses.replace(trial, training=dataclasses.replace(trial.training, steps=steps, eval_interval=steps))


def _finish(training: Generator[Progress | Evaluation, None, TrainingResult]) -> None:
    for _ in training:
        pass


def _in_process(function: Callable[..., int], *arguments: object) -> int:
    """What the function returns in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


@contextmanager
def prepared(device: torch.device) -> Iterator[None]:
    """Set the process up in the block as a sweep's worker: one thread, and kernels with repeatable results."""
    with _threads_and_kernels_restored():
        prepare_process(device, 1)
        yield


@contextmanager
def _threads_and_kernels_restored() -> Iterator[None]:
    threads, deterministic = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode(deterministic)
