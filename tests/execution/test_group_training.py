"""A group of jobs in one process: what is reported of each, and what a device that is too small makes of it."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

import pytest
import torch

from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.execution.files import WriteHere
from gpt_experiments.execution.group_training import BrokenDeviceError, Step, Trainer, train_jobs
from gpt_experiments.execution.protocol import Event, Job, JobDone, JobFailed, Notice, Placed
from gpt_experiments.execution.worker import train_one_group, warnings_as_notices
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.training import Evaluation, Progress, TrainingResult
from tests.support import trainers

VARIANT = Shape(n_head=2, n_layer=1, n_embed=8, dropout=0.0, block_size=16)
SETUP = TrainingSetup(steps=2, batch_size=2, eval_interval=1)


def jobs_of(seeds: tuple[int, ...]) -> list[Job]:
    return [
        Job(key=str(key), trial=Trial(shape=VARIANT, seed=seed, training=SETUP), label="x")
        for key, seed in enumerate(seeds)
    ]


def reported(corpus: Corpus, trainer: Trainer, seeds: tuple[int, ...]) -> list[tuple[int, Step]]:
    return [(int(job.key), step) for job, step in train_jobs(jobs_of(seeds), corpus, torch.device("cpu"), trainer)]


def of(kind: type, steps: list[tuple[int, Step]]) -> list[int]:
    return [key for key, step in steps if isinstance(step, kind)]


def test_a_group_that_does_not_fit_trains_in_halves_and_tells_everything_once(corpus: Corpus) -> None:
    steps = reported(corpus, trainers.two_fit, (1, 2, 3, 4, 5))
    assert sorted(of(TrainingResult, steps)) == [0, 1, 2, 3, 4]
    evaluated = Counter((key, step.step) for key, step in steps if isinstance(step, Evaluation))
    assert evaluated == {(key, step): 1 for key in range(5) for step in (0, 1, 2)}
    advanced = Counter((key, step.step) for key, step in steps if isinstance(step, Progress))
    assert set(advanced.values()) == {1}
    notices = [step.text for _, step in steps if isinstance(step, Notice)]
    assert len(notices) == 2
    assert "5 trials (x and others) do not fit into cpu" in notices[0]
    assert "they train as 3 and 2, one after the other; --replicas 3 would avoid this" in notices[0]
    assert "train as 2 and 1" in notices[1]


def test_one_that_does_not_fit_fails_with_variant_memory_and_remedy(corpus: Corpus) -> None:
    steps = reported(corpus, trainers.none_fits, (1, 2))
    failures = {key: step for key, step in steps if isinstance(step, JobFailed)}
    assert sorted(failures) == [0, 1]
    assert failures[1].reason.startswith("out of memory: x (seed 2) with batch_size=2 and block_size=16 does not fit")
    assert failures[1].reason.endswith("use fewer --workers, a smaller batch_size or a smaller variant")
    assert "MPS backend out of memory" in failures[1].traceback


def test_one_that_diverges_fails_alone(corpus: Corpus) -> None:
    steps = reported(corpus, trainers.unlucky_seed_diverges, (1, trainers.UNLUCKY_SEED, 3))
    assert sorted(of(TrainingResult, steps)) == [0, 2]
    (failed,) = (step for key, step in steps if isinstance(step, JobFailed) and key == 1)
    assert failed.reason.startswith("diverged: the loss is nan at step 1")
    assert "DivergedError" in failed.traceback


def test_any_other_error_fails_all_that_trained_together(corpus: Corpus) -> None:
    steps = reported(corpus, trainers.bug, (1, 2))
    assert of(JobFailed, steps) == [0, 1]
    (reason,) = {step.reason for _, step in steps if isinstance(step, JobFailed)}
    assert reason == "ZeroDivisionError: division by zero"


def steps_until_broken(corpus: Corpus, trainer: Trainer, seeds: tuple[int, ...]) -> list[tuple[int, Step]]:
    steps: list[tuple[int, Step]] = []
    training = train_jobs(jobs_of(seeds), corpus, torch.device("cpu"), trainer)
    with pytest.raises(BrokenDeviceError):
        steps.extend((int(job.key), step) for job, step in training)
    return steps


def test_an_error_that_breaks_the_device_is_reported_of_each_job_before_the_process_has_to_end(corpus: Corpus) -> None:
    steps = steps_until_broken(corpus, trainers.breaks_the_device, (1, trainers.UNLUCKY_SEED))
    assert of(JobFailed, steps) == [0, 1]
    reasons = {step.reason for _, step in steps if isinstance(step, JobFailed)}
    assert reasons == {"AcceleratorError: CUDA error: an illegal memory access was encountered"}


def test_a_device_that_breaks_under_a_half_fails_the_other_half_as_well(corpus: Corpus) -> None:
    """It has not trained, but in this process it no longer can."""
    steps = steps_until_broken(corpus, trainers.halves_break_the_device, (1, 2, 3, 4))
    assert of(JobFailed, steps) == [0, 1, 2, 3]


def test_a_device_that_turns_out_to_be_broken_when_its_memory_is_released_is_reported(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors of CUDA come late: another one may have hidden it."""

    def release(device: torch.device) -> None:
        raise torch.AcceleratorError("CUDA error: unspecified launch failure")

    monkeypatch.setattr("gpt_experiments.execution.group_training.release_memory", release)
    steps = steps_until_broken(corpus, trainers.bug, (1, 2))
    reasons = {step.reason for _, step in steps if isinstance(step, JobFailed)}
    assert reasons == {"AcceleratorError: CUDA error: unspecified launch failure"}
    assert of(JobFailed, steps) == [0, 1]


@pytest.mark.parametrize(
    ("trainer", "goes_on"), [(trainers.train_group, True), (trainers.bug, True), (trainers.not_captured, False)]
)
def test_a_process_trains_on_unless_a_capture_has_failed_in_it(
    corpus: Corpus, tmp_path: Path, trainer: Trainer, goes_on: bool
) -> None:
    sent: list[tuple[str, Event]] = []

    def send(key: str, event: Event) -> None:
        sent.append((key, event))

    (job,) = jobs_of((1,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        device = torch.device("cpu")
        writer = WriteHere(corpus, tmp_path, send)
        assert train_one_group([job], corpus, device, trainer, lambda key: None, writer, send) == goes_on
    assert isinstance(sent[-1][1], JobFailed if trainer is trainers.bug else JobDone)


def test_a_device_that_breaks_is_an_error_once_everything_is_reported(corpus: Corpus, tmp_path: Path) -> None:
    sent: list[tuple[str, Event]] = []

    def send(key: str, event: Event) -> None:
        sent.append((key, event))

    writer, device = WriteHere(corpus, tmp_path, send), torch.device("cpu")
    jobs = jobs_of((1, trainers.UNLUCKY_SEED))
    with pytest.raises(BrokenDeviceError):
        train_one_group(jobs, corpus, device, trainers.breaks_the_device, lambda key: None, writer, send)
    ended = [(key, type(event)) for key, event in sent if not isinstance(event, Placed)]
    assert ended == [("0", JobFailed), ("1", JobFailed)]


@pytest.mark.parametrize("seeds", [(1,), (1, 2, 3)])
def test_each_job_ends_once_and_with_its_own_model(corpus: Corpus, seeds: tuple[int, ...]) -> None:
    results = {k: s for k, s in reported(corpus, trainers.train_group, seeds) if isinstance(s, TrainingResult)}
    alone = {k: s for k, s in reported(corpus, trainers.train_group, seeds[-1:]) if isinstance(s, TrainingResult)}
    assert sorted(results) == list(range(len(seeds)))
    last, same = results[len(seeds) - 1], alone[0]
    assert last.summary.final_val_loss == pytest.approx(same.summary.final_val_loss, rel=1e-5)
    assert len({result.summary.final_val_loss for result in results.values()}) == len(seeds)


def test_a_step_that_cannot_be_captured_is_a_notice_and_any_other_warning_stays_one(corpus: Corpus) -> None:
    job = Job(key="7", trial=Trial(shape=VARIANT, training=SETUP), label="x")
    sent: list[tuple[str, Event]] = []
    with (
        pytest.warns(UserWarning, match="of no concern") as others,
        warnings_as_notices("7", lambda *m: sent.append(m)),
    ):
        list(train_jobs([job], corpus, torch.device("cpu"), trainers.not_captured))
    assert sent == [("7", Notice(text="the training step could not be captured"))]
    assert len(others) == 1
