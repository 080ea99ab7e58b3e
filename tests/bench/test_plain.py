"""The plain way to train, which everything else is timed against: it has to train, and as the study says."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from gpt_experiments.bench.plain import PlainTraining
from gpt_experiments.bench.plain_sweep import run_plain
from gpt_experiments.bench.sweeps import scaled
from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.sweep.definition_file import load_definition
from gpt_experiments.training import train
from tests.reference.plain_gpt import PlainGPT

CPU = torch.device("cpu")
SMALL = Shape(n_head=2, n_layer=2, n_embed=16, dropout=0.0, block_size=16)
SETUP = TrainingSetup(steps=60, batch_size=16, learning_rate=3e-3, eval_interval=60)


@pytest.mark.slow
def test_it_learns_what_ours_learns(corpus: Corpus) -> None:
    trial = Trial(shape=SMALL, training=SETUP)
    plain = PlainTraining(trial, corpus, CPU)
    assert type(plain.model).__name__ == PlainGPT.__name__
    before = plain.estimate_losses(batches=20)
    for _ in range(60):
        loss = plain.step()
    after = plain.estimate_losses(batches=50)
    assert before.keys() == {"train", "val"}
    assert after["val"] < before["val"] - 1
    assert float(loss) == pytest.approx(after["train"], abs=0.4)
    ours = [event for event in train(trial, corpus, CPU)][-1]
    assert after["val"] == pytest.approx(ours.val_loss, abs=0.1)
    assert plain.model.training


def test_a_scaled_sweep_has_as_many_evaluations() -> None:
    study = load_definition("one-at-a-time")
    for scale in (0.004, 0.02, 0.1):
        small = scaled(study, scale).training
        assert small.steps == 3000 * scale
        assert len(small.evaluation_steps()) == 7
    assert dataclasses.replace(scaled(study, 0.1), training=study.training) == study


@pytest.mark.slow
def test_the_plain_sweep_trains_every_variant_also_as_a_program(tmp_path: Path, corpus: Corpus) -> None:
    definition = load_definition("one-at-a-time")
    tiny = dataclasses.replace(
        definition,
        baseline=SMALL,
        levels={"n_head": [1], "n_layer": [1]},
        training=dataclasses.replace(SETUP, steps=4, eval_interval=2),
    )
    losses = run_plain(tiny, corpus, CPU, 0.01)
    assert len(losses) == 3
    assert all(3 < loss < 5 for loss in losses)
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(tiny.as_dict()))
    (tmp_path / "corpus.txt").write_text(corpus.text)
    command = ["-m", "gpt_experiments.bench.plain_sweep", str(tmp_path / "sweep.yaml"), str(tmp_path / "corpus.txt")]
    done = subprocess.run(
        [sys.executable, *command, "cpu", "0.01"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(yaml.safe_load(done.stdout)) == 3


@pytest.mark.slow
def test_the_plain_sweep_loads_nothing_that_a_notebook_would_not() -> None:
    script = "import sys, gpt_experiments.bench.plain_sweep; print(*{name.partition('.')[0] for name in sys.modules})"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert not {"mlflow", "optuna", "matplotlib", "pandas", "scipy", "numba"} & set(done.stdout.split())
