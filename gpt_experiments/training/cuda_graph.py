"""A training step captured once as a CUDA graph and replayed; taken kernel by kernel where that cannot be done."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Final, Protocol

import torch

Step = Callable[[], None]


class CaptureWarning(RuntimeWarning):
    """Training goes on without a graph, to the same result, but slower."""


_WARM_UP_STEPS: Final = 3  # before a capture: libraries load, and pick and set up their kernels, at the first calls


class Capturer(Protocol):
    """Turns a step into one that costs a single launch."""

    def warm_up(self, step: Step) -> None:
        """Take the step as it is, where it can later be captured."""
        ...

    def capture(self, step: Step) -> Step:
        """A step that replays what `step` does; nothing is computed yet. A RuntimeError where it cannot be captured."""
        ...


class GraphCapturer:
    """Captures with torch.cuda.CUDAGraph, on a stream of its own.

    The step must not wait for the device, and must read and write tensors that stay where they are. Torch's default
    CUDA generator is advanced by every replay, so dropout draws anew.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._stream = device, torch.cuda.Stream(device)

    def warm_up(self, step: Step) -> None:
        """Take the step on the stream that captures, in order with what the current stream does before and after."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            step()
        current.wait_stream(self._stream)

    def capture(self, step: Step) -> Step:
        """The replay of the step as one graph, whose memory lasts as long as the replay."""
        graph = torch.cuda.CUDAGraph()
        # Other threads of the process may go on using CUDA.
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            step()
        return graph.replay


class RepeatedStep:
    """Takes one step again and again: some to warm up, then as the capturer has it.

    Steps to warm up are training steps like all others. Where the step cannot be captured a warning says why, and it
    goes on as it is; where memory runs out, the error is passed on, because the step as it is needs no less.
    """

    def __init__(self, step: Step, capturer: Capturer | None) -> None:
        self._step, self._capturer = step, capturer
        self._to_warm_up = _WARM_UP_STEPS

    def take(self) -> None:
        """Take one step; on CUDA it is queued, and nothing waits for it."""
        if self._capturer is not None and self._to_warm_up:
            self._capturer.warm_up(self._step)
            self._to_warm_up -= 1
            return
        if self._capturer is not None:
            self._step, self._capturer = _captured(self._step, self._capturer), None
        self._step()


def _captured(step: Step, capturer: Capturer) -> Step:
    try:
        return capturer.capture(step)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        warnings.warn(
            f"the training step could not be captured as a CUDA graph ({reason}); "
            "it trains to the same result without, but slower",
            CaptureWarning,
            stacklevel=2,
        )
        return step
