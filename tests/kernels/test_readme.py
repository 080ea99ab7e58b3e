"""The programs in the kernels' README do what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gpt_experiments import kernels
from gpt_experiments.kernels.operations import compiled_functions

README = Path(kernels.__file__).with_name("README.md")

pytestmark = pytest.mark.skipif(compiled_functions() is None, reason="needs Numba")


def output_of_program(number: int, tmp_path: Path) -> str:
    """What the README's Python program of that number prints; Numba has to find the source, so it is a file."""
    program = tmp_path / "program.py"
    program.write_text(re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)[number])
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(README.parents[2])}
    answer = subprocess.run([sys.executable, program], env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_the_example_of_a_vector_computes_a_dot_product(tmp_path: Path) -> None:
    assert output_of_program(0, tmp_path) == f"{float(sum(i * i for i in range(64)))}\n"


@pytest.mark.slow
def test_the_assembly_has_the_multiply_adds_of_the_inner_loop(tmp_path: Path) -> None:
    instructions = [line.split()[0] for line in output_of_program(1, tmp_path).splitlines() if line.startswith("\t")]
    is_multiply_add = [name.startswith(("vfmadd", "fmla")) for name in instructions]
    assert any(all(is_multiply_add[start : start + 8]) for start in range(len(is_multiply_add) - 7))
