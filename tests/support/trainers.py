"""Trainers for workers to be given: the real one, and what an accelerator or bad luck would do to it."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Sequence

import torch

from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import DivergedError
from gpt_experiments.kernels import KernelWarning
from gpt_experiments.training import CaptureWarning, Stopped, Training, TrainingResult, train_group

UNLUCKY_SEED = 13


def unlucky_seed_diverges(trials: Sequence[Trial], corpus: Corpus, device: torch.device) -> Training:
    """All train; the unlucky seed's loss is found not to be finite after its first evaluation."""
    training = train_group(trials, corpus, device)
    while True:
        try:
            index, event = next(training)
        except StopIteration as end:
            results: list[TrainingResult | Stopped | DivergedError] = end.value
            break
        if trials[index].seed != UNLUCKY_SEED or event.step == 0:
            yield index, event
    diverged = DivergedError(1, float("nan"), trials[0].training.learning_rate)
    return [diverged if trial.seed == UNLUCKY_SEED else result for trial, result in zip(trials, results, strict=True)]


def not_captured(trials: Sequence[Trial], corpus: Corpus, device: torch.device) -> Training:
    """The step is taken kernel by kernel, and something else is not worth a notice."""
    warnings.warn("the training step could not be captured", CaptureWarning, stacklevel=2)
    warnings.warn("of no concern", UserWarning, stacklevel=2)
    return (yield from train_group(trials, corpus, device))


def breaks_the_device(trials: Sequence[Trial], corpus: Corpus, device: torch.device) -> Training:
    """The unlucky seed's group leaves the device unusable."""
    if any(trial.seed == UNLUCKY_SEED for trial in trials):
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nSearch for ...")
    return (yield from train_group(trials, corpus, device))


def halves_break_the_device(trials: Sequence[Trial], corpus: Corpus, device: torch.device) -> Training:
    """Four run out of memory, and half of them leave the device unusable."""
    if len(trials) > 2:
        raise torch.OutOfMemoryError("CUDA out of memory")
    raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
    yield  # makes it a generator


def says_its_process(trials: Sequence[Trial], corpus: Corpus, device: torch.device) -> Training:
    """A warning for the user that says which process trains; what it trains to is the process, too."""
    warnings.warn(f"process {os.getpid()}", KernelWarning, stacklevel=2)
    if any(trial.seed == UNLUCKY_SEED for trial in trials):
        warnings.warn("the training step could not be captured", CaptureWarning, stacklevel=2)
    return (yield from train_group(trials, corpus, device))


def warns(trials: Sequence[Trial], corpus: Corpus, device: torch.device) -> Training:
    """A library has something to say to developers."""
    warnings.warn("invalid value encountered in divide", RuntimeWarning, stacklevel=2)
    return (yield from train_group(trials, corpus, device))


def two_fit(trials: Sequence[Trial], corpus: Corpus, device: torch.device) -> Training:
    """More than two run out of the device's memory, after their first evaluation."""
    if len(trials) <= 2:
        return (yield from train_group(trials, corpus, device))
    for index, event in train_group(trials, corpus, device):
        if event.step == 0:
            yield index, event
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def two_fit_and_warn_late(trials: Sequence[Trial], corpus: Corpus, device: torch.device) -> Training:
    """As `two_fit`; each part gives a warning of its own at its end, when an earlier part may have ended long ago."""
    results = yield from two_fit(trials, corpus, device)
    warnings.warn(f"not captured with seed {trials[0].seed}", CaptureWarning, stacklevel=2)
    return results


def none_fits(trials: Sequence[Trial], corpus: Corpus, device: torch.device) -> Training:
    """Not even one, in the words of a device that has no class of errors for it."""
    raise RuntimeError("MPS backend out of memory (MPS allocated: 16.00 GB)")
    yield  # makes it a generator


def unlucky_seed_kills(trials: Sequence[Trial], corpus: Corpus, device: torch.device) -> Training:
    """The process that trains the unlucky seed is killed once every trial of the group has reported its start."""
    training = train_group(trials, corpus, device)
    begun: set[int] = set()
    while True:
        try:
            index, event = next(training)
        except StopIteration as end:
            results: list[TrainingResult | Stopped | DivergedError] = end.value
            return results
        yield index, event
        begun.add(index)
        if len(begun) == len(trials) and any(trial.seed == UNLUCKY_SEED for trial in trials):
            os.kill(os.getpid(), signal.SIGKILL)


def all_diverge_at_once(trials: Sequence[Trial], corpus: Corpus, device: torch.device) -> Training:
    """No trial lives to its first evaluation, so that a sweep takes as long as what is around its training."""
    return [DivergedError(0, float("nan"), trial.training.learning_rate) for trial in trials]
    yield  # makes it a generator


def bug(trials: Sequence[Trial], corpus: Corpus, device: torch.device) -> Training:
    """An error that is nobody's to expect."""
    raise ZeroDivisionError("division by zero")
    yield  # makes it a generator
