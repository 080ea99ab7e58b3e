"""Runs trials on the machines of a Ray cluster: as many at a time as it has room for, now and later."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import pickle
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import ray

from gpt_experiments.corpus import Corpus
from gpt_experiments.execution.group_training import Trainer
from gpt_experiments.execution.protocol import (
    Cluster,
    Event,
    Hardware,
    Job,
    JobDone,
    JobFailed,
    JobStopped,
    Notice,
    StopJob,
)
from gpt_experiments.execution.ray_connection import ClusterError, connect, disconnect
from gpt_experiments.execution.ray_loss import why_lost, why_not_started
from gpt_experiments.execution.ray_memory import JobMemory
from gpt_experiments.execution.ray_worker import METHOD_GROUPS, RayWorker, RayWorkerSetup, Started, versions_here
from gpt_experiments.kernels import are_switched_on
from gpt_experiments.scratch import scratch_folder
from gpt_experiments.training import train_group

_FEW: Final = 4  # workers that a cluster without room is asked for; an autoscaler sees them, and starts machines
_MOST_BAD_STARTS: Final = 3  # in a row
_SECONDS_IDLE: Final = 60.0  # until a worker with nothing to do is given back
_SECONDS_WITHOUT_ROOM: Final = 60.0  # until the user gets a notice of it
_SECONDS_OF_A_WAIT: Final = 20.0  # of a worker for something to tell
_SECONDS_TO_LEAVE: Final = 2.0


@dataclass(eq=False)
class _Worker:
    """An actor.

    Attributes:
        starting: what its `start` will return; None once it has.
        training: what its `train` will return; None while it has no group.
        telling: what its `events` will return; None until it has started.
        host: its machine.
        jobs: those that have not ended, by key.
        is_sound: whether it may train another group.
        idle_since: when it was last given nothing to do.
    """

    actor: Any
    starting: Any
    training: Any = None
    telling: Any = None
    host: str = ""
    jobs: dict[str, Job] = field(default_factory=dict)
    is_sound: bool = True
    idle_since: float = 0.0

    @property
    def is_ready(self) -> bool:
        return self.starting is None and self.training is None and self.is_sound

    @property
    def awaited(self) -> list[Any]:
        return [one for one in (self.starting, self.training, self.telling) if one is not None]


class RayExecutor:
    """Actors that Ray places where there is room; one that is lost leaves its trials to others.

    Args:
        hardware: with its `cluster`.
        trainer: what trains a group; a function that other machines can import.
    """

    def __init__(self, corpus: Corpus, hardware: Hardware, trainer: Trainer = train_group) -> None:
        assert hardware.cluster is not None
        self.hardware = hardware
        self._cluster: Cluster = hardware.cluster
        places = hardware.workers
        connect(self._cluster.address, cpus=places * self._cluster.cpus, gpus=math.ceil(places * self._cluster.gpus))
        setup = RayWorkerSetup(
            device_name=hardware.device,
            threads=hardware.threads,
            writers=hardware.writers,
            kernels=are_switched_on(),
            versions=versions_here(),
            trainer=pickle.dumps(trainer),
        )
        self._given = (ray.put(corpus), setup)  # the corpus once, however many workers come
        remote: Any = ray.remote  # its types know no groups of methods
        self._kind = remote(num_cpus=self._cluster.cpus, num_gpus=self._cluster.gpus, concurrency_groups=METHOD_GROUPS)(
            RayWorker
        )
        self._resources = contextlib.ExitStack()
        self._memory = JobMemory(self._resources.enter_context(scratch_folder()))
        self._workers: list[_Worker] = []
        self._waiting: deque[tuple[Job, ...]] = deque()  # groups whose worker was lost
        self._happened: list[tuple[str, Event]] = []
        self._submitted = 0  # trials
        self._bad_starts = 0
        self._without_room_since: float | None = None
        self._noticed: set[str] = set()
        self._ask_for_workers()

    @property
    def has_room(self) -> bool:
        return len(self._ready) > len(self._waiting)

    def submit(self, jobs: Sequence[Job]) -> None:
        assert self.has_room
        self._submitted += len(jobs)
        self._give(self._ready[0], jobs)

    def stop(self, key: str, *, keep: bool = False) -> None:
        request = StopJob(key=key, keep=keep)
        self._memory.note_stop(request)
        for worker in self._workers:
            if key in worker.jobs:
                worker.actor.stop.remote(request)
        for group in list(self._waiting):
            if any(job.key == key for job in group):
                self._waiting.remove(group)
                self._wait_for_another(group, "its worker was lost")

    def events(self, timeout: float) -> list[tuple[str, Event]]:
        """Return the new events; those that a lost worker had sent about a job do not come again.

        Raises:
            ClusterError: no worker can start, or the connection to the cluster is lost.
        """
        self._keep_up()
        awaited = {one: worker for worker in self._workers for one in worker.awaited}
        if not awaited:
            time.sleep(timeout)
        else:
            wait = 0.0 if self._happened else timeout
            ready, _ = ray.wait(list(awaited), num_returns=1, timeout=wait)
            if ready:
                ready, _ = ray.wait(list(awaited), num_returns=len(awaited), timeout=0)
            for one in ready:
                self._take(awaited[one], one)
        self._keep_up()
        happened, self._happened = self._happened, []
        return happened

    def close(self) -> None:
        """End all workers, and the connection; a Ray that was started here ends, too."""
        self._drop(list(self._workers))
        disconnect()
        self._resources.close()

    # What comes from the workers

    def _take(self, worker: _Worker, one: Any) -> None:
        if worker not in self._workers:
            return  # lost a moment ago
        try:
            answer = ray.get(one)
        except ray.exceptions.RayTaskError as error:  # a bug, or jobs that the machine could not read
            self._fail(worker, str(error.cause or error), str(error))
            return
        except ray.exceptions.RayError as error:
            self._lose(worker, error)
            return
        if one == worker.starting:  # equal, but through a client not the same object
            self._take_start(worker, answer)
        elif one == worker.training:
            worker.training, worker.is_sound, worker.idle_since = None, answer, time.monotonic()
        else:
            for key, event in answer:
                self._tell(worker, key, event)
            self._listen(worker)

    def _take_start(self, worker: _Worker, started: Started) -> None:
        worker.starting, worker.host, worker.idle_since = None, started.host, time.monotonic()
        if started.problem is None:
            self._bad_starts, self._without_room_since = 0, None
            self._listen(worker)
            return
        self._drop([worker])
        self._note_bad_start(started.problem)

    def _tell(self, worker: _Worker, key: str, event: Event) -> None:
        if isinstance(event, Notice):
            self._notice(key, event.text)
        elif key in worker.jobs and self._memory.is_new(key, event):
            self._happened.append((key, event))
        if isinstance(event, JobDone | JobStopped | JobFailed) and worker.jobs.pop(key, None) is not None:
            self._memory.forget(key)

    def _listen(self, worker: _Worker) -> None:
        # An answer costs this process some milliseconds, and a thousand workers together send a hundred a second.
        patience = max(1.0, len(self._workers) / 100)
        worker.telling = worker.actor.events.remote(_SECONDS_OF_A_WAIT, patience)

    def _notice(self, key: str, text: str) -> None:
        if text not in self._noticed:
            self._noticed.add(text)
            self._happened.append((key, Notice(text=text)))

    # What becomes of a worker

    def _lose(self, worker: _Worker, error: Exception) -> None:
        """Note that a worker is gone: what it trained waits for another one, unless that has happened too often."""
        self._drop([worker])
        if worker.starting is not None:
            if (problem := why_not_started(error)) is not None:
                self._note_bad_start(problem)
            return
        if worker.jobs:
            why = why_lost(error, worker.host)
            self._memory.count_tries(worker.jobs)
            self._wait_for_another(worker.jobs.values(), why)
            self._notice("", f"{why}; what it trained is tried again on another one, from its last state")

    def _wait_for_another(self, jobs: Iterable[Job], why: str) -> None:
        """Keep the jobs for another worker, but end those that are to stop, or that have lost too many."""
        group = []
        for job in jobs:
            if (ended := self._memory.ending(job.key, why)) is None:
                group.append(dataclasses.replace(job, state=self._memory.state(job.key) or job.state))
            else:
                self._happened.append((job.key, ended))
                self._memory.forget(job.key)
        if group:
            self._waiting.append(tuple(group))

    def _fail(self, worker: _Worker, reason: str, traceback: str) -> None:
        """Fail the worker's jobs: it could not deal with them, and another one could not either."""
        self._drop([worker])
        for key in worker.jobs:
            self._happened.append((key, JobFailed(reason=reason.strip().splitlines()[-1], traceback=traceback)))
            self._memory.forget(key)
        if worker.starting is not None:
            self._note_bad_start(reason)

    def _note_bad_start(self, problem: str) -> None:
        self._bad_starts += 1
        text = f"a worker of the Ray cluster cannot train: {problem}"
        if self._bad_starts >= _MOST_BAD_STARTS:
            raise ClusterError(f"{text}; docs/cluster.md says what each machine needs")
        self._notice("", text)

    def _drop(self, workers: Sequence[_Worker]) -> None:
        """End the workers; those that have started first remove their files."""
        leaving = [w.actor.leave.remote() for w in workers if w.starting is None]
        with contextlib.suppress(ray.exceptions.RayError):
            ray.wait(leaving, num_returns=len(leaving), timeout=_SECONDS_TO_LEAVE) if leaving else None
        for worker in workers:
            ray.kill(worker.actor)
            self._workers.remove(worker)

    # How many workers there are

    @property
    def _ready(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.is_ready]

    def _keep_up(self) -> None:
        """Give waiting groups to ready workers, and ask for as many workers as have something to do."""
        self._drop([worker for worker in self._workers if not worker.is_sound and not worker.jobs])
        while self._waiting and (ready := self._ready):
            self._give(ready[0], self._waiting.popleft())
        self._ask_for_workers()
        self._release_workers()

    def _give(self, worker: _Worker, jobs: Sequence[Job]) -> None:
        worker.jobs |= {job.key: job for job in jobs}
        worker.training = worker.actor.train.remote(tuple(jobs))

    @property
    def _useful(self) -> int:
        """Workers that have something to do, or may get it; one at least, as what is not known may still come."""
        busy = sum(worker.training is not None for worker in self._workers)
        left = self._cluster.trials - self._submitted
        return max(1, min(self._cluster.most_workers, busy + len(self._waiting) + left))

    def _ask_for_workers(self) -> None:
        """At first as many as there is room for; then a few more at a time, as long as none is idle."""
        starting = sum(worker.starting is not None for worker in self._workers)
        if not self._submitted:
            wanted = self.hardware.workers - len(self._workers)
        elif self._ready:
            wanted = 0
        else:
            wanted = max(_FEW, len(self._workers) // 4) - starting
        for _ in range(min(wanted, self._useful - len(self._workers))):
            actor = self._kind.remote(*self._given)
            starting_one = actor.start.remote()
            self._workers.append(_Worker(actor, starting_one))
        if all(worker.starting is not None for worker in self._workers):
            self._say_what_is_waited_for()

    def _say_what_is_waited_for(self) -> None:
        now = time.monotonic()
        if self._without_room_since is None:
            self._without_room_since = now
        if now - self._without_room_since > _SECONDS_WITHOUT_ROOM:
            asked = f"{self._cluster.cpus} CPU" + (f" and {self._cluster.gpus:g} GPU" if self._cluster.gpus else "")
            self._notice("", f"the Ray cluster has no room yet for a worker of {asked}; the sweep waits for it")

    def _release_workers(self) -> None:
        """Give back what is not needed: workers that have not started yet, and those that have long been idle."""
        too_many = max(0, len(self._workers) - self._useful)
        starting = [worker for worker in self._workers if worker.starting is not None][:too_many]
        until = time.monotonic() - _SECONDS_IDLE
        idle = [worker for worker in self._ready if worker.idle_since < until and not worker.jobs]
        spare = [*starting, *idle][: len(self._workers) - 1]  # one stays, to be asked whether there is room
        self._drop(spare)
