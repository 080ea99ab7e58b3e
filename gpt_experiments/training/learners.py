"""What takes the steps: one model kernel by kernel, or many replicas as one captured graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.model.gpt import GPT
from gpt_experiments.model.replicas import ReplicaGPT
from gpt_experiments.parameters import TrainingSetup
from gpt_experiments.training.batches import ReplicaBatches, training_batches
from gpt_experiments.training.cuda_graph import Capturer, RepeatedStep
from gpt_experiments.training.device import strictly_deterministic
from gpt_experiments.training.evaluation import SplitLoss, evaluate, evaluate_replicas
from gpt_experiments.training.optimizer import AdamW, ReplicaAdamW, copied, fill, flat, learning_rate_at
from gpt_experiments.training.state import TrialState, set_generator_state


def training_step(model: GPT, optimizer: AdamW, inputs: Tensor, targets: Tensor, setup: TrainingSetup) -> Tensor:
    """Take one step on inputs and targets (B, T); returns the loss before it, nats per character, on the device."""
    model.train()
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=setup.precision == "bfloat16"):
        logits = model(inputs)  # (B, T, vocab_size)
    loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
    loss.backward()
    optimizer.step()
    return loss.detach()


class Learner(Protocol):
    """Trains one trial or several; lists have an entry for each, in the order in which they were given."""

    def take(self, steps: int) -> list[float]:
        """Take so many steps; returns the losses on the last batch, nats per character. Waits for the device."""
        ...

    def evaluate(self) -> list[tuple[float, SplitLoss]]:
        """The exact training loss, on a training subset the size of the validation split, and validation losses."""
        ...

    def models(self) -> list[GPT]:
        """The models as they are now."""
        ...

    def weights_and_moments(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Of that trial now: its weights and AdamW's two moments, as a `TrialState` has them. Waits for the device."""
        ...


class SoloLearner:
    """Trains one model, kernel by kernel.

    Args:
        state: from which it goes on; None begins at step 0.
    """

    def __init__(self, trial: Trial, corpus: Corpus, device: torch.device, state: TrialState | None = None) -> None:
        self._setup = trial.training
        torch.manual_seed(trial.seed)
        self._model = GPT(trial.model_config(corpus.vocab_size)).to(device)
        self._optimizer = AdamW(self._model.parameters(), trial.training)
        self._train, self._part, self._val = splits(corpus, device)
        self._batches = training_batches(
            self._train,
            batch_size=trial.training.batch_size,
            block_size=trial.shape.block_size,
            seed=trial.seed,
            start=state.step if state else 0,
        )
        if state is not None:
            fill(self._model.parameters(), state.weights)
            self._optimizer.restore(state.means, state.mean_squares, state.step)
            set_generator_state(device, state.generator)

    def take(self, steps: int) -> list[float]:
        for _ in range(steps):
            loss = training_step(self._model, self._optimizer, *next(self._batches), self._setup)
        return [loss.item()]

    def evaluate(self) -> list[tuple[float, SplitLoss]]:
        return [(evaluate(self._model, self._part).mean, evaluate(self._model, self._val))]

    def models(self) -> list[GPT]:
        return [self._model]

    def weights_and_moments(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        return flat(self._model.parameters()), *self._optimizer.moments()


def splits(corpus: Corpus, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The training split, a training subset the size of the validation split, and the validation split, on the device.

    The training loss is taken on the subset, so that the two losses are equally exact.
    """
    train, val = torch.from_numpy(corpus.train).to(device), torch.from_numpy(corpus.val).to(device)
    return train, train[: len(val)], val


_Value = TypeVar("_Value")


class ReplicaLearner:
    """Trains trials that share everything but seed, dropout and learning rate.

    Each has the initial weights and the batches that it has alone. Dropout draws from torch's default generator of the
    device, seeded with the first trial's seed: masks are independent between replicas, and what a trial draws depends
    on the group that it trains with.

    Args:
        capturer: turns the step into one launch; None takes it kernel by kernel.
        states: from which the trials go on, all after the same steps; a trial whose index none of them has only takes
            part so that the others draw the masks that are theirs. Without any, all begin at step 0.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        corpus: Corpus,
        device: torch.device,
        capturer: Capturer | None = None,
        states: Sequence[TrialState] = (),
    ) -> None:
        # The model needs equal dropout side by side; `_places` are the trials' places in that order.
        order = sorted(range(len(trials)), key=lambda i: trials[i].shape.dropout)
        self._places = sorted(range(len(trials)), key=lambda i: order[i])
        ordered = [trials[i] for i in order]
        setup = self._setup = ordered[0].training
        models = []
        for trial in ordered:
            torch.manual_seed(trial.seed)
            models.append(GPT(trial.model_config(corpus.vocab_size)))
        torch.manual_seed(trials[0].seed)
        self._model = ReplicaGPT(models).to(device)
        self._train, self._part, self._val = splits(corpus, device)
        self._batches = ReplicaBatches(
            self._train,
            batch_size=setup.batch_size,
            block_size=ordered[0].shape.block_size,
            seeds=[trial.seed for trial in ordered],
            start=states[0].step if states else 0,
        )
        self._optimizer = ReplicaAdamW(self._model.parameters_of_all.detach(), _learning_rates(ordered), setup)
        self._losses = torch.zeros(len(trials), device=device)  # (R,), of the latest step
        self._step, self._steps_taken = RepeatedStep(self._take_one, capturer), 0
        if states:
            self._restore(states, device)

    @torch.no_grad()
    def _restore(self, states: Sequence[TrialState], device: torch.device) -> None:
        """Write the states into the tensors that are there, which a captured step goes on using."""
        for state in states:
            place = self._places[state.index]
            self._model.parameters_of_all[place, : len(state.weights)] = state.weights.to(device)
            self._optimizer.restore(place, state.means, state.mean_squares)
        self._steps_taken = states[0].step
        self._optimizer.steps_taken.fill_(self._steps_taken)
        set_generator_state(device, states[0].generator)  # last, since models have drawn from it

    def take(self, steps: int) -> list[float]:
        self._model.train()
        end = self._steps_taken + steps
        while self._steps_taken < end:
            ready = min(self._batches.prepare(self._steps_taken), end - self._steps_taken)
            for _ in range(ready):
                self._step.take()
            self._steps_taken += ready
        return self._in_order(self._losses.tolist())

    def evaluate(self) -> list[tuple[float, SplitLoss]]:
        train, val = evaluate_replicas(self._model, self._part), evaluate_replicas(self._model, self._val)
        return self._in_order([(on_train.mean, on_val) for on_train, on_val in zip(train, val, strict=True)])

    def models(self) -> list[GPT]:
        return self._in_order(self._model.unstack())

    def weights_and_moments(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        place, n_params = self._places[index], sum(shape.numel() for shape in self._model.shapes.values())
        weights = copied(self._model.parameters_of_all[place, :n_params])
        return weights, *self._optimizer.moments(place, n_params)

    def _in_order(self, values: list[_Value]) -> list[_Value]:
        """The replicas' values in the order of the trials."""
        return [values[place] for place in self._places]

    def _take_one(self) -> None:
        """One step of all replicas. It is captured, so it holds only work of the device, and nothing may wait."""
        with strictly_deterministic():
            self._compute_and_move()

    def _compute_and_move(self) -> None:
        inputs, targets = self._batches.gather(self._optimizer.steps_taken)  # (R, B, T)
        # No cache: each weight is cast once a step, and a cached one would outlive the capture.
        bfloat16 = self._setup.precision == "bfloat16"
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=bfloat16, cache_enabled=False):
            logits = self._model(inputs)  # (R, B, T, vocab_size)
        losses = F.cross_entropy(logits.float().flatten(0, 2), targets.flatten(), reduction="none")
        losses = losses.view(len(targets), -1).mean(dim=1)  # (R,)
        # No replica's loss depends on another's weights, so the gradient of the sum holds each one's own.
        (grad,) = torch.autograd.grad(losses.sum(), self._model.parameters_of_all)  # (R, P)
        self._optimizer.step(grad)
        self._losses.copy_(losses.detach())


def _learning_rates(trials: Sequence[Trial]) -> Tensor:
    """The learning rates of every step and trial, (steps, R), float64, on the CPU."""
    setups = {trial.training for trial in trials}
    of_setup = {setup: [learning_rate_at(setup, step) for step in range(setup.steps)] for setup in setups}
    return torch.tensor([of_setup[trial.training] for trial in trials], dtype=torch.float64).T.contiguous()
