"""When a step is captured, replayed, or goes on as it is, by a capturer that the test brings."""

from __future__ import annotations

import pytest
import torch

from gpt_experiments.training.cuda_graph import GraphCapturer, RepeatedStep, Step


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


def test_a_capture_that_fails_is_told_once_and_no_step_is_lost() -> None:
    capturer = Recording(RuntimeError("operation not permitted when stream is capturing\nCompile with ..."))
    with pytest.warns(RuntimeWarning, match=r"CUDA graph \(operation not permitted when stream is capturing\)") as told:
        assert taken(capturer, 6) == 6
    assert len(told) == 1
    assert capturer.log == ["warm up"] * 3 + ["capture"]


def test_memory_that_runs_out_and_a_bug_are_passed_on() -> None:
    for error in (torch.OutOfMemoryError("CUDA out of memory"), TypeError("a bug")):
        with pytest.raises(type(error)):
            taken(Recording(error), 4)


@pytest.mark.gpu
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
