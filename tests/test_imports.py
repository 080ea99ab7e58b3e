"""What is loaded when: the command line answers before anything heavy is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "mlflow", "optuna", "matplotlib", "pandas", "numpy", "scipy")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["sweep", "--help"], ["train", "--help"]])
def test_help_waits_for_nothing_heavy(arguments: list[str]) -> None:
    program = f"""
import sys
from gpt_experiments.cli import main
sys.argv = ["gpt-experiments", *{arguments!r}]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("loaded:", *[name for name in {HEAVY!r} if name in sys.modules])
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[-1].split() == ["loaded:"]


def test_training_needs_no_tracking_no_search_and_no_cache_folder() -> None:
    """On a machine with PyTorch and NumPy, groups train without what only runs and downloads need."""
    program = """
import sys
for name in ("mlflow", "optuna", "platformdirs"):
    sys.modules[name] = None
import gpt_experiments.config, gpt_experiments.corpus, gpt_experiments.training, gpt_experiments.training.loop
import gpt_experiments.execution.group_training, gpt_experiments.execution.worker
print(gpt_experiments.corpus.Corpus.from_text("to be or not to be", name="x").vocab_size)
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "7\n"
