"""The plain sweep as a program: `python -m gpt_experiments.bench.plain_sweep SWEEP.yaml CORPUS.txt DEVICE SCALE`."""

from __future__ import annotations

import sys

from gpt_experiments.bench.sweeps import run_plain
from gpt_experiments.corpus import load_corpus
from gpt_experiments.sweep.definition_file import load_definition
from gpt_experiments.training import resolve_device

if __name__ == "__main__":
    file, text, device, scale = sys.argv[1:]
    print(run_plain(load_definition(file), load_corpus(text), resolve_device(device), float(scale)))
