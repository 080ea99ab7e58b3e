"""A worker process: trains one trial after another and sends what happens to its parent."""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import torch

from gpt_experiments.artifacts import write_trial_files
from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import ExperimentError
from gpt_experiments.training import (
    Evaluation,
    Progress,
    TrainingResult,
    TrainingSummary,
    prepare_process,
    resolve_device,
    train,
)

_SECONDS_BETWEEN_PROGRESS: Final = 0.25


@dataclass(frozen=True, kw_only=True)
class Job:
    """A trial to train; its files are written below `folder`."""

    trial: Trial
    label: str
    folder: Path


@dataclass(frozen=True, kw_only=True)
class JobDone:
    """The trial is trained, its files lie in the job's folder, and its attention heads are scored."""

    summary: TrainingSummary
    scores_by_head: dict[str, list[float]]


@dataclass(frozen=True, kw_only=True)
class JobFailed:
    """The trial failed: the reason in one line, and a traceback where the fault is not the user's to understand."""

    reason: str
    traceback: str


Message = Progress | Evaluation | JobDone | JobFailed


def work(jobs: Connection, corpus: Corpus, device_name: str, threads: int) -> None:
    """Take jobs from the connection and send messages back, until None comes or the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what it means
    _die_with_parent()
    device = resolve_device(device_name)
    prepare_process(device, threads)
    while (job := jobs.recv()) is not None:
        try:
            jobs.send(_run(job, corpus, device, jobs))
        except BrokenPipeError:
            return
        except Exception as error:
            jobs.send(JobFailed(reason=_reason(error), traceback=traceback.format_exc()))


def _run(job: Job, corpus: Corpus, device: torch.device, messages: Connection) -> JobDone:
    training = train(job.trial, corpus, device)
    told_at = 0.0
    while True:
        try:
            event = next(training)
        except StopIteration as end:
            result: TrainingResult = end.value
            break
        if isinstance(event, Evaluation) or time.monotonic() - told_at > _SECONDS_BETWEEN_PROGRESS:
            messages.send(event)
            told_at = time.monotonic()
    scores_by_head = write_trial_files(result, job.trial, corpus, job.label, job.folder)
    return JobDone(summary=result.summary, scores_by_head=scores_by_head)


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    told = lines[0][:300] if lines else ""
    return told if isinstance(error, ExperimentError) else f"{type(error).__name__}: {told}".rstrip(": ")


def _die_with_parent() -> None:
    """End this process at once when its parent ends, however that happens: nobody would hear of its results."""
    parent = parent_process()
    if parent is None:
        return

    def wait() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, daemon=True, name="die-with-parent").start()
