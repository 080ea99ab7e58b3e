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


def is_store(name: str, *operands: str) -> bool:
    """Of an instruction on vectors: on x86 the target comes last, and in parentheses where it is memory."""
    return name.startswith("st") or (name.startswith("vmov") and operands[0].endswith(")"))


@pytest.mark.slow
def test_the_assembly_shows_the_inner_loop_whose_sums_stay_in_registers(tmp_path: Path) -> None:
    lines = output_of_program(1, tmp_path).splitlines()
    instructions = [line.split("\t")[1:] for line in lines if line.startswith("\t")]
    at = [i for i, (name, *_) in enumerate(instructions) if name.startswith(("vfmadd", "fmla"))]
    groups = [instructions[first : last + 1] for first, last in zip(at, at[7:], strict=False) if last - first < 24]
    assert any(not any(is_store(*instruction) for instruction in group) for group in groups)
