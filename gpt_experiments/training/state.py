"""The state of a trial in mid-training, from which it goes on as if nothing had happened, and its bytes.

A state holds all that the steps to come depend on: weights, both moments of AdamW, the number of steps taken, and where
the generator of dropout stands. Batches need nothing: they follow from the seed and the number of steps.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from gpt_experiments.config import Trial, Variant
from gpt_experiments.errors import CheckpointError, first_line
from gpt_experiments.parameters import PARAMETERS
from gpt_experiments.training.events import Evaluation

_FORMAT: Final = "gpt_experiments trial state 1"
_FORMAT_KEY: Final = "format"
_TENSORS: Final = ("weights", "means", "mean_squares", "generator")
_REMEDY: Final = "the trial begins anew"


@dataclass(frozen=True, kw_only=True)
class TrialState:
    """A trial after some of its steps.

    Attributes:
        step: optimisation steps done.
        group: all trials that train together, in their order, this one included; dropout draws from one generator for
            all of them, so what a trial draws depends on them.
        index: which of them it is.
        device: kind of the device, `cpu`, `cuda` or `mps`.
        threads: CPU threads.
        kernels: whether the kernels for the CPU are switched on.
        evaluations: those so far.
        train_seconds, eval_seconds: of the whole group so far.
        weights, means, mean_squares: (P,), float32, on the CPU: the parameters, and AdamW's moments, in the order in
            which such a group has them on such a device.
        generator: (bytes,), uint8: where torch's default generator of the device stands.
    """

    step: int
    group: tuple[Trial, ...]
    index: int
    device: str
    threads: int
    kernels: bool
    evaluations: tuple[Evaluation, ...]
    train_seconds: float
    eval_seconds: float
    weights: Tensor
    means: Tensor
    mean_squares: Tensor
    generator: Tensor

    @property
    def trial(self) -> Trial:
        return self.group[self.index]

    @property
    def together(self) -> str:
        """What states have in common that go on together: 16 hexadecimal digits of the group and where it stands."""
        return _together(_as_json(self))

    def to_bytes(self) -> bytes:
        """The state as safetensors, with everything but the tensors as JSON in its metadata."""
        tensors = {name: getattr(self, name).contiguous() for name in _TENSORS}
        return safetensors.torch.save(tensors, {_FORMAT_KEY: _FORMAT, "state": json.dumps(_as_json(self))})

    @classmethod
    def from_bytes(cls, data: bytes) -> TrialState:
        """The state that `to_bytes` wrote.

        Raises:
            CheckpointError: the bytes are damaged, or of another format.
        """
        try:
            state = _state(_described(data), safetensors.torch.load(data))
        except (safetensors.SafetensorError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise CheckpointError(
                f"the saved state of a trial cannot be read ({first_line(error)}); {_REMEDY}"
            ) from error
        return state


def together_of(data: bytes) -> str:
    """`together` of the state that `TrialState.to_bytes` has just written, without its tensors."""
    return _together(_described(data))


def require_usable(state: TrialState, trial: Trial, vocab_size: int, device: torch.device) -> None:
    """Raise a CheckpointError unless the trial can go on from that state on the device."""
    n_params = trial.model_config(vocab_size).n_params
    if state.trial != trial:
        raise CheckpointError(f"the saved state is that of another trial; {_REMEDY}")
    if state.device != device.type:
        raise CheckpointError(
            f"the state was saved while the trial trained on {state.device}, and on {device.type} it would not train "
            f"to the same result; {_REMEDY}"
        )
    if not 0 < state.step <= trial.training.steps or len(state.weights) != n_params:
        raise CheckpointError(f"the saved state does not fit its trial; {_REMEDY}")


def _as_json(state: TrialState) -> dict[str, Any]:
    return {
        "step": state.step,
        "group": [{"seed": trial.seed, **trial.variant.values()} for trial in state.group],
        "index": state.index,
        "device": state.device,
        "threads": state.threads,
        "kernels": state.kernels,
        "evaluations": [dataclasses.astuple(evaluation) for evaluation in state.evaluations],
        "train_seconds": state.train_seconds,
        "eval_seconds": state.eval_seconds,
    }


def _state(values: Any, tensors: dict[str, Tensor]) -> TrialState:
    """The state of these values; whatever is wrong with them raises one of the errors that `from_bytes` names."""
    numbers = {name: float(values[name]) for name in ("train_seconds", "eval_seconds")}
    group = tuple(_trial(described) for described in values["group"])
    evaluations = [
        Evaluation(step=int(step), train_loss=float(train_loss), val_loss=float(val_loss))
        for step, train_loss, val_loss in values["evaluations"]
    ]
    weights, means, mean_squares, generator = (tensors[name] for name in _TENSORS)
    if any(tensor.dtype != torch.float32 or tensor.shape != weights.shape for tensor in (weights, means, mean_squares)):
        raise ValueError("its tensors differ in size")
    if weights.dim() != 1 or generator.dim() != 1 or generator.dtype != torch.uint8:
        raise ValueError("its tensors are of another shape")
    if not (isinstance(values["step"], int) and 0 <= values["index"] < len(group)):
        raise ValueError("its step or its place in the group is none")
    return TrialState(
        step=values["step"],
        group=group,
        index=values["index"],
        device=str(values["device"]),
        threads=int(values["threads"]),
        kernels=bool(values["kernels"]),
        evaluations=tuple(evaluations),
        weights=weights,
        means=means,
        mean_squares=mean_squares,
        generator=generator,
        **numbers,
    )


def _trial(described: dict[str, Any]) -> Trial:
    variant = Variant.of({name: described[name] for name in PARAMETERS if name in described})
    return Trial(shape=variant.shape, training=variant.training, seed=described["seed"])


def _described(data: bytes) -> Any:
    """What `_as_json` has written, from the header of safetensors, which the library reads from a file alone."""
    length = int.from_bytes(data[:8], "little")
    if not 0 < length <= len(data) - 8:
        raise ValueError("it is cut short")
    metadata = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
    if metadata.get(_FORMAT_KEY) != _FORMAT:
        raise ValueError(f"its format is {metadata.get(_FORMAT_KEY)!r:.40}")
    return json.loads(metadata["state"])


def _together(values: dict[str, Any]) -> str:
    shared = {name: values[name] for name in ("step", "group", "device", "threads", "kernels")}
    text = json.dumps({**shared, "evaluations": len(values["evaluations"])}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def generator_state(device: torch.device) -> Tensor:
    """Where torch's default generator of the device stands: (bytes,), uint8, on the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else torch.get_rng_state()


def set_generator_state(device: torch.device, state: Tensor) -> None:
    """Let torch's default generator of the device stand there.

    Raises:
        RuntimeError: it is no state of such a generator.
    """
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    elif device.type == "mps":
        torch.mps.set_rng_state(state)
    else:
        torch.set_rng_state(state)
