"""What runs on the machines of a Ray cluster: an actor that trains one group of trials after another."""

from __future__ import annotations

import contextlib
import dataclasses
import pickle
import platform
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import ray

import gpt_experiments
from gpt_experiments.quiet import let_threads_sleep
from gpt_experiments.scratch import scratch_folder

if TYPE_CHECKING:
    import torch

    from gpt_experiments.corpus import Corpus
    from gpt_experiments.execution.files import FileWriter
    from gpt_experiments.execution.group_training import Trainer
    from gpt_experiments.execution.protocol import Event, Job, StopJob

# What is imported from PyTorch's side of the program is imported in functions: how its threads wait is decided before.

METHOD_GROUPS: Final = {"training": 1, "telling": 1, "requests": 1}
"""The groups of an actor's methods, with how many threads each has."""
_MOST_AT_ONCE: Final = 200  # messages of one answer


@dataclass(frozen=True, kw_only=True)
class RayWorkerSetup:
    """What an actor trains on, and with what.

    Args:
        device_name: `cpu`, or `cuda` for the GPU that Ray gives to it.
        threads, writers, kernels: as of a `WorkerSetup`.
        versions: of this program and of PyTorch in the process that asks for the actor.
        trainer: what trains a group, pickled: a function that another process can import.
    """

    device_name: str
    threads: int
    writers: int
    kernels: bool
    versions: tuple[str, str]
    trainer: bytes


@dataclass(frozen=True, kw_only=True)
class Started:
    """How an actor has started: where, and why it cannot train; `problem` is None if it can."""

    host: str
    problem: str | None = None


class RayWorker:
    """A worker; Ray keeps it in a process of its own.

    It has a thread that trains, one that hands out events, and one that takes requests: Ray calls each of these groups
    of methods in its own thread. The process ends with the sweep, or when Ray loses it.
    """

    def __init__(self, corpus: Corpus, setup: RayWorkerSetup) -> None:
        let_threads_sleep()
        self._corpus, self._setup = corpus, setup
        self._resources = contextlib.ExitStack()
        self._outbox: list[tuple[str, Event]] = []
        self._changed = threading.Condition()
        self._requests: dict[str, StopJob] = {}
        self._device: torch.device
        self._writer: FileWriter
        self._trainer: Trainer

    @ray.method(concurrency_group="training")
    def start(self) -> Started:
        """Get ready to train. In the thread that trains, because some of what it sets belongs to a thread."""
        from gpt_experiments.execution.files import WriteHere, WriterPool
        from gpt_experiments.execution.group_training import reason
        from gpt_experiments.kernels import switch_kernels
        from gpt_experiments.training import devices_of, prepare_process, resolve_device

        try:
            require_versions(self._setup.versions)
            self._trainer = pickle.loads(self._setup.trainer)
            switch_kernels(on=self._setup.kernels)
            self._device = devices_of(resolve_device(self._setup.device_name))[0]
            prepare_process(self._device, self._setup.threads)
            folder = self._resources.enter_context(scratch_folder())
        except Exception as error:
            return Started(host=platform.node(), problem=reason(error))
        writers = self._setup.writers
        self._writer = (
            WriterPool(self._corpus, folder, writers, self._send)
            if writers
            else WriteHere(self._corpus, folder, self._send)
        )
        return Started(host=platform.node())

    @ray.method(concurrency_group="training")
    def train(self, jobs: Sequence[Job]) -> bool:
        """Train the jobs together; returns whether this process may train another group.

        What happens to the jobs comes from `events`; files of the last ones may still be under way.
        """
        from gpt_experiments.execution.group_training import BrokenDeviceError
        from gpt_experiments.execution.worker import train_one_group

        trainer, stop_of, writer = self._trainer, self._requests.get, self._writer
        writer.expect(len(jobs))
        try:
            is_sound = train_one_group(jobs, self._corpus, self._device, trainer, stop_of, writer, self._send)
        except BrokenDeviceError:
            is_sound = False
        if not is_sound:
            writer.close()
        return is_sound

    @ray.method(concurrency_group="telling")
    def events(self, wait: float, patience: float) -> list[tuple[str, Event]]:
        """The new events, each with its job's key; they are not kept here.

        Args:
            wait: how long to wait for the first one, seconds.
            patience: how long news of progress may wait for company, seconds.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._outbox, wait)
            self._changed.wait_for(self._is_urgent, patience)
            out, self._outbox = self._outbox[:_MOST_AT_ONCE], self._outbox[_MOST_AT_ONCE:]
        return out

    @ray.method(concurrency_group="requests")
    def stop(self, request: StopJob) -> None:
        """Note a request about a job that trains."""
        self._requests[request.key] = request

    @ray.method(concurrency_group="requests")
    def leave(self) -> None:
        """Remove what is on disk; the actor is ended next."""
        self._resources.close()

    def _is_urgent(self) -> bool:
        from gpt_experiments.training import Progress

        return len(self._outbox) >= _MOST_AT_ONCE or any(not isinstance(event, Progress) for _, event in self._outbox)

    def _send(self, key: str, event: Any) -> None:
        from gpt_experiments.execution.files import FilesAsBytes
        from gpt_experiments.execution.group_training import failure
        from gpt_experiments.execution.protocol import JobDone

        if isinstance(event, JobDone):
            try:
                event = dataclasses.replace(event, files=FilesAsBytes.taken_from(event.files))
            except OSError as error:
                event = failure(error)
        with self._changed:
            self._outbox.append((key, event))
            self._changed.notify_all()


def versions_here() -> tuple[str, str]:
    """The versions that all machines of a sweep must share: of this program and of PyTorch, whatever its build."""
    import torch

    return gpt_experiments.__version__, torch.__version__.partition("+")[0]


def require_versions(wanted: tuple[str, str]) -> None:
    """Make sure that this process has the versions of the sweep's process: a run names those.

    Raises:
        ConfigError: it has others.
    """
    from gpt_experiments.errors import ConfigError

    for name, here, there in zip(("gpt_experiments", "torch"), versions_here(), wanted, strict=True):
        if here != there:
            raise ConfigError(
                f"{platform.node()} has {name} {here}, but the sweep runs with {there}; every machine of the cluster "
                "needs the same version"
            )
