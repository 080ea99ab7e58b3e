"""A worker process: trains one group of trials after another and sends what happens to its parent."""

from __future__ import annotations

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
from gpt_experiments.sweep.group_training import Trainer, train_jobs
from gpt_experiments.sweep.messages import Free, Job, Message, Notice, Trained
from gpt_experiments.sweep.processes import serve_parent
from gpt_experiments.sweep.writers import FileWriter, Tell, WriteHere, WriterPool
from gpt_experiments.training import (
    CaptureWarning,
    Progress,
    TrainingResult,
    prepare_process,
    release_memory,
    resolve_device,
    train_group,
)

_SECONDS_BETWEEN_PROGRESS: Final = 0.25


@dataclass(frozen=True, kw_only=True)
class WorkerSetup:
    """What a worker trains on, and with what.

    Args:
        device_name: what to train on.
        threads: CPU threads.
        writers: processes that write files while the device trains; 0 writes them in the worker, between groups.
        trainer: what trains a group; a function that a spawned process can import.
    """

    device_name: str
    threads: int
    writers: int = 0
    trainer: Trainer = train_group


def work(parent: Connection, corpus: Corpus, setup: WorkerSetup) -> None:
    """Take groups of jobs from the parent and send messages back, until None comes or the parent is gone.

    What is sent is a job's key with a message, and Free whenever the next group may come.
    """
    serve_parent()
    device = resolve_device(setup.device_name)
    prepare_process(device, setup.threads)
    sending = threading.Lock()

    def tell(key: int, message: Message) -> None:
        with sending:
            parent.send((key, message))

    writer = _make_writer(corpus, setup, tell)
    try:
        while (jobs := parent.recv()) is not None:
            writer.expect(len(jobs))
            with _warnings_as_notices(jobs[0].key, tell):
                _train(jobs, corpus, device, setup.trainer, writer, tell)
            if device.type != "cpu":
                release_memory(device)  # the next group is of another size, and other workers share the device
            with sending:
                parent.send(Free())
        writer.close()
    except (BrokenPipeError, EOFError):
        return


@contextmanager
def _warnings_as_notices(key: int, tell: Tell) -> Iterator[None]:
    """Inside, a warning that is meant for the user goes to the parent, as a notice about the job of that key."""
    show = warnings.showwarning

    def showwarning(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, CaptureWarning):
            tell(key, Notice(text=str(message)))
        else:
            show(message, category, *where, **more)

    with warnings.catch_warnings():  # which puts back what is changed inside
        warnings.simplefilter("always", CaptureWarning)  # also where warnings are hidden
        warnings.showwarning = showwarning
        yield


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
