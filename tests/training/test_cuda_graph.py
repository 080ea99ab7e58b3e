"""When a step is captured, replayed, or goes on as it is, by a capturer that the test brings."""

from __future__ import annotations

import gc
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gpt_experiments.training.cuda_graph import CaptureWarning, GraphCapturer, RepeatedStep, Step


class Recording:
    """Stands where a CUDA graph would: notes what it is asked for, and replays by taking the step."""

    def __init__(self, error: Exception | None = None) -> None:
        self.log: list[str] = []
        self._error = error

    def warm_up(self, step: Step) -> None:
        self.log.append("warm up")
        step()

    def capture(self, step: Step) -> Step:
        self.log.append("capture")
        if self._error:
            raise self._error

        def replay() -> None:
            self.log.append("replay")
            step()

        return replay


def taken(capturer: Recording | None, steps: int) -> int:
    count = 0

    def step() -> None:
        nonlocal count
        count += 1

    repeated = RepeatedStep(step, capturer)
    for _ in range(steps):
        repeated.take()
    return count


def test_three_steps_warm_up_and_the_others_are_replays_of_one_capture() -> None:
    capturer = Recording()
    assert taken(capturer, 6) == 6
    assert capturer.log == ["warm up"] * 3 + ["capture"] + ["replay"] * 3
    few = Recording()
    assert taken(few, 3) == 3
    assert few.log == ["warm up"] * 3


def test_without_a_capturer_every_step_is_taken_as_it_is() -> None:
    assert taken(None, 5) == 5


def test_a_capture_that_fails_is_reported_once_and_no_step_is_lost() -> None:
    capturer = Recording(RuntimeError("operation not permitted when stream is capturing\nCompile with ..."))
    with pytest.warns(
        RuntimeWarning, match=r"CUDA graph \(operation not permitted when stream is capturing\)"
    ) as reported:
        assert taken(capturer, 6) == 6
    assert len(reported) == 1
    assert capturer.log == ["warm up"] * 3 + ["capture"]


def test_memory_that_runs_out_and_a_bug_are_passed_on() -> None:
    for error in (
        torch.OutOfMemoryError("CUDA out of memory"),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        TypeError("a bug"),
    ):
        with pytest.raises(type(error), match=str(error)[:20]):
            taken(Recording(error), 4)
        with pytest.raises(type(error), match=str(error)[:20]):
            taken(Recording(ended_after(error)), 4)


def ended_after(cause: Exception) -> Exception:
    """What the end of a capture raises when the capture has been broken by the cause."""
    try:
        try:
            raise cause
        finally:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
    except RuntimeError as error:
        return error


def test_the_error_that_broke_the_capture_is_reported_rather_than_that_it_is_broken() -> None:
    cause = torch.AcceleratorError("CUDA error: operation not permitted when stream is capturing\nSearch for ...")
    with pytest.warns(CaptureWarning, match=r"graph \(CUDA error: operation not permitted when stream is capturing\)"):
        assert taken(Recording(ended_after(cause)), 5) == 5


class FakeCuda:
    """Stands below torch's own Python for captures: streams, the allocator and the generator of one device.

    As in PyTorch 2.11, a capture whose end fails leaves its pool open and the generator waiting.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stream = self.first_stream = SimpleNamespace(device="cuda:0", name="first")
        self.open_pools: set[tuple[int, int]] = set()
        self.held_pools: set[tuple[int, int]] = set()
        self.was_collecting: list[bool] = []
        self.generator: Any = SimpleNamespace(capturing=False, offset=8)
        cuda = self

        class Graph:
            def capture_begin(self, pool: tuple[int, int], capture_error_mode: str, **more: object) -> None:
                assert capture_error_mode == "thread_local"
                cuda.open_pools.add(pool)
                cuda.held_pools.add(pool)
                cuda.generator.capturing = True
                cuda.was_collecting.append(gc.isenabled())
                self.pool = pool

            def capture_end(self) -> None:
                if cuda.generator.offset == "broken":
                    cuda.generator.offset = 8
                    raise torch.AcceleratorError("CUDA error: operation failed due to a previous error during capture")
                cuda.open_pools.remove(self.pool)
                cuda.generator.capturing = False

            def replay(self) -> None:
                """Nothing to compute."""

        class Generator:
            def __init__(self, device: torch.device) -> None:
                self.state = SimpleNamespace(capturing=False, offset=0)

            def set_state(self, offset: int) -> None:
                self.state.offset = offset

        def end(index: int, pool: tuple[int, int]) -> None:
            if pool not in self.open_pools:
                raise RuntimeError("endAllocatePool: not currently recording to mempool_id")
            self.open_pools.remove(pool)

        default = SimpleNamespace(graphsafe_set_state=lambda fresh: setattr(self, "generator", fresh.state))
        replaced = {
            "CUDAGraph": Graph,
            "Stream": lambda device: SimpleNamespace(device="cuda:0", name="side"),
            "current_device": lambda: 0,
            "_get_device_index": lambda device, optional: 0,
            "current_stream": lambda device: self.stream,
            "set_stream": lambda stream: setattr(self, "stream", stream),
            "synchronize": lambda: None,
            "empty_cache": lambda: None,
            "graph_pool_handle": lambda: (0, 1),
            "get_rng_state": lambda device: self.generator.offset,
            "default_generators": (default,),
        }
        for name, value in replaced.items():
            monkeypatch.setattr(torch.cuda, name, value)
        monkeypatch.setattr(torch, "Generator", Generator)
        monkeypatch.setattr(torch._C, "_host_emptyCache", lambda: None, raising=False)
        monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", end, raising=False)
        monkeypatch.setattr(torch._C, "_cuda_releasePool", lambda i, pool: self.held_pools.remove(pool), raising=False)


def test_a_failed_capture_leaves_the_process_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through torch's own Python, whose side stream would stay current."""
    cuda = FakeCuda(monkeypatch)
    capturer = GraphCapturer(torch.device("cuda"))

    def breaks() -> None:
        assert cuda.stream is not cuda.first_stream
        cuda.generator.offset = "broken"
        raise torch.AcceleratorError("CUDA error: operation not permitted when stream is capturing")

    with pytest.raises(torch.AcceleratorError, match="previous error during capture") as ended:
        capturer.capture(breaks)
    assert "not permitted" in str(ended.value.__context__)
    assert cuda.stream is cuda.first_stream
    assert cuda.open_pools == cuda.held_pools == set()
    assert cuda.generator == SimpleNamespace(capturing=False, offset=8)


def test_a_bug_in_a_step_that_is_captured_leaves_the_process_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """The capture ends by itself, and only the bug is raised."""
    cuda = FakeCuda(monkeypatch)

    def bug() -> None:
        raise TypeError("a bug")

    with pytest.raises(TypeError):
        GraphCapturer(torch.device("cuda:0")).capture(bug)
    assert cuda.stream is cuda.first_stream
    assert cuda.open_pools == set()
    assert cuda.generator == SimpleNamespace(capturing=False, offset=8)


def test_no_garbage_is_collected_during_a_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    """It might be an older graph, whose end would break the capture."""
    cuda = FakeCuda(monkeypatch)
    GraphCapturer(torch.device("cuda")).capture(lambda: None)
    assert cuda.was_collecting == [False]
    assert gc.isenabled()
    assert cuda.held_pools == {(0, 1)}  # the graph's own, as long as it lives


@pytest.mark.gpu
@pytest.mark.filterwarnings("default")
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_real_graph_computes_what_the_step_does_and_draws_anew() -> None:
    device = torch.device("cuda")
    total, drawn = torch.zeros(1, device=device), torch.zeros(1000, device=device)

    def step() -> None:
        total.add_(1)
        drawn.copy_(torch.rand(1000, device=device))

    repeated, seen = RepeatedStep(step, GraphCapturer(device)), []
    for _ in range(10):
        repeated.take()
        seen.append(drawn.clone())
    assert total.item() == 10
    assert len({tuple(values.tolist()) for values in seen}) == 10


@pytest.mark.gpu
@pytest.mark.filterwarnings("default")
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_after_a_real_capture_that_fails_the_process_draws_on_and_captures_again() -> None:
    device = torch.device("cuda")
    first, drawn = torch.cuda.current_stream(), torch.zeros(8, device=device)

    def waits() -> None:
        drawn.copy_(torch.rand(8, device=device))
        drawn.sum().item()

    repeated = RepeatedStep(waits, GraphCapturer(device))
    for _ in range(3):
        repeated.take()
    with pytest.warns(CaptureWarning, match="not permitted"):
        repeated.take()
    assert torch.cuda.current_stream() == first
    before = torch.rand(8, device=device)
    assert not torch.equal(before, torch.rand(8, device=device))

    def draws() -> None:
        drawn.copy_(torch.rand(8, device=device))

    graph = RepeatedStep(draws, GraphCapturer(device))
    for _ in range(6):
        graph.take()
