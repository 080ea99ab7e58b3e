"""A worker process: trains one group of trials after another and sends what happens to its parent."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final

import torch

from gpt_experiments.corpus import Corpus
from gpt_experiments.model.fused import KernelWarning
from gpt_experiments.sweep.group_training import BrokenDeviceError, Trainer, failure, train_jobs
from gpt_experiments.sweep.messages import Free, Job, Message, Notice, Trained
from gpt_experiments.sweep.processes import serve_parent
from gpt_experiments.sweep.writers import FileWriter, Tell, WriteHere, WriterPool
from gpt_experiments.training import (
    CaptureWarning,
    Progress,
    SpeedWarning,
    TrainingResult,
    breaks_device,
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
        writers: processes that write files while the device trains; 0 writes them in the worker, between groups.
        trainer: what trains a group; a function that a spawned process can import.
    """

    device_name: str
    threads: int
    writers: int = 0
    trainer: Trainer = train_group

    def at_place(self, place: int) -> WorkerSetup:
        """Of the worker at that place, from 0: the workers take turns at the devices."""
        devices = devices_of(torch.device(self.device_name))
        return dataclasses.replace(self, device_name=str(devices[place % len(devices)]))


def work(parent: Connection, corpus: Corpus, setup: WorkerSetup) -> None:
    """Take groups of jobs from the parent and send messages back, until None comes or the parent is gone.

    What is sent is a job's key with a message, and Free whenever the next group may come. Where the process should not
    be trusted with another group it ends once the files of the last one are written: a fresh one then takes its place.
    """
    serve_parent()
    sending = threading.Lock()

    def tell(key: int, message: Message) -> None:
        with sending:
            parent.send((key, message))

    try:
        device = resolve_device(setup.device_name)
        prepare_process(device, setup.threads)
    except Exception as error:
        for job in parent.recv() or ():
            tell(job.key, failure(error))
        return
    writer = _make_writer(corpus, setup, tell)
    try:
        while (jobs := parent.recv()) is not None:
            writer.expect(len(jobs))
            if not _train_group(jobs, corpus, device, setup.trainer, writer, tell):
                break
            with sending:
                parent.send(Free())
        writer.close()
    except (BrokenPipeError, EOFError):
        return


def _train_group(
    jobs: Sequence[Job], corpus: Corpus, device: torch.device, trainer: Trainer, writer: FileWriter, tell: Tell
) -> bool:
    """Train the jobs together and tell what becomes of each; whether the process may train another group."""
    try:
        with _warnings_as_notices(jobs[0].key, tell) as told:
            _train(jobs, corpus, device, trainer, writer, tell)
        if device.type != "cpu":
            release_memory(device)  # the next group is of another size, and other workers share the device
    except (BrokenDeviceError, RuntimeError) as error:
        if not isinstance(error, BrokenDeviceError) and not breaks_device(error):
            raise
        writer.close()
        os._exit(1)  # an orderly end would use the device once more, and abort with a message on the user's screen
    # What a capture that fails leaves behind in PyTorch is cleared away, but not for certain: every version differs.
    return CaptureWarning not in told


@contextmanager
def _warnings_as_notices(key: int, tell: Tell) -> Iterator[set[type[Warning]]]:
    """Inside, a warning that is meant for the user goes to the parent, as a notice about the job of that key.

    What comes with it is the kinds that were sent so far.
    """
    sent: set[type[Warning]] = set()
    with warnings.catch_warnings():
        show = warnings.showwarning

        def showwarning(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, _FOR_THE_USER):
                sent.add(category)
                tell(key, Notice(text=str(message)))
            else:
                show(message, category, *where, **more)

        for kind in _FOR_THE_USER:
            warnings.simplefilter("always", kind)
        warnings.showwarning = showwarning
        yield sent


def _make_writer(corpus: Corpus, setup: WorkerSetup, tell: Tell) -> FileWriter:
    if not setup.writers:
        return WriteHere(corpus, tell)
    pool = WriterPool(corpus, setup.writers, tell)
    pool.end_with_sigterm()
    return pool


def _train(
    jobs: Sequence[Job], corpus: Corpus, device: torch.device, trainer: Trainer, writer: FileWriter, tell: Tell
) -> None:
    told_at: dict[int, float] = {}
    for job, step in train_jobs(jobs, corpus, device, trainer):
        if isinstance(step, TrainingResult):
            tell(job.key, Trained(best_val_loss=step.summary.best_val_loss))
            writer.write(job, step)
            continue
        now = time.monotonic()
        if isinstance(step, Progress) and now - told_at.get(job.key, 0.0) <= _SECONDS_BETWEEN_PROGRESS:
            continue
        tell(job.key, step)
        told_at[job.key] = now
