"""Runs trials in this process, one group after the other: for a debugger, a profiler, or a test."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections import deque
from collections.abc import Iterator, Sequence

import torch

from gpt_experiments.corpus import Corpus
from gpt_experiments.execution.files import WriteHere
from gpt_experiments.execution.group_training import BrokenDeviceError, Trainer, failure
from gpt_experiments.execution.protocol import Event, Hardware, Job, JobFailed, Notice, StopJob
from gpt_experiments.execution.worker import train_in_steps, warnings_as_notices
from gpt_experiments.scratch import scratch_folder
from gpt_experiments.training import prepare_process, release_memory, resolve_device, train_group


class InlineExecutor:
    """Trains only while events are asked for, up to the next event.

    After an error that leaves the device unusable in this process, every later job fails for the same reason.
    """

    def __init__(self, corpus: Corpus, hardware: Hardware, trainer: Trainer = train_group) -> None:
        threads = hardware.threads * hardware.workers
        self.hardware = dataclasses.replace(hardware, workers=1, threads=threads, writers=0)
        self._corpus, self._trainer = corpus, trainer
        self._device = resolve_device(hardware.device)
        self._resources = contextlib.ExitStack()
        self._folder = self._resources.enter_context(scratch_folder())
        self._happened: deque[tuple[str, Event]] = deque()
        self._training: Iterator[None] | None = None
        self._broken: JobFailed | None = None
        self._stopped: dict[str, StopJob] = {}
        self._noticed: set[str] = set()
        self._resources.callback(torch.set_num_threads, torch.get_num_threads())
        self._resources.callback(torch.set_deterministic_debug_mode, torch.get_deterministic_debug_mode())
        prepare_process(self._device, threads)

    @property
    def has_room(self) -> bool:
        return self._training is None

    def submit(self, jobs: Sequence[Job]) -> None:
        assert self.has_room
        if self._broken is not None:
            self._happened += [(job.key, self._broken) for job in jobs]
        else:
            self._training = self._train(tuple(jobs))

    def stop(self, key: str, *, keep: bool = False) -> None:
        self._stopped[key] = StopJob(key=key, keep=keep)

    def events(self, timeout: float) -> list[tuple[str, Event]]:
        """Return at least one event if something trains, however long that takes; else wait for `timeout` seconds."""
        if self._training is None and not self._happened:
            time.sleep(timeout)
        while self._training is not None and not self._happened:
            try:
                next(self._training)
            except StopIteration:
                self._training = None
        happened = list(self._happened)
        self._happened.clear()
        return happened

    def close(self) -> None:
        self._training = None
        self._resources.close()

    def _train(self, jobs: Sequence[Job]) -> Iterator[None]:
        """Pauses after every event."""
        writer = WriteHere(self._corpus, self._folder, self._note)
        stop_of = self._stopped.get
        steps = train_in_steps(jobs, self._corpus, self._device, self._trainer, stop_of, writer, self._note)
        while True:
            try:
                with warnings_as_notices(jobs[0].key, self._note):
                    next(steps)
            except StopIteration:
                break
            except BrokenDeviceError as error:
                self._broken = failure(error)
                return
            yield
        if self._device.type != "cpu":
            release_memory(self._device)  # half a second where much else is loaded; a CPU's memory is free already

    def _note(self, key: str, event: Event) -> None:
        if isinstance(event, Notice):
            if event.text in self._noticed:
                return
            self._noticed.add(event.text)
        self._happened.append((key, event))
