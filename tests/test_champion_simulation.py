"""The simulation behind the rule of `register`: its rule has no bias, and the one before it had."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "benchmarks" / "champion.py"


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 5])
def test_the_loss_of_a_champion_has_no_bias_where_all_variants_are_equal(seeds: int) -> None:
    spec = importlib.util.spec_from_file_location("champion_simulation", PAGE)
    assert spec is not None
    assert spec.loader is not None
    champion = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = champion
    spec.loader.exec_module(champion)
    table = champion.simulate(0.0, seeds, sweeps=2000)
    bias, error, _, _ = table["lowest mean of sweep and fresh seeds, then measured on further seeds"]
    assert abs(bias) + 1.96 * error < 0.001
    naive, _, _, _ = table["the sweep's best mean, that mean"]
    assert naive < -0.005
