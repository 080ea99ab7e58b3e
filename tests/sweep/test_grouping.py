"""Which trials train together, and how many fit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import ConfigError
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.sweep.definition import SweepDefinition
from gpt_experiments.sweep.grouping import GroupLimit, bytes_for_evaluation, bytes_per_replica, form_groups
from gpt_experiments.sweep.methods import make_method
from gpt_experiments.sweep.plan import Schedule
from gpt_experiments.sweep.resources import RunOptions, find_hardware
from gpt_experiments.training import group_key

GIB = 2**30

variants = st.builds(
    Shape,
    n_head=st.sampled_from([1, 2]),
    n_layer=st.sampled_from([1, 4]),
    n_embed=st.sampled_from([8, 64]),
    dropout=st.sampled_from([0.0, 0.1, 0.3]),
    block_size=st.sampled_from([8, 32]),
)
trials = st.builds(
    Trial,
    shape=variants,
    seed=st.integers(0, 5),
    training=st.sampled_from([TrainingSetup(), TrainingSetup(steps=7), TrainingSetup(learning_rate=1e-3)]),
)


@given(
    st.lists(trials, unique=True, max_size=40),
    st.integers(1, 12),
    st.integers(1, 6),
)
def test_every_trial_is_in_one_group_of_its_shape_that_is_not_too_large(
    planned: list[Trial], most: int, workers: int
) -> None:
    def limit(trial: Trial) -> int:
        return max(1, most // trial.shape.n_layer)

    groups = form_groups(planned, limit, workers=workers)
    assert sorted(map(repr, (trial for group in groups for trial in group))) == sorted(map(repr, planned))
    for group in groups:
        assert 1 <= len(group) <= limit(group[0])
        assert len({group_key(trial) for trial in group}) == 1
    assert len(groups) >= min(workers, len(planned))
    for key in {group_key(trial) for trial in planned}:
        sizes = [len(group) for group in groups if group_key(group[0]) == key]
        assert max(sizes) - min(sizes) <= 1
        assert len(sizes) == -(-sum(sizes) // max(sizes))  # no more groups than their size asks for


def test_seeds_and_dropout_levels_share_a_shape_and_nothing_else_does() -> None:
    trial = Trial(shape=Shape())
    alike = [
        Trial(shape=Shape(), seed=1),
        Trial(shape=Shape(dropout=0.3)),
    ]
    others = [
        *(Trial(shape=Shape(**{name: 8})) for name in ("n_head", "n_layer", "block_size")),
        Trial(shape=Shape(n_embed=32)),
        *(Trial(shape=Shape(), training=dataclasses.replace(TrainingSetup(), **change)) for change in (
            {"steps": 2}, {"batch_size": 8}, {"eval_interval": 7}, {"precision": "bfloat16"}, {"weight_decay": 0.1}
        )),
    ]  # fmt: skip
    groups = form_groups([trial, *others, *alike], lambda trial: 100)
    assert groups[0] == (trial, *alike)
    assert groups[1:] == [(other,) for other in others]


def test_an_accelerator_is_filled_and_its_workers_share_it() -> None:
    trial = Trial(shape=Shape())
    each, once = bytes_per_replica(trial, 65), bytes_for_evaluation(trial, 65)
    whole = GroupLimit(replicas=None, memory=80 * GIB, vocab_size=65)(trial)
    half = GroupLimit(replicas=None, memory=40 * GIB, vocab_size=65)(trial)
    assert whole * each + once <= 0.85 * 80 * GIB < (whole + 1) * each + once
    assert half * each + once <= 0.85 * 40 * GIB < (half + 1) * each + once
    assert 100 < half < whole / 2
    assert GroupLimit(replicas=3, memory=80 * GIB, vocab_size=65)(trial) == 3
    assert GroupLimit(replicas=3, memory=10**6, vocab_size=65)(trial) == 1


def test_a_cpu_trains_one_at_a_time_unless_asked() -> None:
    trial = Trial(shape=Shape())
    assert GroupLimit(replicas=None, memory=None, vocab_size=65)(trial) == 1
    assert GroupLimit(replicas=7, memory=None, vocab_size=65)(trial) == 7
    hardware = find_hardware(RunOptions(device="cpu"), 100)
    assert (hardware.memory, hardware.writers) == (None, 0)
    with pytest.raises(ConfigError, match="replicas must be at least 1, but got 0"):
        RunOptions(replicas=0)


def test_an_accelerators_workers_share_its_memory_and_leave_cores_to_writers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpt_experiments.sweep.resources.free_memory", lambda device, processes: 80 * GIB)
    monkeypatch.setattr("gpt_experiments.sweep.resources.usable_cores", lambda: 16)
    for workers, writers in ((1, 8), (4, 3), (16, 1)):
        hardware = find_hardware(RunOptions(device="cpu", workers=workers), 100)
        assert (hardware.workers, hardware.threads, hardware.writers) == (workers, 1, writers)
        assert hardware.memory == 80 * GIB // workers


def test_the_estimate_counts_what_grows() -> None:
    """By hand for one layer of one head, and larger with everything that makes a model larger."""
    variant = Shape(n_head=1, n_layer=1, n_embed=8, block_size=256)
    trial = Trial(shape=variant, training=TrainingSetup(batch_size=16))
    n_params = trial.model_config(65).n_params
    assert bytes_per_replica(trial, 65) == 4 * (6 * n_params + 16 * 256 * (28 * 8 + 3 * 256 + 4 * 65))
    assert bytes_for_evaluation(trial, 65) == 4 * 131_072 * (10 * 8 + 2 * 256 + 2 * 65)
    baseline = bytes_per_replica(Trial(shape=Shape()), 65)
    for change in ({"n_head": 8}, {"n_embed": 128}, {"block_size": 256}, {"n_layer": 8}):
        assert bytes_per_replica(Trial(shape=Shape(**change)), 65) > baseline
    assert bytes_per_replica(Trial(shape=Shape(), training=TrainingSetup(batch_size=64)), 65) > 1.9 * baseline


def test_the_longest_groups_come_first_and_a_search_that_learns_gives_one_variants_seeds(
    tmp_path: Path, corpus: Corpus
) -> None:
    levels = {"n_layer": (1, 2), "dropout": (0.0, 0.1, 0.3)}
    grid = SweepDefinition(name="x", method="grid", levels=levels, seeds=(1, 2))  # type: ignore[arg-type]
    schedule = Schedule(grid, corpus, {}, make_method(grid))
    schedule.form_groups(lambda trial: 6, workers=1)
    assert schedule.largest_group == 6
    groups = [schedule.next_group(), schedule.next_group()]
    assert [{p.trial.shape.n_layer for p in group or ()} for group in groups] == [{2}, {1}]
    assert schedule.next_group() is None

    tpe = SweepDefinition(name="x", method="tpe", levels=levels, seeds=(1, 2), trials=3)  # type: ignore[arg-type]
    schedule = Schedule(tpe, corpus, {}, make_method(tpe))
    schedule.form_groups(lambda trial: 6, workers=2)
    assert schedule.largest_group == 2
    for _ in range(3):
        group = schedule.next_group()
        assert group is not None
        assert len({p.trial.shape for p in group}) == 1
        assert [p.trial.seed for p in group] == [1, 2]
        for planned in group:
            schedule.ended(planned, None)
    assert schedule.next_group() is None
