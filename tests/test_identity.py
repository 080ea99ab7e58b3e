"""What a stored run is found by: cells and sweep keys, which must stay what they are while the program grows."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass

import pytest

from gpt_experiments import parameters
from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.sweep.definition import SweepDefinition
from gpt_experiments.sweep.definition_file import load_definition
from gpt_experiments.sweep.plan import sweep_key

TINY_SHAKESPEARE = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
EVERY_FIELD = TrainingSetup(
    steps=10,
    batch_size=4,
    learning_rate=1e-3,
    weight_decay=0,
    beta1=0.8,
    beta2=0.99,
    eval_interval=5,
    attention_scale="head_size",
    precision="bfloat16",
    schedule="cosine",
    warmup_steps=3,
    min_learning_rate=1e-5,
)
SEARCH = SweepDefinition(
    name="searched",
    method="tpe",
    baseline=Shape(n_head=2, n_embed=16),
    levels={"n_layer": (1, 2)},
    training=TrainingSetup(steps=7, learning_rate=1e-2),
    budget="tokens",
    seeds=(5, 6),
    trials=9,
)


def _later(default: float) -> float:
    return parameters._number(default, lambda value: True, "", "", "", is_younger=True)


@dataclass(frozen=True, kw_only=True, order=True)
class LaterShape(Shape):
    """A shape of a later version, with one parameter more."""

    feed_forward_factor: float = _later(4.0)


@dataclass(frozen=True, kw_only=True)
class LaterSetup(TrainingSetup):
    """A training setup of a later version, with one parameter more."""

    gradient_clipping: float = _later(0.0)


@pytest.fixture
def tiny_shakespeare(corpus: Corpus) -> Corpus:
    """A corpus with the digest of Tiny Shakespeare, which is all of it that an identity depends on."""
    known = copy.copy(corpus)
    object.__setattr__(known, "digest", TINY_SHAKESPEARE)
    return known


@pytest.mark.parametrize(
    ("trial", "cell"),
    [
        (Trial(shape=Shape()), "df8cc267c0a34198"),
        (Trial(shape=Shape(n_head=8, dropout=0), seed=1), "bb89a65cec80bb87"),
        (
            Trial(
                shape=Shape(n_embed=128, block_size=32, n_layer=1, dropout=0.3),
                seed=1338,
                training=TrainingSetup(steps=250, eval_interval=50),
            ),
            "851a660bc8d97434",
        ),
        (Trial(shape=Shape(n_head=1), seed=0, training=EVERY_FIELD), "fab448636ec769b5"),
    ],
)
def test_the_cells_of_existing_stores_stay(trial: Trial, cell: str) -> None:
    """Computed by the first version. A cell that changes makes every finished run of a store useless."""
    assert trial.cell(TINY_SHAKESPEARE) == cell


@pytest.mark.parametrize(
    ("name", "key"),
    [("one-at-a-time", "9c1824bd81926e62"), ("grid", "3a467d1cf3fe5fc1"), ("quick", "44f255a583191d00")],
)
def test_the_keys_of_the_shipped_sweeps_stay(name: str, key: str, tiny_shakespeare: Corpus) -> None:
    """A grid whose sizes have seeds of their own is another sweep than the one that earlier versions shipped."""
    definition = load_definition(name)
    assert sweep_key(dataclasses.replace(definition, own_seeds=False), tiny_shakespeare) == key
    assert (sweep_key(definition, tiny_shakespeare) == key) == (name != "grid")


def test_the_key_of_a_sweep_of_ones_own_stays_and_does_not_depend_on_its_extent(tiny_shakespeare: Corpus) -> None:
    assert sweep_key(SEARCH, tiny_shakespeare) == "5725eeba23657a25"
    extended = dataclasses.replace(SEARCH, levels={"n_layer": (1, 2, 3)}, seeds=(5, 6, 7), trials=10)
    assert sweep_key(extended, tiny_shakespeare) == "5725eeba23657a25"
    assert sweep_key(dataclasses.replace(SEARCH, budget="flops"), tiny_shakespeare) != "5725eeba23657a25"


def test_nuisance_parameters_are_part_of_a_sweeps_key_and_their_values_are_not(tiny_shakespeare: Corpus) -> None:
    study, fair = load_definition("one-at-a-time"), load_definition("fair")
    untuned = dataclasses.replace(fair, nuisance={}, name=study.name)
    assert sweep_key(untuned, tiny_shakespeare) == sweep_key(study, tiny_shakespeare)
    tuned = {
        sweep_key(dataclasses.replace(fair, nuisance=nuisance, tuning_seeds=seeds), tiny_shakespeare)
        for nuisance, seeds in (
            ({"learning_rate": (3e-4, 1e-3)}, 1),
            ({"learning_rate": (1e-4, 3e-4, 1e-3)}, 3),
        )
    }
    assert tuned == {sweep_key(fair, tiny_shakespeare)}
    other = dataclasses.replace(fair, nuisance={"weight_decay": (0.01, 0.1)})
    assert sweep_key(other, tiny_shakespeare) not in {*tuned, sweep_key(untuned, tiny_shakespeare)}


def test_a_field_that_is_added_later_changes_no_cell_while_it_has_its_default() -> None:
    before = Trial(shape=Shape(n_head=2), training=TrainingSetup(steps=5)).cell("x")
    assert Trial(shape=LaterShape(n_head=2), training=LaterSetup(steps=5)).cell("x") == before
    wider = Trial(shape=LaterShape(n_head=2, feed_forward_factor=2.0), training=TrainingSetup(steps=5)).cell("x")
    clipped = Trial(shape=Shape(n_head=2), training=LaterSetup(steps=5, gradient_clipping=1.0)).cell("x")
    assert len({before, wider, clipped}) == 3


def test_a_field_that_is_added_later_changes_no_sweep_key_while_it_has_its_default(tiny_shakespeare: Corpus) -> None:
    later = dataclasses.replace(
        SEARCH, baseline=LaterShape(n_head=2, n_embed=16), training=LaterSetup(steps=7, learning_rate=1e-2)
    )
    assert sweep_key(later, tiny_shakespeare) == sweep_key(SEARCH, tiny_shakespeare)
    clipped = dataclasses.replace(SEARCH, training=LaterSetup(steps=7, learning_rate=1e-2, gradient_clipping=1.0))
    assert sweep_key(clipped, tiny_shakespeare) != sweep_key(SEARCH, tiny_shakespeare)


@pytest.mark.parametrize("field", dataclasses.fields(Shape) + dataclasses.fields(TrainingSetup), ids=lambda f: f.name)
def test_every_field_is_part_of_the_cell(field: dataclasses.Field[object]) -> None:
    first, second = Shape(n_head=1, dropout=0.2), TrainingSetup(schedule="cosine")
    values = {"attention_scale": "head_size", "precision": "bfloat16", "schedule": "constant", "dropout": 0.4}
    changes = {"min_learning_rate": 1e-6, "beta1": 0.5, "beta2": 0.5, "learning_rate": 1e-2, "weight_decay": 0.5}
    change = {field.name: (values | changes).get(field.name, 16)}
    in_variant = field.name in {f.name for f in dataclasses.fields(Shape)}
    other = Trial(
        shape=dataclasses.replace(first, **(change if in_variant else {})),  # type: ignore[arg-type]
        training=dataclasses.replace(second, **({} if in_variant else change)),  # type: ignore[arg-type]
    )
    assert other.cell("x") != Trial(shape=first, training=second).cell("x")
