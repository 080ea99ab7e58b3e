"""A definition that a sweep stores is the one that it ran with."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt_experiments.errors import ConfigError
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.sweep.definition import Range, SweepDefinition, first_seeds
from gpt_experiments.sweep.definition_file import load_definition

LEVELS: dict[str, Any] = {"n_layer": (1, 2)}


def read_back(definition: SweepDefinition) -> SweepDefinition:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "stored.yaml"
        file.write_text(yaml.safe_dump(definition.as_dict(), sort_keys=False), encoding="utf-8")
        return load_definition(str(file))


def test_seeds_that_are_not_the_first_ones_read_back() -> None:
    definition = SweepDefinition(name="mine", method="grid", levels=LEVELS, seeds=(1, 2))
    assert definition.as_dict()["seeds"] == [1, 2]
    assert read_back(definition).seeds == (1, 2)
    assert SweepDefinition(name="mine", method="grid", levels=LEVELS, seeds=first_seeds(3)).as_dict()["seeds"] == 3


def test_a_range_from_zero_reads_back() -> None:
    levels = {"dropout": Range(low=0.0, high=0.5), "n_layer": Range(low=1, high=9, step=2)}
    assert read_back(SweepDefinition(name="mine", method="tpe", levels=levels, trials=3)).levels == levels


def test_nuisance_parameters_read_back() -> None:
    nuisance = {"learning_rate": (3e-4, 1e-3), "weight_decay": (0.01, 0.1)}
    definition = SweepDefinition(name="mine", method="grid", levels=LEVELS, nuisance=nuisance, tuning_seeds=2)
    assert read_back(definition) == definition
    assert "tuning_seeds" not in SweepDefinition(name="mine", method="grid", levels=LEVELS).as_dict()


floats = st.floats(0, 0.875)
dropouts = (
    st.lists(floats, min_size=1, max_size=4, unique=True).map(tuple)
    | st.tuples(floats, floats)
    .filter(lambda bounds: bounds[0] != bounds[1])
    .map(sorted)
    .map(lambda bounds: Range(low=bounds[0], high=bounds[1]))
    | st.floats(1e-9, 0.4).map(lambda low: Range(low=low, high=2 * low, log=True))
)
layers = st.lists(st.integers(1, 50), min_size=1, max_size=4, unique=True).map(tuple) | st.tuples(
    st.integers(1, 9), st.integers(14, 99), st.none() | st.integers(1, 5)
).map(lambda given: Range(low=given[0], high=given[1], step=given[2]))


@settings(deadline=None, max_examples=50)
@given(
    levels=st.fixed_dictionaries({}, optional={"n_layer": layers, "dropout": dropouts}),
    seeds=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4, unique=True).map(tuple)
    | st.integers(1, 5).map(first_seeds),
    training=st.builds(TrainingSetup, steps=st.integers(1, 10**6), learning_rate=st.floats(1e-12, 1e12)),
    baseline=st.builds(Shape, dropout=floats, block_size=st.integers(1, 5000)),
    description=st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), max_size=20),
    trials=st.integers(1, 9),
    budget=st.sampled_from(["steps", "tokens", "flops"]),
)
def test_whatever_is_defined_reads_back(**fields: Any) -> None:
    definition = SweepDefinition(name="mine", method="tpe", **fields)
    assert read_back(definition) == definition


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ("[]", "stored.yaml:4: seeds: seeds must be a number of seeds or a list of them"),
        ("[1, 1]", "stored.yaml:4: seeds: seed 1 is listed twice; keep one"),
        ("[1, -2]", "stored.yaml:4: seeds: seed must be at least 0, but got -2"),
        ("[1, two]", "stored.yaml:4: seeds: seed must be a whole number, but got 'two'"),
        ("[true]", "stored.yaml:4: seeds: seed must be a whole number, but got True"),
        ("[1.0]", "stored.yaml:4: seeds: seed must be a whole number, but got 1.0"),
        ("[[1]]", r"stored.yaml:4: seeds: seed must be a whole number, but got \[1\]"),
        (f"[{2**63}]", "stored.yaml:4: seeds: seed must be at most"),
        ("{a: 1}", "stored.yaml:4: seeds: seeds must be a whole number of at least 1"),
    ],
)
def test_seeds_that_cannot_be_are_refused(seeds: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "stored.yaml"
    file.write_text(f"name: mine\nmethod: grid\nlevels: {{n_layer: [1, 2]}}\nseeds: {seeds}\n")
    with pytest.raises(ConfigError, match=message):
        load_definition(str(file))


@pytest.mark.parametrize("seeds", [(), (1, 1), (-1,), 3])
def test_seeds_that_cannot_be_are_refused_from_python_too(seeds: Any) -> None:
    with pytest.raises(ConfigError, match="seed"):
        SweepDefinition(name="mine", method="grid", levels=LEVELS, seeds=seeds)
