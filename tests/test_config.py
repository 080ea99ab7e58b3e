"""Bounds of every value, and of what values are together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from gpt_experiments.config import ModelConfig, Trial, Variant, setup_at_budget
from gpt_experiments.errors import ConfigError
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.sweep.resources import RunOptions

BOUNDS: list[tuple[Callable[..., Any], str, Any, Any]] = [
    (Shape, "n_head", 1, None),  # as a divisor of n_embed
    (Shape, "n_layer", 1, 512),
    (Shape, "n_embed", None, None),
    (Shape, "block_size", 1, 65_536),
    (Shape, "dropout", 0.0, 0.999),
    (TrainingSetup, "steps", 1, None),  # together with eval_interval
    (TrainingSetup, "batch_size", 1, 65_536),
    (TrainingSetup, "eval_interval", 1, 10_000_000),
    (TrainingSetup, "warmup_steps", 0, 10_000_000),
    (TrainingSetup, "learning_rate", 1e-300, 1e30),
    (TrainingSetup, "weight_decay", 0, 1000),
    (TrainingSetup, "beta1", 0, 0.999),
    (TrainingSetup, "beta2", 0, 0.9999),
    (partial(TrainingSetup, schedule="cosine"), "min_learning_rate", 0, 3e-4),
    (partial(Trial, shape=Shape()), "seed", 0, 2**63 - 1),
    (RunOptions, "workers", 1, 1024),
    (RunOptions, "replicas", 1, 10_000),
    (RunOptions, "timeout", 0.001, 31_536_000),
]
BEYOND = [-1, 10**31, 10**400, -(10**5000), float("inf"), float("nan"), "9" * 5000, True, [1] * 5000]


@pytest.mark.parametrize(
    "field", [*dataclasses.fields(Shape), *dataclasses.fields(TrainingSetup)], ids=lambda f: f.name
)
def test_every_field_has_a_rule(field: dataclasses.Field[Any]) -> None:
    of = Shape if field.name in Shape.__dataclass_fields__ else TrainingSetup
    with pytest.raises(ConfigError, match=f"{field.name} must be"):
        of(**{field.name: float("nan")})


@pytest.mark.parametrize(("made", "name", "low", "high"), BOUNDS, ids=[name for _, name, _, _ in BOUNDS])
def test_every_value_has_bounds_and_a_short_answer_beyond_them(
    made: Callable[..., Any], name: str, low: Any, high: Any
) -> None:
    for value in (low, high):
        if value is not None:
            made(**{name: value})
    for value in BEYOND:
        with pytest.raises(ConfigError, match=rf"^{name} must ") as refused:
            made(**{name: value})
        assert len(str(refused.value)) < 250


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Shape(n_embed=10**9), "n_embed must be at most 16,384, but got 1000000000; give a smaller one"),
        (
            lambda: Shape(n_layer=512, n_embed=16_384),
            r"1,649,267,441,664 weights, .* at most 5,000,000,000; lower n_la",
        ),
        (lambda: Shape(n_embed=5040, n_head=11), "choose n_head from 4, 5, 6, 7, 8, 9, 10, 12, 14, 15, 16, 18$"),
        (lambda: TrainingSetup(steps=10_000_000), "are 20,000 evaluations, .* raise eval_interval to at least 1000"),
        (
            lambda: Trial(shape=Shape(block_size=65_536), training=TrainingSetup(batch_size=257)),
            "batch_size=257 windows of block_size=65536 are 16,842,752 characters, .* lower batch_size to at most 256",
        ),
        (lambda: ModelConfig(shape=Shape(), vocab_size=2**40), "vocab_size must be at most 1,114,112"),
    ],
)
def test_what_values_are_together_is_bounded_with_a_remedy(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_the_remedy_for_too_many_evaluations_is_accepted() -> None:
    assert len(TrainingSetup(steps=10_000_000, eval_interval=1000).evaluation_steps()) == 10_001


def test_a_budget_keeps_the_number_of_evaluations_bounded_and_refuses_too_many_steps() -> None:
    setup = TrainingSetup(steps=10_000, eval_interval=1)
    long, shorter, tiny = (Variant(shape=Shape(block_size=size), training=setup) for size in (65_536, 50_000, 1))
    scaled = setup_at_budget(shorter, long, vocab_size=65, budget="tokens")
    assert (scaled.steps, scaled.eval_interval) == (13_107, 2)
    with pytest.raises(ConfigError, match=r"budget=tokens .* block_size=1 would take 655,360,000 steps .* lower steps"):
        setup_at_budget(tiny, long, vocab_size=65, budget="tokens")
