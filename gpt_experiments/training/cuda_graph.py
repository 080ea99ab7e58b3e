"""Captures a training step once as a CUDA graph and replays it; without a capture, runs it kernel by kernel."""

from __future__ import annotations

import contextlib
import gc
import warnings
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import torch

from gpt_experiments.errors import first_line
from gpt_experiments.training.device import SpeedWarning, is_out_of_memory

Step = Callable[[], None]


class CaptureWarning(SpeedWarning):
    """Training goes on without a graph."""


_WARM_UP_STEPS: Final = 3  # before a capture: libraries load, and pick and set up their kernels, at the first calls


class Capturer(Protocol):
    """Turns a step into one that costs a single launch."""

    def warm_up(self, step: Step) -> None:
        """Take the step uncaptured, on the stream that can later capture it."""
        ...

    def capture(self, step: Step) -> Step:
        """A step that replays what `step` does; nothing is computed yet. RuntimeError if it cannot be captured."""
        ...


class GraphCapturer:
    """Captures with torch.cuda.CUDAGraph, on a stream of its own.

    The step must not wait for the device, and must read and write tensors that stay where they are. Torch's default
    CUDA generator is advanced by every replay, so dropout draws anew.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._stream = device, torch.cuda.Stream(device)
        self._index = torch.cuda.current_device() if str(device) == "cuda" else device.index

    def warm_up(self, step: Step) -> None:
        """Take the step on the stream that captures, in order with what the current stream does before and after."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            step()
        current.wait_stream(self._stream)

    def capture(self, step: Step) -> Step:
        """The replay of the step as one graph, whose memory lasts as long as the replay.

        Where the step cannot be captured, the process is as it was before, and what PyTorch raises at the end of the
        capture has the step's own error as its context.
        """
        graph, pool = torch.cuda.CUDAGraph(), torch.cuda.graph_pool_handle()
        stream, drawn = torch.cuda.current_stream(self._device), torch.cuda.get_rng_state(self._device)
        try:
            # Other threads of the process may go on using CUDA.
            with (
                _no_garbage_collected(),
                torch.cuda.graph(graph, pool=pool, stream=self._stream, capture_error_mode="thread_local"),
            ):
                step()
        except BaseException:
            torch.cuda.set_stream(stream)
            self._end_allocations(pool)
            self._renew_generator(drawn)
            raise
        return graph.replay

    def _end_allocations(self, pool: tuple[int, int]) -> None:
        """End the capture's allocations; after a failure PyTorch counts it as under way, and frees less memory."""
        end, release = (getattr(torch._C, f"_cuda_{name}", None) for name in ("endAllocateToPool", "releasePool"))
        if end is None or release is None:
            return
        with contextlib.suppress(RuntimeError):  # it has ended after all, or has not begun
            end(self._index, pool)
            release(self._index, pool)

    def _renew_generator(self, drawn: torch.Tensor) -> None:
        """Replace the default generator, which in some versions keeps waiting for the end of the capture."""
        fresh = torch.Generator(self._device)
        fresh.set_state(drawn)
        torch.cuda.default_generators[self._index].graphsafe_set_state(fresh)


@contextlib.contextmanager
def _no_garbage_collected() -> Iterator[None]:
    """Collect no garbage in the block: freeing an older graph would break a capture."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class RepeatedStep:
    """Takes one step again and again: some to warm up, then the captured one.

    Warm-up steps are training steps like all others. If the step cannot be captured, a warning says why and training
    goes on uncaptured; if memory runs out, the error is passed on, because the uncaptured step needs no less.
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
    except RuntimeError as error:
        reason = _why_not_captured(error)
    warnings.warn(
        f"the training step could not be captured as a CUDA graph ({reason}); "
        "training without it gives the same result, but is slower",
        CaptureWarning,
        stacklevel=2,
    )
    return step


def _why_not_captured(error: RuntimeError) -> str:
    """What broke the capture, in one line. It is raised if the uncaptured step would fail as well."""
    cause = error.__context__ or error  # the error at the end of a broken capture does not name the cause
    if is_out_of_memory(error) or is_out_of_memory(cause) or not isinstance(cause, RuntimeError):
        raise cause
    return first_line(cause)
