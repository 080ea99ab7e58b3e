"""The switch that turns the kernels off: the same results, none of the kernels, in every process."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from gpt_experiments.cli import program
from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import ConfigError
from gpt_experiments.kernels import SWITCH, are_switched_on, operations, why_not_compiled
from gpt_experiments.model import GPT, generate
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.sweep.definition_file import load_definition
from gpt_experiments.sweep.resources import RunOptions
from gpt_experiments.sweep.runner import run_single, run_sweep
from gpt_experiments.tracking import Store
from gpt_experiments.training import Evaluation, train
from tests.support.listeners import Recorder
from tests.support.stores import finished_trials

SETUP = TrainingSetup(steps=20, batch_size=8, learning_rate=3e-3, eval_interval=10)
SHAPE = Shape(n_head=2, n_layer=2, n_embed=16, dropout=0.0, block_size=16)
DEFINITION = """
name: tiny
method: one-at-a-time
baseline: {n_head: 2, n_layer: 1, n_embed: 8, dropout: 0.1, block_size: 32}
levels: {n_head: [1]}
training: {steps: 2, batch_size: 2, eval_interval: 2}
"""
NOTICE = f"{SWITCH} is off, so training uses PyTorch's attention, which is slower; unset it to use the kernels"


def losses(trial: Trial, corpus: Corpus) -> list[float]:
    events = train(trial, corpus, torch.device("cpu"))
    return [loss for e in events if isinstance(e, Evaluation) for loss in (e.train_loss, e.val_loss)]


@pytest.fixture
def none_may_be_called(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("a kernel is called")

    monkeypatch.setattr(operations, "compiled_functions", refuse)
    monkeypatch.setattr(operations.FeedForward, "apply", refuse)


def test_switched_off_a_model_trains_to_the_same_losses(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = Trial(shape=SHAPE, training=SETUP)
    expected = losses(trial, corpus)
    monkeypatch.setenv(SWITCH, "off")
    assert losses(trial, corpus) == pytest.approx(expected, abs=1e-5)


@pytest.mark.usefixtures("none_may_be_called")
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_switched_off_no_kernel_is_called(dropout: float, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = Trial(shape=dataclasses.replace(SHAPE, dropout=dropout), training=SETUP)
    model = GPT(trial.model_config(corpus.vocab_size))
    with pytest.raises(AssertionError, match="a kernel is called"):
        losses(trial, corpus)
    monkeypatch.setenv(SWITCH, "off")
    found = losses(trial, corpus)
    assert found[-1] < found[1] - 0.3
    assert model.attention_maps(torch.zeros(5, dtype=torch.long)).shape == (2, 2, 5, 5)
    assert generate(model, torch.tensor([0]), max_new_tokens=3, seed=0).shape == (1, 4)


@pytest.mark.parametrize("value", [None, "", "on"])
def test_the_kernels_are_on_unless_they_are_switched_off(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SWITCH, raising=False)
    if value is not None:
        monkeypatch.setenv(SWITCH, value)
    assert are_switched_on()
    monkeypatch.setenv(SWITCH, "off")
    assert not are_switched_on()
    assert why_not_compiled() == NOTICE


@pytest.mark.parametrize("value", ["of", "Off", "0", "on "])
def test_another_value_is_refused_before_a_run_is_opened(
    value: str, tmp_path: Path, store_uri: str, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, value)
    store, file = Store(store_uri), tmp_path / "tiny.yaml"
    file.write_text(DEFINITION)
    with pytest.raises(ConfigError, match=f"^{SWITCH} must be on or off, but got '{value}'; unset it") as refused:
        run_sweep(load_definition(str(file)), corpus, store, RunOptions(device="cpu"), Recorder())
    with pytest.raises(ConfigError, match=SWITCH):
        run_single(Trial(shape=SHAPE), corpus, store, RunOptions(device="cpu"), Recorder())
    assert finished_trials(store).by_cell == {}
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("command", ["sweep quick --dry-run", "train", "sweep quick"])
def test_on_the_command_line_another_value_ends_with_status_2_in_one_line(
    command: str, text: str, store_uri: str, tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text(text)
    arguments = [*command.split(), "--data", str(tmp_path / "text.txt"), "--tracking-uri", store_uri]
    answer = CliRunner().invoke(program, arguments, env={SWITCH: "yes"})
    assert answer.exit_code == 2
    assert answer.stderr.splitlines()[-1].startswith(f"Error: {SWITCH} must be on or off, but got 'yes'; unset it")


@pytest.mark.slow
def test_every_process_of_a_sweep_obeys_and_one_notice_says_so(
    tmp_path: Path, store_uri: str, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workers find a Numba that notes that it is loaded, and does not run."""
    store, loaded = Store(store_uri), tmp_path / "loaded"
    (tmp_path / "modules" / "numba").mkdir(parents=True)
    (tmp_path / "modules" / "numba" / "__init__.py").write_text(
        f"open({str(loaded)!r}, 'a').close()\nraise RuntimeError('no Numba')\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "modules")
    file = tmp_path / "tiny.yaml"
    file.write_text(DEFINITION)
    options = RunOptions(device="cpu", workers=2)

    monkeypatch.setenv(SWITCH, "off")
    report = run_sweep(load_definition(str(file)), corpus, store, options, listener := Recorder())
    assert [trial.outcome for trial in report.trials] == ["finished"] * 2
    assert listener.notices == [NOTICE]
    assert not loaded.exists()

    monkeypatch.setenv(SWITCH, "on")
    other = Trial(shape=dataclasses.replace(SHAPE, dropout=0.1), training=SETUP)
    run_single(other, corpus, store, options, listener := Recorder())
    assert loaded.exists()
    assert "Numba does not run here" in listener.notices[0]
