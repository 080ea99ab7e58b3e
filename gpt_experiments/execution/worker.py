"""A worker process: trains one group of trials after another and sends events to its parent."""

from __future__ import annotations

import dataclasses
import os
import platform
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import torch

from gpt_experiments.corpus import Corpus
from gpt_experiments.execution.files import FileWriter, Send, WriteHere, WriterPool
from gpt_experiments.execution.group_training import BrokenDeviceError, Trainer, failure, train_jobs
from gpt_experiments.execution.processes import serve_parent
from gpt_experiments.execution.protocol import Job, JobFailed, JobStopped, Notice, Placed, StopJob, Trained, Usage
from gpt_experiments.execution.usage import UsageMeter
from gpt_experiments.kernels import KernelWarning, switch_kernels
from gpt_experiments.training import (
    CaptureWarning,
    Progress,
    SpeedWarning,
    TrainingResult,
    breaks_device,
    describe_device,
    devices_of,
    prepare_process,
    release_memory,
    resolve_device,
    train_group,
)

_SECONDS_BETWEEN_PROGRESS: Final = 0.25
_FOR_THE_USER: Final = (SpeedWarning, KernelWarning)


@dataclass(frozen=True, kw_only=True)
class WorkerSetup:
    """What a worker trains on, and with what.

    Args:
        device_name: what to train on; `cuda` is the device of the worker's place, where there are several.
        threads: CPU threads.
        folder: where the trials' files go, each trial's in a folder that is named after its job's key.
        writers: processes that write files while the device trains; 0 writes them in the worker, between groups.
        kernels: whether the kernels for the CPU are switched on, as they are in the parent. Where a server starts the
            workers, their environment is that of the sweep before.
        trainer: what trains a group; a function that another process can import.
    """

    device_name: str
    threads: int
    folder: Path
    writers: int = 0
    kernels: bool = True
    trainer: Trainer = train_group

    def at_place(self, place: int) -> WorkerSetup:
        """The setup of the worker at that place, from 0: the workers take turns at the devices."""
        devices = devices_of(torch.device(self.device_name))
        return dataclasses.replace(self, device_name=str(devices[place % len(devices)]))


@dataclass(frozen=True, kw_only=True)
class Free:
    """To the parent: the worker is ready for its next group; files of the last one may still be under way."""


Order = tuple[Job, ...] | StopJob | None
"""What the parent sends: a group of jobs, a request about one of them, or None when there is nothing more to do."""


def work(parent: Connection, corpus: Corpus, setup: WorkerSetup) -> None:
    """Take groups of jobs from the parent and send events back, until None comes or the parent is gone.

    It sends a job's key with each event, and Free whenever the next group may come. A process that may be damaged ends
    once the files of its last group are written, and a new one takes its place.
    """
    serve_parent()
    inbox, sending = _Inbox(parent), threading.Lock()

    def send(key: str, event: Any) -> None:
        with sending:
            parent.send((key, event))

    switch_kernels(on=setup.kernels)
    try:
        device = resolve_device(setup.device_name)
        prepare_process(device, setup.threads)
    except Exception as error:
        for job in inbox.next_group() or ():
            send(job.key, failure(error))
        return
    writer = _make_writer(corpus, setup, send)
    try:
        while (jobs := inbox.next_group()) is not None:
            writer.expect(len(jobs))
            if not train_one_group(jobs, corpus, device, setup.trainer, inbox.stop_of, writer, send):
                break
            with sending:
                parent.send(Free())
        writer.close()
    except BrokenDeviceError:
        writer.close()
        os._exit(1)  # an orderly end would use the device once more, and abort with a message on the user's screen
    except (BrokenPipeError, EOFError):
        writer.abandon()


class _Inbox:
    """What the parent has sent: groups one by one, and requests as soon as they are asked for."""

    def __init__(self, parent: Connection) -> None:
        self._parent = parent
        self._stopped: dict[str, StopJob] = {}

    def next_group(self) -> tuple[Job, ...] | None:
        """Wait for a group; None where there is no more. A request that comes now is too late for its job."""
        while isinstance(order := self._receive(), StopJob):
            pass
        self._stopped.clear()
        return order

    def stop_of(self, key: str) -> StopJob | None:
        """The request to end the job early, if there is one; call it while a group trains, when nothing else comes."""
        while self._parent.poll():
            order = self._receive()
            if not isinstance(order, StopJob):  # the parent is closing: it ends this process next
                raise EOFError
            self._stopped[order.key] = order
        return self._stopped.get(key)

    def _receive(self) -> Order:
        order: Order = self._parent.recv()
        return order


def train_one_group(
    jobs: Sequence[Job],
    corpus: Corpus,
    device: torch.device,
    trainer: Trainer,
    stop_of: Callable[[str], StopJob | None],
    writer: FileWriter,
    send: Send,
) -> bool:
    """Train the jobs together and send their events; returns whether the process may train another group.

    Raises:
        BrokenDeviceError: it must not use its device again, not even to end in order.
    """
    try:
        with warnings_as_notices(jobs[0].key, send) as sent:
            train_and_write(jobs, corpus, device, trainer, stop_of, writer, send)
        if device.type != "cpu":
            release_memory(device)  # the next group is of another size, and other workers share the device
    except RuntimeError as error:
        if breaks_device(error):
            raise BrokenDeviceError(str(error)) from error
        raise
    # After a failed capture PyTorch may not be clean, although it is cleared; every version differs.
    return CaptureWarning not in sent


@contextmanager
def warnings_as_notices(key: str, send: Send) -> Iterator[set[type[Warning]]]:
    """Inside, a warning that is meant for the user is sent as a notice about the job of that key.

    It yields the kinds that were sent so far.
    """
    sent: set[type[Warning]] = set()
    with warnings.catch_warnings():
        show = warnings.showwarning

        def showwarning(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, _FOR_THE_USER):
                sent.add(category)
                send(key, Notice(text=str(message)))
            else:
                show(message, category, *where, **more)

        for kind in _FOR_THE_USER:
            warnings.simplefilter("always", kind)
        warnings.showwarning = showwarning
        yield sent


def train_and_write(
    jobs: Sequence[Job],
    corpus: Corpus,
    device: torch.device,
    trainer: Trainer,
    stop_of: Callable[[str], StopJob | None],
    writer: FileWriter,
    send: Send,
) -> None:
    """Train the jobs together, send their events, of progress a few a second, and hand results to the writer."""
    for _ in train_in_steps(jobs, corpus, device, trainer, stop_of, writer, send):
        pass


def train_in_steps(
    jobs: Sequence[Job],
    corpus: Corpus,
    device: torch.device,
    trainer: Trainer,
    stop_of: Callable[[str], StopJob | None],
    writer: FileWriter,
    send: Send,
) -> Iterator[None]:
    """Do as `train_and_write`, but pause after every step of the training. It first tells where each job trains."""
    sent_at: dict[str, float] = {}
    meter, steps = UsageMeter(device), dict.fromkeys((job.key for job in jobs), 0)  # of the trials that still train
    measured: dict[str, int] = {}  # the step of each trial at the latest measurement

    def send_usage() -> None:
        values = meter.sample(len(jobs))
        for key, step in steps.items():
            send(key, Usage(step=step, values=values))
        measured.update(steps)

    placed = Placed(hardware=describe_device(device), threads=torch.get_num_threads(), host=platform.node())
    for job in jobs:
        send(job.key, placed)
    for job, step in train_jobs(jobs, corpus, device, trainer, stop_of):
        now = time.monotonic()
        if isinstance(step, Progress):
            steps[job.key] = step.step
            if meter.is_due():
                send_usage()
        if isinstance(step, TrainingResult):
            if measured.get(job.key) != steps[job.key]:
                send_usage()
            send(job.key, Trained(summary=step.summary, replicas=step.replicas))
            writer.write(job, step)
        elif not isinstance(step, Progress) or now - sent_at.get(job.key, 0.0) > _SECONDS_BETWEEN_PROGRESS:
            send(job.key, step)
            sent_at[job.key] = now
        if isinstance(step, TrainingResult | JobStopped | JobFailed):
            del steps[job.key]
        del step  # a result is freed as soon as it is handed over
        yield


def _make_writer(corpus: Corpus, setup: WorkerSetup, send: Send) -> FileWriter:
    if not setup.writers:
        return WriteHere(corpus, setup.folder, send)
    pool = WriterPool(corpus, setup.folder, setup.writers, send)
    pool.end_first()
    return pool
