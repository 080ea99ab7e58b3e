"""The plain sweep as a program: `python -m gpt_experiments.bench.plain_sweep SWEEP.yaml CORPUS.txt DEVICE SCALE`.

It loads nothing that a notebook would not: no MLflow, no figures.
"""

from __future__ import annotations

import sys

import torch

from gpt_experiments.bench.plain import EVALUATION_BATCHES, PlainTraining
from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.corpus.sources import load_corpus
from gpt_experiments.sweep.definition import SweepDefinition
from gpt_experiments.sweep.definition_file import load_definition


def run_plain(definition: SweepDefinition, corpus: Corpus, device: torch.device, scale: float) -> list[float]:
    """Train every variant the plain way, one after the other; returns their last validation losses, nats per character.

    An evaluation takes `scale` of the batches that it takes in the study.
    """
    batches = max(1, round(EVALUATION_BATCHES * scale))
    losses = []
    for variant in definition.one_at_a_time():
        training = PlainTraining(Trial(shape=variant.shape, training=definition.training), corpus, device)
        done, estimates = 0, {}
        for step in definition.training.evaluation_steps():
            for _ in range(step - done):
                training.step()
            done, estimates = step, training.estimate_losses(batches)
        losses.append(estimates["val"])
    return losses


if __name__ == "__main__":
    file, text, device_name, scale_of_study = sys.argv[1:]
    print(run_plain(load_definition(file), load_corpus(text), torch.device(device_name), float(scale_of_study)))
