"""A program for a test to kill: groups of trials whose files are written beside the training, on the CPU.

Arguments: the store's URI, the corpus's file, and the number of groups, each of two trials.
"""

from __future__ import annotations

import sys
from pathlib import Path

from gpt_experiments.corpus import Corpus
from gpt_experiments.tracking import Store
from tests.support.listeners import Recorder
from tests.sweep.test_group_sweeps import Groups, on_cpu, run_groups

if __name__ == "__main__":
    uri, file, count = sys.argv[1:]
    corpus = Corpus.from_text(Path(file).read_text(encoding="utf-8"), name="generated")
    source = Groups(corpus, [(2 * i, 2 * i + 1) for i in range(int(count))])
    run_groups(source, corpus, Store(uri), on_cpu(corpus, writers=2), Recorder())
