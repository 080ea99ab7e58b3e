"""A pool of worker processes, each busy with at most one trial."""

from __future__ import annotations

import multiprocessing
import signal
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Generic, TypeVar

from gpt_experiments.corpus import Corpus
from gpt_experiments.sweep.worker import Job, JobDone, JobFailed, Message, work

_SECONDS_TO_END = 5.0

Key = TypeVar("Key")


@dataclass
class _Worker(Generic[Key]):
    process: SpawnProcess
    connection: Connection
    key: Key | None = None  # of the job that it is busy with


class WorkerPool(Generic[Key]):
    """Up to `size` processes, started when first needed; a process that dies fails its trial and is replaced.

    Args:
        size: processes at once.
        threads: CPU threads of each.
        device_name: what every worker trains on.
    """

    def __init__(self, corpus: Corpus, *, size: int, threads: int, device_name: str) -> None:
        self._corpus, self._size, self._threads, self._device_name = corpus, size, threads, device_name
        self._context = multiprocessing.get_context("spawn")  # a forked CUDA context or OpenMP pool would break
        self._workers: list[_Worker[Key]] = []

    @property
    def has_room(self) -> bool:
        return self.busy < self._size

    @property
    def busy(self) -> int:
        """Trials being trained."""
        return sum(worker.key is not None for worker in self._workers)

    def submit(self, key: Key, job: Job) -> None:
        """Give the job to an idle worker; messages about it will carry `key`. There must be room."""
        assert self.has_room
        idle = [worker for worker in self._workers if worker.key is None and worker.process.is_alive()]
        worker = idle[0] if idle else self._start()
        worker.key = key
        worker.connection.send(job)

    def messages(self, timeout: float) -> list[tuple[Key, Message]]:
        """What the workers sent, waiting at most `timeout` seconds for the first message."""
        by_handle = {worker.connection: worker for worker in self._workers}
        by_sentinel = {worker.process.sentinel: worker for worker in self._workers}
        ready = wait([*by_handle, *by_sentinel], timeout)
        received: list[tuple[Key, Message]] = []
        for worker in self._workers.copy():
            if worker.connection in ready or worker.process.sentinel in ready:
                received += self._receive(worker)
        return received

    def close(self) -> None:
        """Let idle workers end by themselves, and end the others."""
        for worker in self._workers:
            if worker.key is None and worker.process.is_alive():
                worker.connection.send(None)
            else:
                worker.process.terminate()
        for worker in self._workers:
            worker.process.join(_SECONDS_TO_END)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.connection.close()
        self._workers.clear()

    def _start(self) -> _Worker[Key]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=work, args=(theirs, self._corpus, self._device_name, self._threads), daemon=True
        )
        process.start()
        theirs.close()
        worker: _Worker[Key] = _Worker(process, ours)
        self._workers.append(worker)
        return worker

    def _receive(self, worker: _Worker[Key]) -> list[tuple[Key, Message]]:
        received: list[tuple[Key, Message]] = []
        try:
            while worker.connection.poll():
                message: Message = worker.connection.recv()
                assert worker.key is not None
                received.append((worker.key, message))
                if isinstance(message, JobDone | JobFailed):
                    worker.key = None
        except (EOFError, ConnectionError):
            worker.process.join(_SECONDS_TO_END)
        if not worker.process.is_alive():
            self._workers.remove(worker)
            if worker.key is not None:
                received.append((worker.key, JobFailed(reason=_death(worker.process), traceback="")))
        return received


def _death(process: SpawnProcess) -> str:
    code = process.exitcode or 0
    if code < 0:
        name = signal.Signals(-code).name
        hint = "; the system may be out of memory: try fewer --workers" if name == "SIGKILL" else ""
        return f"the worker process was killed by {name}{hint}"
    return f"the worker process ended with exit status {code}"
