"""Messages between a sweep and the executor of its trials: jobs and requests one way, events the other."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gpt_experiments.config import Trial
from gpt_experiments.training.events import Evaluation, Progress, TrainingSummary


@dataclass(frozen=True, kw_only=True)
class Job:
    """A trial to train; every event about it carries `key`, the trial's cell.

    Attributes:
        watches_attention: whether pictures of its attention are made while it trains.
        state: what a `Saved` or `JobStopped` event held, from which it goes on; None begins at step 0.
    """

    key: str
    trial: Trial
    label: str
    watches_attention: bool = False
    state: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class StopJob:
    """A request: end the job of that key early; with `keep`, its JobStopped is to hold its state."""

    key: str
    keep: bool = False


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What an executor asks of a Ray cluster.

    Attributes:
        address: of the cluster; None starts Ray on this machine.
        most_workers: groups of trials that may train at the same time, however far the cluster grows.
        trials: that are to be trained, at most; no more workers are asked for than have something to do.
        cpus, gpus: what Ray reserves for each worker; several workers may share a GPU.
    """

    address: str | None = None
    most_workers: int = 1
    trials: int = 1
    cpus: int = 1
    gpus: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """What an executor trains on, and with what.

    Attributes:
        device: its name for PyTorch; `cuda` stands for all CUDA devices, which the workers share evenly.
        name: the devices' name, or names, for a person.
        workers: groups of trials that train at the same time.
        threads: CPU threads of each worker.
        writers: further processes of each worker, which write files while it trains; 0 where the CPU trains.
        memory: bytes of the accelerator for each worker; None on a CPU.
        cluster: the Ray cluster that has it, where `workers` is what there is room for at the beginning; else None.
    """

    device: str
    name: str
    workers: int
    threads: int
    writers: int = 0
    memory: int | None = None
    cluster: Cluster | None = None


class TrialFiles(Protocol):
    """The files of a trained trial, wherever it was trained."""

    def folder(self) -> AbstractContextManager[Path]:
        """A local folder with the files, which exists only inside the block."""
        ...


@dataclass(frozen=True, kw_only=True)
class Placed:
    """What the worker that has taken the job trains on; the first event about a job, from executors that know it.

    Attributes:
        hardware: its device's name, for a person.
        threads: CPU threads that it trains with.
        host: the machine's name.
    """

    hardware: str
    threads: int
    host: str


@dataclass(frozen=True, kw_only=True)
class Picture:
    """The attention of all heads after `step` optimisation steps, drawn: (height, width, 3)."""

    step: int
    image: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What the trial's worker uses, by the names of metrics, after `step` optimisation steps."""

    step: int
    values: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Saved:
    """The trial's state after `step` optimisation steps, to be kept: a job that is given it goes on from there.

    Attributes:
        state: safetensors; `gpt_experiments.training.TrialState` reads it.
    """

    step: int
    state: bytes


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The trial's training is over; its files are still to be written.

    Attributes:
        replicas: how many trials trained as one model with it, itself included; fewer than were submitted together
            where a group was split.
    """

    summary: TrainingSummary
    replicas: int


@dataclass(frozen=True, kw_only=True)
class JobDone:
    """The trial is trained, its files are written, and its attention heads are scored."""

    summary: TrainingSummary
    scores_by_head: dict[str, list[float]]
    files: TrialFiles


@dataclass(frozen=True, kw_only=True)
class JobStopped:
    """The trial ended before its last step, on request; it leaves no files.

    Attributes:
        state: its state, as `Saved` has it; None if it was not asked for.
    """

    step: int
    state: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class JobFailed:
    """The trial failed: the reason in one line, and a traceback if the error is not meant for the user."""

    reason: str
    traceback: str


@dataclass(frozen=True, kw_only=True)
class Notice:
    """A message for the user that ends nothing."""

    text: str


Event = Placed | Progress | Evaluation | Picture | Usage | Saved | Trained | JobDone | JobStopped | JobFailed | Notice


class Executor(Protocol):
    """Runs trials: in this process, in other ones, on other machines.

    Attributes:
        hardware: what it trains on.
    """

    @property
    def hardware(self) -> Hardware: ...

    @property
    def has_room(self) -> bool:
        """Whether a further group may be submitted now."""
        ...

    def submit(self, jobs: Sequence[Job]) -> None:
        """Begin to train the jobs as one batched model. There must be room.

        An executor may train a job again by itself, where the machine that had it is gone: from its latest Saved, else
        from the beginning. So events may come that repeat earlier steps.
        """
        ...

    def stop(self, key: str, *, keep: bool = False) -> None:
        """Ask a running job to end early; it goes on a little, and may end in another way first.

        Args:
            keep: whether its JobStopped is to hold its state.
        """
        ...

    def events(self, timeout: float) -> list[tuple[str, Event]]:
        """Return the new events, each with its job's key; waits at most `timeout` seconds for the first one.

        The last event about a job is JobDone, JobStopped or JobFailed. The same notice comes only once.
        """
        ...

    def close(self) -> None:
        """End everything that still runs, and free what it holds."""
        ...
