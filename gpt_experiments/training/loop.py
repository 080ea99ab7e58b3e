"""The training loop: a trial and a corpus become events, then a trained model and its losses."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from gpt_experiments.config import TrainingSetup, Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import DivergedError
from gpt_experiments.model.gpt import GPT
from gpt_experiments.training.batches import training_batches
from gpt_experiments.training.evaluation import SplitLoss, evaluate
from gpt_experiments.training.events import Evaluation, Progress, TrainingSummary
from gpt_experiments.training.groups import require_one_group
from gpt_experiments.training.step import make_optimizer, training_step

_STEPS_BETWEEN_CHECKS = {"cpu": 1, "mps": 50, "cuda": 50}  # reading the loss lets an accelerator's queue run dry


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """A trained model in evaluation mode with the losses and times that led to it; `val` is its last evaluation."""

    model: GPT
    evaluations: tuple[Evaluation, ...]
    val: SplitLoss
    summary: TrainingSummary


def train_group(
    trials: Sequence[Trial], corpus: Corpus, device: torch.device
) -> Generator[tuple[int, Progress | Evaluation], None, list[TrainingResult | DivergedError]]:
    """Train trials that share everything but seed, dropout and learning_rate, yielding each one's index and event.

    A trial that diverges yields no more events, and the list that the generator returns has its error in its place.

    Raises:
        ConfigError: the trials are not of one group.
        CorpusError: the corpus is too short for the variant's block_size; raised before any work.
    """
    require_one_group(trials)
    ended: list[TrainingResult | DivergedError] = []
    for index, trial in enumerate(trials):
        training = train(trial, corpus, device)
        while True:
            try:
                event = next(training)
            except StopIteration as end:
                ended.append(end.value)
                break
            except DivergedError as error:
                ended.append(error)
                break
            yield index, event
    return ended


def train(trial: Trial, corpus: Corpus, device: torch.device) -> Generator[Progress | Evaluation, None, TrainingResult]:
    """Train `trial` on `device`, yielding events as they happen; the generator returns the result.

    The trial, the corpus and the device decide everything. Initial weights and batches are drawn on the CPU, so they
    are the same on every device. Torch's global generators are seeded and dropout draws from them: whoever consumes
    the events must not draw from them in between. The time the consumer takes is not counted as training.

    Raises:
        CorpusError: the corpus is too short for the variant's block_size; raised before any work.
        DivergedError: a loss is not finite.
    """
    setup, block_size = trial.training, trial.variant.block_size
    corpus.require_context(block_size)
    torch.manual_seed(trial.seed)
    model = GPT(trial.model_config(corpus.vocab_size)).to(device)
    train_tokens = torch.from_numpy(corpus.train).to(device)  # (n_train,)
    val_tokens = torch.from_numpy(corpus.val).to(device)  # (n_val,)
    batches = training_batches(train_tokens, batch_size=setup.batch_size, block_size=block_size, seed=trial.seed)
    optimizer = make_optimizer(model, setup)
    training, evaluating = _Stopwatch(), _Stopwatch()
    evaluations: list[Evaluation] = []
    evaluation_steps = setup.evaluation_steps()
    step = 0
    for next_evaluation in evaluation_steps:
        while step < next_evaluation:
            stop = min(step + _STEPS_BETWEEN_CHECKS[device.type], next_evaluation)
            with training.running():
                for _ in range(step, stop):
                    loss = training_step(model, optimizer, *next(batches), setup)
                batch_loss = loss.item()  # waits for the device
            step = stop
            _require_finite(batch_loss, step, setup)
            tokens = step * setup.batch_size * block_size
            yield Progress(step=step, batch_loss=batch_loss, tokens_per_second=tokens / training.seconds)
        with evaluating.running():
            # As much of the training split as there is validation split: the two losses are equally exact.
            train_loss = evaluate(model, train_tokens[: len(val_tokens)]).mean
            val = evaluate(model, val_tokens)
        _require_finite(train_loss + val.mean, step, setup)
        evaluations.append(Evaluation(step=step, train_loss=train_loss, val_loss=val.mean))
        yield evaluations[-1]
    summary = TrainingSummary(
        final_train_loss=evaluations[-1].train_loss,
        final_val_loss=evaluations[-1].val_loss,
        best_val_loss=min(evaluation.val_loss for evaluation in evaluations),
        n_params=sum(parameter.numel() for parameter in model.parameters()),
        train_seconds=training.seconds,
        eval_seconds=evaluating.seconds,
        tokens_per_second=setup.steps * setup.batch_size * block_size / training.seconds,
    )
    return TrainingResult(model=model.eval(), evaluations=tuple(evaluations), val=val, summary=summary)


def _require_finite(loss: float, step: int, setup: TrainingSetup) -> None:
    if not math.isfinite(loss):
        raise DivergedError(step, loss, setup.learning_rate)


class _Stopwatch:
    """Adds up the seconds spent inside its `running` blocks."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - started
