"""What a benchmark makes of its measurements, and the command itself on a small scale."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from rich.console import Console

from gpt_experiments.bench.machine import matrix_flops
from gpt_experiments.bench.results import (
    BenchResult,
    Machine,
    OrchestrationTimes,
    ScalingTimes,
    Spread,
    StepTimes,
    SweepTimes,
)
from gpt_experiments.bench.run import BenchOptions, run_bench
from gpt_experiments.bench.steps import excerpt, in_turn, peak_memory, prepared, time_events
from gpt_experiments.cli import program
from gpt_experiments.cli.bench_tables import tables
from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.training import Evaluation, Progress
from tests.conftest import generated_text


def test_ratios_are_taken_round_by_round() -> None:
    times = StepTimes(
        label="baseline",
        n_params=1,
        tokens=1,
        flops=1.0,
        seconds={"plain": [4.0, 9.0, 10.0], "ours": [2.0, 3.0, 2.0]},
        memory={"plain": 1, "ours": 1},
    )
    assert times.ratio == Spread(median=3.0, least=2.0, largest=5.0)
    assert times.step("plain") == Spread(median=9.0, least=4.0, largest=10.0)


def test_what_more_of_something_brings_is_taken_round_by_round() -> None:
    times = ScalingTimes(what="workers", tokens_per_second={1: [100.0, 50.0, 80.0], 2: [150.0, 100.0, 80.0]})
    assert times.rate(2) == Spread(median=100.0, least=80.0, largest=150.0)
    assert times.gain(2) == Spread(median=1.5, least=1.0, largest=2.0)
    assert times.gain(1) == Spread(median=1.0, least=1.0, largest=1.0)


def test_the_tables_show_the_spread_of_the_rounds_and_what_more_costs(capsys: pytest.CaptureFixture[str]) -> None:
    machine = Machine(
        hardware="a CPU", device="cpu", cores=2, matrix_flops=1e11, date="2026-11-25", versions="", commit=None
    )
    times = ScalingTimes(what="workers", tokens_per_second={1: [1000.0, 1250.0, 1100.0], 2: [1600.0, 1500.0, 1650.0]})
    console = Console(width=120, highlight=False)
    for renderable in tables(BenchResult(machine=machine, scaling=(times,)), "scaling"):
        console.print(renderable)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["1", "1,100", "(1,000–1,250)", "1.00×", "1.00×"] in rows
    assert ["2", "1,600", "(1,500–1,650)", "1.50×", "(1.20–1.60)", "1.33×"] in rows


def test_what_a_sweep_does_beside_training_is_what_its_workers_do_not_spend_in_trials() -> None:
    seconds = {"plain": [8.0, 6.0], "ours": [2.0, 1.0]}
    sweep = SweepTimes(variants=1, steps=1, scale=1.0, workers=2, seconds=seconds, in_trials=[3.0, 1.0])
    assert sweep.ratio == Spread(median=5.0, least=4.0, largest=6.0)
    assert sweep.beside == Spread(median=0.5, least=0.5, largest=0.5)


def test_what_is_neither_training_nor_evaluation_is_shared_by_all_workers() -> None:
    times = OrchestrationTimes(trials=10, workers=2, wall=20.0, parent=3.0, training=15.0, evaluation=5.0)
    assert times.files_of_trial == pytest.approx(2.0)


def test_a_step_is_timed_from_the_progress_after_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 101.0, 103.0, 105.0])  # the first step compiles
    monkeypatch.setattr("gpt_experiments.bench.steps.time.perf_counter", lambda: next(clock))
    events: list[Progress | Evaluation] = [Evaluation(step=0, train_loss=4.0, val_loss=4.0)]
    events += [Progress(step=step, batch_loss=4.0, tokens_per_second=1.0) for step in (1, 2, 3, 4)]
    assert time_events(events, warm_up=2) == 2.0


def test_an_excerpt_keeps_the_vocabulary(corpus: Corpus) -> None:
    short = excerpt(corpus, 500)
    assert short.tokenizer == corpus.tokenizer
    assert 500 < len(short.text) < 700


def test_a_matrix_product_is_measured_on_one_thread_and_the_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    assert 1e8 < matrix_flops(torch.device("cpu")) < 1e13
    assert torch.get_num_threads() == before


def test_ways_take_turns_in_going_first() -> None:
    assert [in_turn(number)[0] for number in range(4)] == ["plain", "ours", "plain", "ours"]
    assert {*in_turn(1)} == {"plain", "ours"}


def test_preparing_for_one_way_leaves_no_trace_for_the_other() -> None:
    before = torch.get_num_threads()
    with prepared(torch.device("cpu")):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.slow
def test_the_peak_of_a_process_is_not_its_parents(corpus: Corpus) -> None:
    """Which holds 700 MB more for a moment; the process itself little more than torch."""
    trial = Trial(shape=Shape(n_embed=8, n_head=1, n_layer=1, block_size=8), training=TrainingSetup(batch_size=1))
    ballast = b"x" * 700_000_000
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        peak = pool.submit(peak_memory, "plain", trial, corpus, "cpu").result()
    assert len(ballast) == 700_000_000
    assert 50e6 < peak < 700e6


def test_cublas_is_asked_to_repeat_its_results_before_anything_multiplies(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch reads the variable at a process's first product on CUDA, and never again."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    seen: list[str | None] = []

    def describe(device: torch.device) -> Machine:
        seen.append(os.environ.get("CUBLAS_WORKSPACE_CONFIG"))
        return Machine(hardware="", device="cuda", cores=1, matrix_flops=1.0, date="", versions="", commit=None)

    monkeypatch.setattr("gpt_experiments.bench.run.resolve_device", torch.device)
    monkeypatch.setattr("gpt_experiments.bench.run.describe_machine", describe)
    long_enough = Corpus.from_text(generated_text(6_000), name="x")
    list(run_bench(BenchOptions(parts=(), device="cuda"), long_enough))
    assert seen == [":4096:8"]


def test_the_peak_on_cuda_is_what_is_reserved_after_a_capture_and_a_replay(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph keeps memory for itself; the first three steps only warm up."""
    steps: list[int] = []

    def training(trial: Trial, *where: object) -> Iterator[Progress]:
        steps.append(trial.training.steps)
        yield Progress(step=trial.training.steps, batch_loss=1.0, tokens_per_second=1.0)

    monkeypatch.setattr("gpt_experiments.bench.steps.prepare_process", lambda device, threads: None)
    monkeypatch.setattr("gpt_experiments.bench.steps.train", training)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 123)
    assert peak_memory("ours", Trial(shape=Shape()), corpus, "cuda") == 123
    assert min(steps) > 4


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_preparing_gives_back_how_strictly_kernels_must_repeat_their_results(mode: int) -> None:
    torch.set_deterministic_debug_mode(mode)
    try:
        with prepared(torch.device("cpu")):
            torch.set_deterministic_debug_mode(2 - mode)
        assert torch.get_deterministic_debug_mode() == mode
    finally:
        torch.set_deterministic_debug_mode(0)


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    file = tmp_path / "text.txt"
    file.write_text(generated_text(12_000))
    return file


@pytest.mark.slow
def test_the_command_times_steps_and_writes_every_single_time(tmp_path: Path, text_file: Path) -> None:
    output = tmp_path / "bench" / "result.json"
    options = ["--quick", "--part", "steps", "--steps", "1", "--rounds", "2", "--device", "cpu"]
    done = CliRunner().invoke(program, ["bench", *options, "--data", str(text_file), "--output", str(output)])
    assert done.exit_code == 0, done.output
    for reported in ("Training steps", "baseline", "of peak", "×", "GFLOP/s", str(output)):
        assert reported in done.output
    result = json.loads(output.read_text())
    (steps,) = result["steps"]
    assert all(len(steps["seconds"][way]) == 2 and min(steps["seconds"][way]) > 0 for way in ("plain", "ours"))
    assert all(50e6 < steps["memory"][way] < 4e9 for way in ("plain", "ours"))
    assert result["machine"]["device"] == "cpu"
    assert result["sweep"] is None


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.timeout(900)  # the sweeps compile their kernels anew, and other tests use the same cores
def test_the_command_times_sweeps_workers_and_what_a_sweep_costs_beside_its_training(
    tmp_path: Path, text_file: Path
) -> None:
    output = tmp_path / "result.json"
    text_file.write_text(generated_text(2_000_000))  # of which two thousandths are used
    parts = [word for part in ("scaling", "sweep", "orchestration") for word in ("--part", part)]
    options = ["--quick", *parts, "--steps", "1", "--scale", "0.002", "--device", "cpu"]
    done = CliRunner().invoke(program, ["bench", *options, "--data", str(text_file), "--output", str(output)])
    assert done.exit_code == 0, done.output
    for reported in ("Seeds", "side by side", "throughput", "apart from training", "the parent process"):
        assert reported in done.output
    result = json.loads(output.read_text())
    assert {scaling["what"] for scaling in result["scaling"]} == {"seeds", "workers"}
    (wall,), (inside,) = result["sweep"]["seconds"]["ours"], result["sweep"]["in_trials"]
    assert 0 < inside < wall * result["sweep"]["workers"]
    assert result["sweep"]["variants"] == result["orchestration"]["trials"] == 3


@pytest.mark.parametrize(
    ("options", "reported"),
    [
        (["--rounds", "0"], "rounds must be at least 1, but got 0"),
        (["--steps", "-1"], "steps must be at least 1, but got -1"),
        (["--scale", "2"], "scale must be above 0 and at most 1, the whole study, but got 2"),
        (["--device", "tpu"], "device must be auto, cpu, cuda, cuda:N or mps, but got 'tpu'"),
        (["--part", "luck"], "'luck' is not one of 'steps', 'scaling', 'sweep', 'orchestration'"),
    ],
)
def test_a_wrong_value_is_reported(options: list[str], reported: str, text_file: Path) -> None:
    done = CliRunner().invoke(program, ["bench", "--data", str(text_file), *options])
    assert done.exit_code == 2
    assert reported in done.output


def test_a_corpus_too_short_for_the_variants_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "short.txt"
    file.write_text("to be or not to be " * 20)
    done = CliRunner().invoke(program, ["bench", "--quick", "--data", str(file)])
    assert done.exit_code == 1
    assert "block_size=256 is too long" in done.output
