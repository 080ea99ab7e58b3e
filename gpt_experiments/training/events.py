"""Messages between training and its caller: plain values that cross a process boundary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from gpt_experiments.training.state import TrialState


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Some steps were taken.

    Attributes:
        step: optimisation steps done so far.
        batch_loss: the loss on the last batch, nats per character.
        tokens_per_second: training tokens over training time so far, without evaluations. Trials that train
            together have equal shares of the time.
    """

    step: int
    batch_loss: float
    tokens_per_second: float


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The exact losses of the present weights, nats per character."""

    step: int
    train_loss: float
    val_loss: float


@dataclass(frozen=True, kw_only=True)
class Stop:
    """A request of the caller: end the trial of that index early. It takes no further part.

    Attributes:
        keep: whether its Stopped is to hold its state.
    """

    index: int
    keep: bool = False


@dataclass(frozen=True, kw_only=True)
class Save:
    """A request of the caller: send the TrialState of the trial of that index."""

    index: int


@dataclass(frozen=True, kw_only=True)
class Look:
    """A request of the caller: send the Attention of the trial of that index.

    Attributes:
        tokens: (T,), what its heads attend to, at most the variant's block_size.
    """

    index: int
    tokens: NDArray[np.integer[Any]]


@dataclass(frozen=True, kw_only=True)
class Attention:
    """Where a trial's heads look after `step` optimisation steps: weights (n_layer, n_head, T, T), [.., query, key]."""

    step: int
    weights: NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """The end of a trial that was asked to stop: after `step` optimisation steps, without a result.

    Attributes:
        state: its state, if that was asked for.
    """

    step: int
    state: TrialState | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingSummary:
    """A finished training in numbers: losses in nats per character, times in seconds.

    Attributes:
        train_seconds: time spent in optimisation steps; evaluations are in `eval_seconds`. Of trials that train
            together each has an equal share of both, so that times add up.
        tokens_per_second: training tokens over `train_seconds`.
    """

    final_train_loss: float
    final_val_loss: float
    best_val_loss: float
    n_params: int
    train_seconds: float
    eval_seconds: float
    tokens_per_second: float
