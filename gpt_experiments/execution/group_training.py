"""Trains a group of trials as one batched model, or in parts if the device cannot hold it whole."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator, Iterator, Sequence

import torch

from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import DeviceMemoryError, DivergedError, ExperimentError, first_line
from gpt_experiments.execution.attention_pictures import AttentionPictures
from gpt_experiments.execution.protocol import Job, JobFailed, JobStopped, Notice, Picture, Saved, StopJob
from gpt_experiments.execution.states import Part, StateSaver, as_before, parts_of
from gpt_experiments.training import (
    Attention,
    Evaluation,
    Look,
    Progress,
    Request,
    Save,
    Stop,
    Stopped,
    Training,
    TrainingResult,
    TrialState,
    breaks_device,
    describe_device,
    device_memory,
    is_out_of_memory,
    release_memory,
)

Trainer = Callable[..., Training]
"""Trains trials together, as `gpt_experiments.training.train_group` does, and is called as that is."""


class BrokenDeviceError(Exception):
    """The process can no longer use its device and should end; each of its jobs has failed with an event."""


Step = Progress | Evaluation | Picture | Saved | Notice | TrainingResult | JobStopped | JobFailed


def train_jobs(
    jobs: Sequence[Job],
    corpus: Corpus,
    device: torch.device,
    trainer: Trainer,
    stop_of: Callable[[str], StopJob | None] = lambda key: None,
) -> Iterator[tuple[Job, Step]]:
    """Train the jobs' trials together; yields what happens to each, and for each once how it ended.

    Where the device's memory does not suffice for several, a notice says so, and the halves train one after the other;
    events that were sent before are not sent again. Any other error fails the jobs that trained together.

    A job with a state goes on from there, together with those whose states are of the same group and step. One whose
    state is of no use begins at step 0, and a notice says why.

    Args:
        stop_of: the request to end the job of a key early, if there is one; asked after every event.

    Raises:
        BrokenDeviceError: an error left the device unusable in this process; every job that had not ended has failed.
    """
    waiting, notices = parts_of(jobs, corpus, device)
    yield from notices
    seen = _SeenSteps()
    while waiting:
        part = waiting.pop()
        try:
            with as_before(part.states):
                outcomes = yield from _train_part(part, corpus, device, trainer, seen, stop_of)
        except Exception as error:
            failed, is_broken = _failure_of_part(error, part, device), breaks_device(error)
        else:
            while outcomes:  # from the end, so that each result can be freed as soon as it is dealt with
                job, outcome = part.jobs[len(outcomes) - 1], outcomes.pop()
                yield job, _step(outcome)
                del outcome
            continue
        # Out here the error is gone, and with it the tensors that its traceback held.
        if not is_broken:
            try:
                release_memory(device)
            except RuntimeError as error:
                failed, is_broken = failure(error), True
        if is_broken and failed is not None:
            yield from ((job, failed) for left in (part, *waiting) for job in left.jobs)
            raise BrokenDeviceError(failed.reason)
        if failed is not None:
            yield from ((job, failed) for job in part.jobs)
        elif part.states:
            waiting.append(Part(part.jobs))
            yield part.jobs[0], Notice(text=_beginning_anew(part, device))
        else:
            first, second = part.halves()
            waiting += [second, first]
            yield part.jobs[0], Notice(text=_splitting(first, second, device))


def _train_part(
    part: Part,
    corpus: Corpus,
    device: torch.device,
    trainer: Trainer,
    seen: _SeenSteps,
    stop_of: Callable[[str], StopJob | None],
) -> Generator[
    tuple[Job, Progress | Evaluation | Picture | Saved], None, list[TrainingResult | Stopped | DivergedError]
]:
    """Yield the trainer's new events with their jobs, pictures and states; returns what the trainer returns."""
    jobs, states = part.jobs, ([part.states] if part.states else [])
    training = trainer([job.trial for job in jobs], corpus, device, *states)
    pictures, saver = AttentionPictures(jobs, corpus), StateSaver(len(jobs))
    wanted: list[Look | Save] = []  # of the trial whose event came last
    request: Request = None
    while True:
        try:
            index, event = training.send(request)
        except StopIteration as end:
            return list(end.value)
        job = jobs[index]
        if isinstance(event, Attention):
            yield job, pictures.draw(job, event)
        elif isinstance(event, TrialState):
            yield job, Saved(step=event.step, state=event.to_bytes())
            saver.sent()
        elif seen.is_new(job, event):
            yield job, event
            # The picture first: a trial that goes on from this state does not draw it again.
            asked = (pictures.request(index, job, event), saver.request(index, job, event))
            wanted = [one for one in asked if one is not None]
        stop = stop_of(job.key)
        ending = None if stop is None else Stop(index=index, keep=stop.keep)
        if stop is not None:
            wanted = [one for one in wanted if stop.keep and isinstance(one, Look)]
        request = wanted.pop(0) if wanted else ending


def _step(outcome: TrainingResult | Stopped | DivergedError) -> TrainingResult | JobStopped | JobFailed:
    if isinstance(outcome, Stopped):
        return JobStopped(step=outcome.step, state=None if outcome.state is None else outcome.state.to_bytes())
    return failure(outcome) if isinstance(outcome, DivergedError) else outcome


def _failure_of_part(error: Exception, part: Part, device: torch.device) -> JobFailed | None:
    """Why the jobs that trained together failed; None if memory ran out and fewer of them may fit."""
    if not is_out_of_memory(error):
        return failure(error)
    if len(part.jobs) > 1 or (part.states and len(part.states[0].group) > 1):
        return None
    return JobFailed(reason=reason(_memory_error(part.jobs[0], device)), traceback=_traceback(error))


def reason(error: Exception) -> str:
    """The error in one line, with its kind if it is not meant for the user."""
    kind, line = type(error).__name__, first_line(error)
    return line if isinstance(error, ExperimentError) or line == kind else f"{kind}: {line}"


class _SeenSteps:
    """The latest step of each job's progress and of its evaluations."""

    def __init__(self) -> None:
        self._steps: dict[tuple[str, type], int] = {}

    def is_new(self, job: Job, event: Progress | Evaluation) -> bool:
        key = (job.key, type(event))
        if event.step <= self._steps.get(key, -1):
            return False
        self._steps[key] = event.step
        return True


def failure(error: Exception) -> JobFailed:
    """The event of a job that failed with the error."""
    return JobFailed(reason=reason(error), traceback=_traceback(error))


def _traceback(error: Exception) -> str:
    return "".join(traceback.format_exception(error))


def _splitting(first: Part, second: Part, device: torch.device) -> str:
    most, rest = len(first.jobs), len(second.jobs)
    return (
        f"{most + rest} trials ({first.jobs[0].label} and others) do not fit into {_described(device)} together: "
        f"they train as {most} and {rest}, one after the other; --replicas {most} would avoid this"
    )


def _beginning_anew(part: Part, device: torch.device) -> str:
    return (
        f"{len(part.jobs)} trials ({part.jobs[0].label} and others) were saved in a group of "
        f"{len(part.states[0].group)}, which does not fit into {_described(device)}: they begin anew"
    )


def _memory_error(job: Job, device: torch.device) -> DeviceMemoryError:
    trial = job.trial
    return DeviceMemoryError(
        f"out of memory: {job.label} (seed {trial.seed}) with batch_size={trial.training.batch_size} and "
        f"block_size={trial.shape.block_size} does not fit into {_described(device)}; "
        "use fewer --workers, a smaller batch_size or a smaller variant"
    )


def _described(device: torch.device) -> str:
    memory = device_memory(device)
    size = "" if memory is None else f" ({memory / 2**30:.0f} GiB)"
    return f"{device}, {describe_device(device)}{size}"
