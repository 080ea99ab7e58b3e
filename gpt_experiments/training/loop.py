"""The training loop: trials and a corpus become events, then trained models and their losses."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import torch

from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import ConfigError, DivergedError
from gpt_experiments.kernels import are_switched_on
from gpt_experiments.model.gpt import GPT
from gpt_experiments.parameters import PARAMETERS
from gpt_experiments.training.cuda_graph import GraphCapturer
from gpt_experiments.training.device import warn_of_slow_precision
from gpt_experiments.training.evaluation import SplitLoss
from gpt_experiments.training.events import (
    Attention,
    Evaluation,
    Look,
    Progress,
    Save,
    Stop,
    Stopped,
    TrainingSummary,
)
from gpt_experiments.training.learners import Learner, ReplicaLearner, SoloLearner
from gpt_experiments.training.state import TrialState, generator_state

_STEPS_BETWEEN_CHECKS = {"cpu": 1, "mps": 50, "cuda": 50}  # reading the loss lets an accelerator's queue run dry
_MAY_DIFFER: Final = ("seed", *(name for name, declared in PARAMETERS.items() if declared.may_differ))


def group_key(trial: Trial) -> Hashable:
    """The values that trials that train together share: everything but seed, dropout and learning_rate."""
    return tuple(sorted(_shared(trial).items()))


def require_one_group(trials: Sequence[Trial]) -> None:
    """Raise a ConfigError unless there is a trial, and all of them have one key."""
    if not trials:
        raise ConfigError("a group has no trials; it needs at least one")
    first = _shared(trials[0])
    for trial in trials[1:]:
        for name, value in _shared(trial).items():
            if value != first[name]:
                raise ConfigError(
                    f"trials with {name}={first[name]} and {name}={value} cannot train in one group; "
                    f"only {', '.join(_MAY_DIFFER)} may differ; group them by group_key"
                )


def _shared(trial: Trial) -> dict[str, object]:
    return {name: value for name, value in trial.variant.values().items() if name not in _MAY_DIFFER}


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """A trained model in evaluation mode with the losses and times that led to it.

    Attributes:
        val: its last evaluation.
        replicas: how many trials trained as one model with it, itself included.
    """

    model: GPT
    evaluations: tuple[Evaluation, ...]
    val: SplitLoss
    summary: TrainingSummary
    replicas: int


Request = Stop | Look | Save | None
Training = Generator[
    tuple[int, Progress | Evaluation | Attention | TrialState],
    Request,
    list["TrainingResult | Stopped | DivergedError"],
]
"""Trials that train together: events with the index of their trial; takes requests; returns how each trial ended."""


def train(trial: Trial, corpus: Corpus, device: torch.device) -> Generator[Progress | Evaluation, None, TrainingResult]:
    """Train `trial` on `device`, yielding events as they happen; the generator returns the result.

    The trial, the corpus and the device decide everything. Initial weights and batches are drawn on the CPU, so they
    are the same on every device. Torch's global generators are seeded and dropout draws from them, so the caller
    must not draw from them between events. The caller's own time is not counted as training.

    Raises:
        CorpusError: the corpus is too short for the variant's block_size; raised before any work.
        DivergedError: a loss is not finite.
    """
    training = train_group([trial], corpus, device)
    while True:
        try:
            _, event = next(training)
        except StopIteration as end:
            (ended,) = end.value
            break
        assert not isinstance(event, Attention | TrialState)  # it was not asked for
        yield event
    if isinstance(ended, DivergedError):
        raise ended
    assert isinstance(ended, TrainingResult)  # it was not asked to stop
    return ended


def train_group(
    trials: Sequence[Trial], corpus: Corpus, device: torch.device, states: Sequence[TrialState] = ()
) -> Training:
    """Train trials that share everything but seed, dropout and learning_rate as one, yielding events with their index.

    Each trial has the initial weights and the batches that it has alone, so without dropout it trains to the same
    losses within float error; dropout draws other masks in another group. A trial whose loss is no longer finite yields
    no more events, and the list that the generator returns holds its error; the others go on unchanged. The same holds
    for a trial that is asked to stop: `send` the generator a Stop in answer to any event. It also takes a Look, and
    yields an Attention, or a Save, and yields a TrialState; neither changes anything for the training. For the rest see
    `train`.

    Args:
        states: of each of the trials, from which they go on to the same results as without the pause, bit for bit, if
            the process has as many threads and the same kernels; all are of one group, after the same steps. A trial of
            that group that is not among them takes part unseen. Without any, all begin at step 0.

    Raises:
        ConfigError: no trials, or trials that cannot train together.
        CorpusError: the corpus is too short for the variant's block_size; raised before any work.
    """
    require_one_group(trials)
    setup, block_size = trials[0].training, trials[0].shape.block_size
    corpus.require_context(block_size)
    group = _Group(trials, states, device)
    learner = make_learner(group.members, corpus, device, states)
    step = states[0].step if states else 0
    for next_evaluation in setup.evaluation_steps():
        while step < next_evaluation and group.going:
            stop = min(step + _STEPS_BETWEEN_CHECKS[device.type], next_evaluation)
            with group.training.running():
                losses = learner.take(stop - step)
            step = stop
            group.end_diverged(step, losses)
            models = functools.cache(learner.models)  # made when they are first asked for
            for index in filter(group.goes_on, group.going):
                loss = losses[group.place(index)]
                progress = Progress(step=step, batch_loss=loss, tokens_per_second=group.speed(step))
                yield from _report(index, progress, group, learner, models)
        if not group.going:
            break
        if group.is_evaluated(next_evaluation):  # before the pause
            continue
        with group.evaluating.running():
            found = learner.evaluate()
        group.end_diverged(step, [train_loss + val.mean for train_loss, val in found])
        models = functools.cache(learner.models)
        for index in filter(group.goes_on, group.going):
            evaluation = group.evaluated(index, step, *found[group.place(index)])
            yield from _report(index, evaluation, group, learner, models)
    return group.results(learner.models())


def _report(
    index: int, event: Progress | Evaluation, group: _Group, learner: Learner, models: Callable[[], list[GPT]]
) -> Generator[tuple[int, Progress | Evaluation | Attention | TrialState], Request, None]:
    """Yield the event of a trial, and what the caller asks for in answer to it."""
    request = yield index, event
    while isinstance(request, Look | Save):
        if isinstance(request, Look):
            request = yield index, _attention(models()[group.place(index)], request, event.step)
        else:
            request = yield index, group.state(index, event.step, learner)
    if isinstance(request, Stop) and group.may_stop(request.index):
        # Before the first step there is nothing to keep.
        state = group.state(request.index, event.step, learner) if request.keep and event.step else None
        group.end(request.index, Stopped(step=event.step, state=state))


def _attention(model: GPT, look: Look, step: int) -> Attention:
    tokens = torch.from_numpy(look.tokens).to(model.device)
    return Attention(step=step, weights=model.attention_maps(tokens).float().cpu().numpy())


def make_learner(
    trials: Sequence[Trial], corpus: Corpus, device: torch.device, states: Sequence[TrialState] = ()
) -> Learner:
    """One trial alone trains as an ordinary model, except on CUDA, where a captured step is faster even for one."""
    warn_of_slow_precision(device, trials[0].training.precision)
    if device.type == "cuda":
        return ReplicaLearner(trials, corpus, device, GraphCapturer(device), states)
    if len(trials) == 1:
        return SoloLearner(trials[0], corpus, device, *states)
    return ReplicaLearner(trials, corpus, device, states=states)


class _Group:
    """How each trial of a group stands while it trains; indices are those of the caller's trials.

    Attributes:
        members: all trials that train, those included that take part unseen; `place` is where a trial is among them.
    """

    def __init__(self, trials: Sequence[Trial], states: Sequence[TrialState], device: torch.device) -> None:
        self._trials, self._device, self._ended_early = trials, device, dict[int, DivergedError | Stopped]()
        self.members = states[0].group if states else tuple(trials)
        self._places = [state.index for state in states] or list(range(len(trials)))
        assert [self.members[place] for place in self._places] == list(trials)
        self._evaluations = [list(state.evaluations) for state in states] or [[] for _ in trials]
        self._val: list[SplitLoss | None] = [None for _ in trials]
        self.training = _Stopwatch(states[0].train_seconds if states else 0.0)
        self.evaluating = _Stopwatch(states[0].eval_seconds if states else 0.0)

    @property
    def going(self) -> list[int]:
        """The indices of the trials that have neither diverged nor been stopped."""
        return [index for index in range(len(self._trials)) if self.goes_on(index)]

    def goes_on(self, index: int) -> bool:
        return index not in self._ended_early

    def place(self, index: int) -> int:
        return self._places[index]

    def is_evaluated(self, step: int) -> bool:
        """Whether the trials that go on have had their evaluation at that step."""
        evaluations = self._evaluations[self.going[0]]
        return bool(evaluations) and evaluations[-1].step >= step

    def may_stop(self, index: int) -> bool:
        """Whether a trial goes on, and has not had its last evaluation, after which it can no longer be stopped."""
        evaluations = self._evaluations[index]
        is_over = bool(evaluations) and evaluations[-1].step == self._trials[index].training.steps
        return self.goes_on(index) and not is_over

    def end(self, index: int, ended: Stopped) -> None:
        self._ended_early[index] = ended

    def state(self, index: int, step: int, learner: Learner) -> TrialState:
        """The trial as it is now, after so many steps. Waits for the device."""
        weights, means, mean_squares = learner.weights_and_moments(self.place(index))
        return TrialState(
            step=step,
            group=self.members,
            index=self.place(index),
            device=self._device.type,
            threads=torch.get_num_threads(),
            kernels=are_switched_on(),
            evaluations=tuple(self._evaluations[index]),
            train_seconds=self.training.seconds,
            eval_seconds=self.evaluating.seconds,
            weights=weights,
            means=means,
            mean_squares=mean_squares,
            generator=generator_state(self._device),
        )

    def end_diverged(self, step: int, losses: Sequence[float]) -> None:
        """Note each trial whose loss is not finite for the first time; the losses are those of all members."""
        for index in self.going:
            loss = losses[self.place(index)]
            if not math.isfinite(loss):
                self._ended_early[index] = DivergedError(step, loss, self._trials[index].training.learning_rate)

    def evaluated(self, index: int, step: int, train_loss: float, val: SplitLoss) -> Evaluation:
        evaluation = Evaluation(step=step, train_loss=train_loss, val_loss=val.mean)
        self._evaluations[index].append(evaluation)
        self._val[index] = val
        return evaluation

    def speed(self, steps: int) -> float:
        """Training tokens per second of a trial's share of the time."""
        trial = self._trials[0]
        tokens = steps * trial.training.batch_size * trial.shape.block_size
        return tokens * len(self.members) / self.training.seconds

    def results(self, models: Sequence[GPT]) -> list[TrainingResult | Stopped | DivergedError]:
        """How each trial ended; the models are those of all members."""
        return [
            self._ended_early.get(index) or self._result(index, models[place])
            for index, place in enumerate(self._places)
        ]

    def _result(self, index: int, model: GPT) -> TrainingResult:
        evaluations, val = self._evaluations[index], self._val[index]
        assert val is not None
        summary = TrainingSummary(
            final_train_loss=evaluations[-1].train_loss,
            final_val_loss=evaluations[-1].val_loss,
            best_val_loss=min(evaluation.val_loss for evaluation in evaluations),
            n_params=sum(parameter.numel() for parameter in model.parameters()),
            train_seconds=self.training.seconds / len(self.members),
            eval_seconds=self.evaluating.seconds / len(self.members),
            tokens_per_second=self.speed(self._trials[index].training.steps),
        )
        return TrainingResult(
            model=model.eval(),
            evaluations=tuple(evaluations),
            val=val,
            summary=summary,
            replicas=len(self.members),
        )


class _Stopwatch:
    """Adds up the seconds spent inside its `running` blocks."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    @contextmanager
    def running(self) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - started
