"""Writes the files of trained trials: in the worker itself, or in other processes while the device goes on."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import os
import pickle
import queue
import shutil
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Final, Protocol

import torch

from gpt_experiments.artifacts import write_trial_files
from gpt_experiments.corpus import Corpus
from gpt_experiments.execution.group_training import reason
from gpt_experiments.execution.processes import END, death, serve_parent, worker_context
from gpt_experiments.execution.protocol import Event, Job, JobDone, JobFailed, TrialFiles
from gpt_experiments.scratch import scratch_folder
from gpt_experiments.training import TrainingResult, prepare_process

_MOST_WAITING_BYTES: Final = 2**30  # trained models in the worker's memory, until a writer takes them
_SECONDS_TO_END: Final = 5.0

Send = Callable[[str, Event], None]
"""Sends an event about the job of a key to the parent; called from any thread."""


@dataclass(frozen=True)
class FilesAt:
    """Files in a folder of this machine, which are read once."""

    path: Path

    @contextlib.contextmanager
    def folder(self) -> Iterator[Path]:
        try:
            yield self.path
        finally:
            shutil.rmtree(self.path)


@dataclass(frozen=True)
class FilesAsBytes:
    """Files by their paths below a folder, as they come from another machine."""

    contents: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def taken_from(cls, files: TrialFiles) -> FilesAsBytes:
        """Those of the files, which are read here and then removed."""
        with files.folder() as folder:
            found = sorted(path for path in folder.rglob("*") if path.is_file())
            return cls({path.relative_to(folder).as_posix(): path.read_bytes() for path in found})

    @contextlib.contextmanager
    def folder(self) -> Iterator[Path]:
        with scratch_folder() as folder:
            for name, content in self.contents.items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            yield folder


class FileWriter(Protocol):
    """Takes trained trials, and later sends JobDone or JobFailed for each."""

    def expect(self, trials: int) -> None: ...
    def write(self, job: Job, result: TrainingResult) -> None: ...
    def close(self) -> None: ...
    def abandon(self) -> None: ...


class WriteHere:
    """Writes at once, in this process: where the CPU trains, its cores are all busy anyway."""

    def __init__(self, corpus: Corpus, folder: Path, send: Send) -> None:
        self._corpus, self._folder, self._send = corpus, folder, send

    def expect(self, trials: int) -> None:
        """Nothing to prepare."""

    def write(self, job: Job, result: TrainingResult) -> None:
        """Write the trial's files, and send the result."""
        self._send(job.key, write_files(job, result, self._corpus, self._folder))

    def close(self) -> None:
        """Nothing is left to write."""

    def abandon(self) -> None:
        """Nothing is being written."""


class WriterPool:
    """Up to `size` processes of one thread that write files while the device trains; one that dies is replaced.

    Each process has a thread here, which hands it one trial after another. A trial whose writer dies or raises fails
    alone. Models wait in main memory, pickled; `write` blocks while they take more than a gibibyte.
    """

    def __init__(self, corpus: Corpus, folder: Path, size: int, send: Send) -> None:
        self._corpus, self._folder, self._size, self._send = corpus, folder, size, send
        self._orders: queue.SimpleQueue[tuple[Job, bytes] | None] = queue.SimpleQueue()
        self._waiting_bytes, self._changed = 0, threading.Condition()
        self._writers: list[_Writer] = []
        self._threads: list[threading.Thread] = []

    @property
    def processes(self) -> list[BaseProcess]:
        """The writers that have been started and not replaced."""
        return [writer.process for writer in self._writers if writer.process is not None]

    def expect(self, trials: int) -> None:
        """Start the writers that `trials` trials can use, so that they are ready when the trials are trained."""
        while len(self._writers) < min(self._size, trials):
            writer = _Writer(self._corpus, self._folder)
            thread = threading.Thread(target=self._serve, args=(writer,), daemon=True, name="writer")
            self._writers.append(writer)
            self._threads.append(thread)
            thread.start()

    def write(self, job: Job, result: TrainingResult) -> None:
        """Hand the trial over with its model in main memory; wait if too much is waiting already."""
        self.expect(1)
        try:
            # A copy, because a weight may be part of a tensor that holds those of the whole group; and plain bytes,
            # because tensors sent as such would take shared memory, which containers have little of.
            model = copy.deepcopy(result.model.to("cpu"))
            order = pickle.dumps((job, dataclasses.replace(result, model=model)))
        except Exception as error:
            self._send(job.key, JobFailed(reason=reason(error), traceback=traceback.format_exc()))
            return
        with self._changed:
            self._changed.wait_for(lambda: self._waiting_bytes < _MOST_WAITING_BYTES)
            self._waiting_bytes += len(order)
        self._orders.put((job, order))

    def close(self) -> None:
        """Wait until everything handed over is written, and end the writers."""
        for _ in self._threads:
            self._orders.put(None)
        for thread in self._threads:
            thread.join()

    def end_first(self) -> None:
        """From now on the parent's request to end ends the writers first, so that their folder can be removed."""
        if END is None:
            return

        def end(number: int, frame: FrameType | None) -> None:
            self.abandon()
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

        signal.signal(END, end)

    def abandon(self) -> None:
        """End the writers whatever they do; Python would wait for them at this process's end."""
        for process in self.processes:
            process.kill()

    def _serve(self, writer: _Writer) -> None:
        with contextlib.suppress(OSError):  # no process could start: `write` tries again, and reports why
            writer.start()
        while (taken := self._orders.get()) is not None:
            job, order = taken
            self._send(job.key, writer.write(order))
            with self._changed:
                self._waiting_bytes -= len(order)
                self._changed.notify_all()
        writer.close()


class _Writer:
    """One process that writes; used by one thread."""

    _starting = threading.Lock()  # multiprocessing keeps its children in a list that no lock guards

    def __init__(self, corpus: Corpus, folder: Path) -> None:
        self._corpus, self._folder = corpus, folder
        self.process: BaseProcess | None = None
        self._connection: Connection | None = None

    def start(self) -> None:
        context = worker_context()
        with self._starting:
            ours, theirs = context.Pipe()
            process = context.Process(target=_write_orders, args=(theirs, self._corpus, self._folder), daemon=True)
            process.start()
            theirs.close()
        self.process, self._connection = process, ours

    def write(self, order: bytes) -> JobDone | JobFailed:
        """Have the order written; returns the result. A process that died is replaced first."""
        if self.process is None or not self.process.is_alive():
            try:
                self.start()
            except OSError as error:
                return JobFailed(reason=reason(error), traceback=traceback.format_exc())
        assert self.process is not None
        assert self._connection is not None
        try:
            self._connection.send_bytes(order)
            answer: JobDone | JobFailed = self._connection.recv()
        except (EOFError, OSError):
            self.process.join(_SECONDS_TO_END)
            self._connection.close()
            what = "the process that writes the trial's files"
            return JobFailed(reason=death(self.process, what, "try fewer --workers"), traceback="")
        return answer

    def close(self) -> None:
        if self.process is not None and self._connection is not None:
            self._connection.close()
            self.process.join(_SECONDS_TO_END)


def write_files(job: Job, result: TrainingResult, corpus: Corpus, folder: Path) -> JobDone | JobFailed:
    """Write the trained trial's files, into a folder of its own below `folder`; an error is returned, not raised."""
    mine = folder / job.key
    try:
        scores_by_head = write_trial_files(result, job.trial, corpus, job.label, mine)
    except Exception as error:
        return JobFailed(reason=reason(error), traceback=traceback.format_exc())
    return JobDone(summary=result.summary, scores_by_head=scores_by_head, files=FilesAt(mine))


def _write_orders(orders: Connection, corpus: Corpus, folder: Path) -> None:
    """The writer process: one order after another, until the other end is closed."""
    serve_parent()
    prepare_process(torch.device("cpu"), 1)
    while True:
        try:
            job, result = pickle.loads(orders.recv_bytes())
        except EOFError:
            return
        orders.send(write_files(job, result, corpus, folder))
