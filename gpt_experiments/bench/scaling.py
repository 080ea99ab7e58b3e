"""Times the baseline's training steps with more seeds and with more worker processes."""

from __future__ import annotations

import dataclasses
import itertools
import multiprocessing
import time
from collections.abc import Sequence
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from threading import BrokenBarrierError

import torch

from gpt_experiments.bench.results import ScalingTimes
from gpt_experiments.bench.steps import PART_OF_CORPUS, WARM_UP, excerpt, prepared, time_events, with_warm_up
from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import BenchmarkError
from gpt_experiments.execution.group_training import reason
from gpt_experiments.execution.processes import serve_parent
from gpt_experiments.signals import deferred_signals
from gpt_experiments.training import Progress, devices_of, prepare_process, train, train_group


def time_seeds(
    trial: Trial, corpus: Corpus, device: torch.device, counts: Sequence[int], *, rounds: int
) -> ScalingTimes:
    """Time so many seeds of the trial as one batched model, as a sweep trains them on an accelerator."""
    short, longer = excerpt(corpus, PART_OF_CORPUS), with_warm_up(trial, device)
    rates: dict[int, list[float]] = {count: [] for count in counts}
    with prepared(device):
        for _, count in itertools.product(range(rounds), counts):
            trials = [dataclasses.replace(longer, seed=trial.seed + i) for i in range(count)]
            events = (event for index, event in train_group(trials, short, device) if index == 0)
            rates[count].append(count * _tokens(trial) / time_events(events, WARM_UP[device.type]))
    return ScalingTimes(what="seeds", tokens_per_second=rates)


def time_workers(
    trial: Trial, corpus: Corpus, device: torch.device, counts: Sequence[int], *, rounds: int
) -> ScalingTimes:
    """Time so many processes that each train the trial at the same time, as a sweep's workers do.

    Raises:
        BenchmarkError: a process fails.
    """
    short, longer = excerpt(corpus, PART_OF_CORPUS), with_warm_up(trial, device)
    rates: dict[int, list[float]] = {count: [] for count in counts}
    for _, count in itertools.product(range(rounds), counts):
        rates[count].append(_rate(longer, short, device, count))
    return ScalingTimes(what="workers", tokens_per_second=rates)


def _rate(trial: Trial, corpus: Corpus, device: torch.device, count: int) -> float:
    """Tokens a second of `count` processes together, each measured while all of them train."""
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(count), context.SimpleQueue()
    devices = devices_of(device)
    processes = [
        context.Process(target=_work, args=(trial, corpus, str(devices[i % len(devices)]), barrier, answers))
        for i in range(count)
    ]
    try:
        for process in processes:
            with deferred_signals():
                process.start()
        codes = _wait(processes)
    finally:
        for process in processes:  # those that wait for one that died, or all where this process was interrupted
            if process.is_alive():
                process.kill()
    if codes:
        raise BenchmarkError(
            f"{len(codes)} of {count} processes that train side by side ended with exit status {codes[0]}; "
            "if it is memory, try fewer --workers"
        )
    return sum(_answers(count, answers))


def _wait(processes: Sequence[SpawnProcess]) -> list[int]:
    """The exit statuses other than 0, once all have ended, or one has died and the others still wait for it."""
    waiting = list(processes)
    while waiting and not any(process.exitcode for process in processes):
        wait([process.sentinel for process in waiting])
        waiting = [process for process in waiting if process.is_alive()]
    return [process.exitcode for process in processes if process.exitcode]


def _answers(count: int, answers: SimpleQueue[float | str]) -> list[float]:
    """What each of `count` processes measured.

    Raises:
        BenchmarkError: one says why it failed.
    """
    given = [answers.get() for _ in range(count)]
    reasons = [answer for answer in given if isinstance(answer, str)]
    if reasons:
        raise BenchmarkError(f"a process that trains beside {count - 1} others failed: {max(reasons)}")
    return [answer for answer in given if isinstance(answer, float)]


def _work(trial: Trial, corpus: Corpus, device_name: str, barrier: Barrier, answers: SimpleQueue[float | str]) -> None:
    serve_parent()
    device = torch.device(device_name)
    prepare_process(device, 1)
    try:
        answers.put(_tokens_per_second(trial, corpus, device, barrier))
    except BrokenBarrierError:
        answers.put("")  # the one that broke it says why
    except Exception as error:
        barrier.abort()  # the others wait for this one
        answers.put(reason(error))


def _tokens_per_second(trial: Trial, corpus: Corpus, device: torch.device, barrier: Barrier) -> float:
    begun = (0, 0.0)
    for event in train(trial, corpus, device):
        if not isinstance(event, Progress):
            continue
        if begun[0] == 0 and event.step >= WARM_UP[device.type]:
            barrier.wait()
            begun = (event.step, time.perf_counter())
        ended = (event.step, time.perf_counter())
    return (ended[0] - begun[0]) * _tokens(trial) / (ended[1] - begun[1])


def _tokens(trial: Trial) -> int:
    return trial.training.batch_size * trial.shape.block_size
