"""Runs trials in processes of this machine, each of which trains at most one group at a time."""

from __future__ import annotations

import atexit
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Final

from gpt_experiments.corpus import Corpus
from gpt_experiments.execution.group_training import Trainer
from gpt_experiments.execution.processes import death, end, worker_context
from gpt_experiments.execution.protocol import Event, Hardware, Job, JobDone, JobFailed, JobStopped, Notice, StopJob
from gpt_experiments.execution.worker import Free, Order, WorkerSetup, work
from gpt_experiments.kernels import are_switched_on
from gpt_experiments.scratch import scratch_folder
from gpt_experiments.signals import deferred_signals
from gpt_experiments.training import train_group

_SECONDS_TO_END: Final = 5.0


@dataclass
class _Worker:
    """A process.

    Attributes:
        place: the lowest number that no other worker has; it decides which of several devices the worker trains on.
        training: whether it is not ready for another group.
        keys: of its jobs that have not ended.
    """

    place: int
    process: BaseProcess
    connection: Connection
    training: bool = False
    keys: set[str] = field(default_factory=set)

    def send(self, order: Order) -> None:
        """Send the order. If the process has just died, `events` notices that and fails its jobs."""
        with contextlib.suppress(BrokenPipeError):
            self.connection.send(order)


class LocalExecutor:
    """As many processes as the hardware says, started when first needed; one that dies fails its trials.

    Args:
        trainer: what trains a group; a function that another process can import.
    """

    def __init__(self, corpus: Corpus, hardware: Hardware, trainer: Trainer = train_group) -> None:
        self.hardware = hardware
        self._corpus, self._context = corpus, worker_context()
        self._folder = contextlib.ExitStack()
        self._setup = WorkerSetup(
            device_name=hardware.device,
            threads=hardware.threads,
            folder=self._folder.enter_context(scratch_folder()),
            writers=hardware.writers,
            kernels=are_switched_on(),
            trainer=trainer,
        )
        self._workers: list[_Worker] = []
        self._noticed: set[str] = set()  # shown once, because most workers send the same ones
        atexit.register(self.close)  # Python would wait at exit for a process that is not a daemon

    @property
    def has_room(self) -> bool:
        return sum(worker.training for worker in self._workers) < self.hardware.workers

    def submit(self, jobs: Sequence[Job]) -> None:
        assert self.has_room
        ready = [worker for worker in self._workers if not worker.training and worker.process.is_alive()]
        worker = ready[0] if ready else self._start()
        worker.training = True
        worker.keys |= {job.key for job in jobs}
        worker.send(tuple(jobs))

    def stop(self, key: str, *, keep: bool = False) -> None:
        for worker in self._workers:
            if key in worker.keys:
                worker.send(StopJob(key=key, keep=keep))

    def events(self, timeout: float) -> list[tuple[str, Event]]:
        if not self._workers:
            time.sleep(timeout)  # on Windows a wait for nothing returns at once
            return []
        ready = wait([w for worker in self._workers for w in (worker.connection, worker.process.sentinel)], timeout)
        received: list[tuple[str, Event]] = []
        for worker in self._workers.copy():
            if worker.connection in ready or worker.process.sentinel in ready:
                received += self._receive(worker)
        return received

    def close(self) -> None:
        """Let idle workers end by themselves, and end the others."""
        atexit.unregister(self.close)
        for worker in self._workers:
            if worker.keys or not worker.process.is_alive():
                end(worker.process)
            else:
                worker.send(None)
        for worker in self._workers:
            worker.process.join(_SECONDS_TO_END)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.connection.close()
        self._workers.clear()
        self._folder.close()

    def _start(self) -> _Worker:
        taken = {worker.place for worker in self._workers}
        place = next(number for number in range(len(taken) + 1) if number not in taken)
        ours, theirs = self._context.Pipe()
        process: BaseProcess = self._context.Process(
            target=work,
            args=(theirs, self._corpus, self._setup.at_place(place)),
            daemon=not self._setup.writers,  # a daemon must not have children
        )
        with deferred_signals():
            process.start()
        theirs.close()
        worker = _Worker(place, process, ours)
        self._workers.append(worker)
        return worker

    def _receive(self, worker: _Worker) -> list[tuple[str, Event]]:
        received: list[tuple[str, Event]] = []
        try:
            while worker.connection.poll():
                sent: Free | tuple[str, Event] = worker.connection.recv()
                if isinstance(sent, Free):
                    worker.training = False
                    continue
                key, event = sent
                if isinstance(event, Notice):
                    if event.text in self._noticed:
                        continue
                    self._noticed.add(event.text)
                received.append(sent)
                if isinstance(event, JobDone | JobStopped | JobFailed):
                    worker.keys.discard(key)
        except (EOFError, ConnectionError):
            worker.process.join(_SECONDS_TO_END)
        if not worker.process.is_alive():
            self._workers.remove(worker)
            reason = death(worker.process, "the worker process", "try fewer --workers")
            received += [(key, JobFailed(reason=reason, traceback="")) for key in sorted(worker.keys)]
        return received
