"""A pool of worker processes, each training at most one group of trials."""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Final

from gpt_experiments.corpus import Corpus
from gpt_experiments.sweep.messages import Free, Job, JobDone, JobFailed, Message, Notice
from gpt_experiments.sweep.processes import death
from gpt_experiments.sweep.signals import deferred_signals
from gpt_experiments.sweep.worker import WorkerSetup, work

_SECONDS_TO_END: Final = 5.0


@dataclass
class _Worker:
    """A process; `training` while it is not ready for another group, `keys` of its jobs that have not ended.

    Its `place` is the lowest number that no other has; which of several devices it trains on follows from that.
    """

    place: int
    process: SpawnProcess
    connection: Connection
    training: bool = False
    keys: set[int] = field(default_factory=set)


class WorkerPool:
    """Up to `size` processes, started when first needed; one that dies fails its trials and is replaced."""

    def __init__(self, corpus: Corpus, setup: WorkerSetup, *, size: int) -> None:
        self._corpus, self._setup, self._size = corpus, setup, size
        self._context = multiprocessing.get_context("spawn")  # a forked CUDA context or OpenMP pool would break
        self._workers: list[_Worker] = []
        self._noticed: set[str] = set()  # what one worker notices, the others mostly do as well
        atexit.register(self.close)  # what is no daemon would be waited for at exit

    @property
    def has_room(self) -> bool:
        return sum(worker.training for worker in self._workers) < self._size

    def submit(self, jobs: Sequence[Job]) -> None:
        """Give the jobs, which train as one, to a worker that is ready. There must be room."""
        assert self.has_room
        ready = [worker for worker in self._workers if not worker.training and worker.process.is_alive()]
        worker = ready[0] if ready else self._start()
        worker.training = True
        worker.keys |= {job.key for job in jobs}
        with contextlib.suppress(BrokenPipeError):  # it has died just now: `messages` finds that, and fails the jobs
            worker.connection.send(tuple(jobs))

    def messages(self, timeout: float) -> list[tuple[int, Message]]:
        """What the workers sent, each with its job's key; waits at most `timeout` seconds for the first message.

        The last message about a job is JobDone or JobFailed. A notice in words that were given before is left out.
        """
        if not self._workers:
            time.sleep(timeout)  # what waits for nothing returns at once on Windows
            return []
        by_handle = {worker.connection: worker for worker in self._workers}
        by_sentinel = {worker.process.sentinel: worker for worker in self._workers}
        ready = wait([*by_handle, *by_sentinel], timeout)
        received: list[tuple[int, Message]] = []
        for worker in self._workers.copy():
            if worker.connection in ready or worker.process.sentinel in ready:
                received += self._receive(worker)
        return received

    def close(self) -> None:
        """Let idle workers end by themselves, and end the others."""
        atexit.unregister(self.close)
        for worker in self._workers:
            if worker.keys or not worker.process.is_alive():
                worker.process.terminate()
            else:
                with contextlib.suppress(BrokenPipeError):
                    worker.connection.send(None)
        for worker in self._workers:
            worker.process.join(_SECONDS_TO_END)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.connection.close()
        self._workers.clear()

    def _start(self) -> _Worker:
        taken = {worker.place for worker in self._workers}
        place = next(number for number in range(len(taken) + 1) if number not in taken)
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
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

    def _receive(self, worker: _Worker) -> list[tuple[int, Message]]:
        received: list[tuple[int, Message]] = []
        try:
            while worker.connection.poll():
                sent: Free | tuple[int, Message] = worker.connection.recv()
                if isinstance(sent, Free):
                    worker.training = False
                    continue
                key, message = sent
                if isinstance(message, Notice):
                    if message.text in self._noticed:
                        continue
                    self._noticed.add(message.text)
                received.append(sent)
                if isinstance(message, JobDone | JobFailed):
                    worker.keys.discard(key)
        except (EOFError, ConnectionError):
            worker.process.join(_SECONDS_TO_END)
        if not worker.process.is_alive():
            self._workers.remove(worker)
            reason = death(worker.process, "the worker process", "try fewer --workers")
            received += [(key, JobFailed(reason=reason, traceback="")) for key in sorted(worker.keys)]
        return received
