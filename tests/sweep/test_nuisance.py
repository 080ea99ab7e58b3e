"""Sweeps that tune each variant over nuisance parameters before they compare: what they plan, and what they refuse."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from gpt_experiments.config import Trial, Variant
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import ConfigError
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.records import FinishedTrial, PlannedTrial
from gpt_experiments.sweep.definition import SweepDefinition
from gpt_experiments.sweep.definition_file import load_definition
from gpt_experiments.sweep.methods import METHODS, make_method
from gpt_experiments.sweep.plan import Schedule
from gpt_experiments.training import TrainingSummary

GOOD = """\
name: mine
method: one-at-a-time
levels: {n_head: [1, 2]}
training: {steps: 10, learning_rate: 3e-4}
seeds: 2
nuisance:
  learning_rate: [1e-4, 3e-4, 1e-3]
"""
DEFINITION = SweepDefinition(
    name="mine",
    method="one-at-a-time",
    baseline=Shape(n_head=1, n_layer=1, n_embed=8, block_size=8),
    levels={"n_head": (2,)},
    training=TrainingSetup(steps=10),
    seeds=(1, 2),
    nuisance={"learning_rate": (1e-3, 1e-4, 3e-4)},
    tuning_seeds=2,
)


def load(tmp_path: Path, text: str) -> SweepDefinition:
    path = tmp_path / "my.yaml"
    path.write_text(text)
    return load_definition(str(path))


def test_a_file_names_nuisance_parameters(tmp_path: Path) -> None:
    definition = load(tmp_path, GOOD)
    assert definition.nuisance == {"learning_rate": (1e-4, 3e-4, 1e-3)}
    assert definition.tuning_seeds == 1
    assert load(tmp_path, GOOD + "tuning_seeds: 3\n").tuning_seeds == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("one-at-a-time", "tpe\ntrials: 2"), r"nuisance: nuisance is only for the methods one-at-a-time"),
        (GOOD.replace("one-at-a-time", "random\ntrials: 2"), r"but the method is random; choose one of them"),
        (GOOD.replace("  learning_rate: [", "  n_layer: [1, 2]\n  learning_rate: ["), "n_layer is a hyperparameter of"),
        (GOOD.replace("[1e-4, 3e-4, 1e-3]", "[1e-4, 1e-3]"), "must also have the value of the baseline.*; add 0.0003"),
        (GOOD.replace("[1e-4, 3e-4, 1e-3]", "[3e-4]"), "learning_rate has one value, so there is nothing to choose"),
        (GOOD.replace("[1e-4, 3e-4, 1e-3]", "3e-4"), r"my.yaml:7: nuisance.learning_rate: must be a list of values"),
        (GOOD.replace("[1e-4, 3e-4, 1e-3]", "[3e-4, 3e-4]"), "learning_rate level 0.0003 is listed twice"),
        (GOOD.replace("[1e-4, 3e-4, 1e-3]", "[3e-4, -1]"), "learning_rate must be positive"),
        (GOOD.replace("[1e-4, 3e-4, 1e-3]", "[3e-4, fast]"), "learning_rate must be a finite number, but got 'fast'"),
        (GOOD.replace("  learning_rate", "  rate"), "my.yaml:7: nuisance.rate: unknown field"),
        (
            GOOD.replace("  learning_rate: [1e-4, 3e-4, 1e-3]", "  precision: [float32, bfloat16]"),
            "can name batch_size",
        ),
        (GOOD.replace("  learning_rate: [1e-4, 3e-4, 1e-3]", "  steps: [10, 20]"), "budget=steps sets it for each"),
        (
            GOOD.replace("{n_head: [1, 2]}", "{learning_rate: [3e-4, 1e-2]}"),
            "learning_rate has levels, so it is compar",
        ),
        (
            GOOD.replace("  learning_rate: [1e-4, 3e-4, 1e-3]", "  warmup_steps: [0, 5]") + "budget: tokens\n",
            "warmup_steps cannot be tuned, because budget=tokens sets it",
        ),
        (
            GOOD.replace("seeds: 2\n", "until_decided: true\n"),
            "a sweep cannot have nuisance and until_decided at once.*leave one of the two out",
        ),
        (
            GOOD.replace("one-at-a-time", "grid\nown_seeds: true"),
            "a sweep cannot have nuisance and own_seeds at once",
        ),
        (GOOD + "tuning_seeds: 0\n", "my.yaml:8: tuning_seeds: tuning_seeds must be a whole number from 1 to 1,000"),
        (GOOD + "tuning_seeds: [1, 2]\n", "tuning_seeds must be a whole number"),
        (GOOD[: GOOD.index("nuisance")] + "tuning_seeds: 2\n", "there is nothing to tune; add nuisance"),
        (
            GOOD.replace("learning_rate: 3e-4", "learning_rate: 3e-4, schedule: cosine, min_learning_rate: 2e-4"),
            "min_learning_rate must be at most learning_rate, but got 0.0002 and 0.0001",
        ),
        (
            GOOD.replace("[1e-4, 3e-4, 1e-3]", str([3e-4, *(i / 1e7 for i in range(1, 600))]))
            + "  weight_decay: [0.01, 0.1]\n",
            "over 1,200 combinations, but they may be at most 1,000",
        ),
        (
            GOOD.replace("[1, 2]", "[1, 2, 8, 16, 32, 64]") + "tuning_seeds: 500\n",
            "7 variants, each with 1,500 trials that tune it and up to 4 that compare it, are 10,528 trials",
        ),
    ],
)
def test_what_cannot_be_tuned_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, text)


def test_only_methods_that_list_their_variants_tune() -> None:
    assert {name for name, method in METHODS.items() if method.may_tune} == {"one-at-a-time", "grid"}


def test_seeds_that_tune_are_none_of_those_that_compare_and_stay_when_these_grow() -> None:
    assert DEFINITION.tuned_with == DEFINITION.with_overrides(seeds=1000).tuned_with == (1001337, 1001338)
    clash = dataclasses.replace(DEFINITION, seeds=(1001337, 5))
    assert clash.tuned_with == (1001338, 1001339)
    assert dataclasses.replace(DEFINITION, nuisance={}, tuning_seeds=1).tuned_with == ()


def summary_of(loss: float) -> TrainingSummary:
    return TrainingSummary(
        final_train_loss=loss,
        final_val_loss=loss,
        best_val_loss=loss - 1,
        n_params=1,
        train_seconds=1.0,
        eval_seconds=1.0,
        tokens_per_second=1.0,
    )


Loss = Callable[[Trial], float | None]


def train(schedule: Schedule, loss_of: Loss) -> list[list[PlannedTrial]]:
    """Train the whole schedule; returns the trials of each stage."""
    stages: list[list[PlannedTrial]] = []
    running: list[PlannedTrial] = []
    while (group := schedule.next_group()) is not None:
        if group and not running:
            stages.append([])
        for planned in group:
            stages[-1].append(planned)
            running.append(planned)
        if not group:
            assert running
            for planned in running:
                loss = loss_of(planned.trial)
                schedule.ended(planned, None if loss is None else summary_of(loss))
            running = []
    return stages


def make(
    corpus: Corpus, definition: SweepDefinition = DEFINITION, finished: dict[str, FinishedTrial] | None = None
) -> Schedule:
    return Schedule(definition, corpus, finished or {}, make_method(definition))


def rates(trials: list[PlannedTrial]) -> set[tuple[str, float, int]]:
    return {(f"n_head={p.trial.shape.n_head}", p.trial.training.learning_rate, p.trial.seed) for p in trials}


def suits(trial: Trial) -> float:
    """Two heads learn best at 0.001, one at the shared rate."""
    best = {1: 3e-4, 2: 1e-3}[trial.shape.n_head]
    return 2 + abs(math.log(trial.training.learning_rate / best))


def test_variants_are_tuned_first_and_compared_at_one_rate_and_at_their_best(corpus: Corpus) -> None:
    schedule = make(corpus)
    assert (len(schedule.planned), schedule.total) == (12, 20)
    tuning, compared = train(schedule, suits)
    heads, seeds = ("n_head=1", "n_head=2"), DEFINITION.tuned_with
    assert rates(tuning) == {(head, rate, seed) for head in heads for rate in (1e-4, 3e-4, 1e-3) for seed in seeds}
    assert rates(compared) == {
        *((head, 3e-4, seed) for head in heads for seed in (1, 2)),
        *(("n_head=2", 1e-3, seed) for seed in (1, 2)),
    }
    assert len(compared) == 6  # the baseline is at its best at the shared rate, and trains there once
    assert all(planned.is_tuning for planned in tuning)
    assert not any(planned.is_tuning for planned in compared)
    assert {planned.label for planned in compared} == {"baseline", "n_head=2", "n_head=2 learning_rate=0.001"}
    assert schedule.total == len(schedule.planned) == 18


def test_equal_losses_choose_the_lower_rate_and_a_failure_is_never_the_best(corpus: Corpus) -> None:
    _, compared = train(make(corpus), lambda trial: 2.0)
    assert {rate for _, rate, _ in rates(compared)} == {1e-4, 3e-4}

    def diverging(trial: Trial) -> float | None:
        is_bad = trial.training.learning_rate == 1e-3 and trial.seed == DEFINITION.tuned_with[1]
        return None if is_bad else suits(trial)

    _, compared = train(make(corpus), diverging)
    assert {rate for _, rate, _ in rates(compared)} == {3e-4}


def test_a_variant_whose_tuning_failed_is_compared_at_the_shared_rate_alone(corpus: Corpus) -> None:
    _, compared = train(make(corpus), lambda trial: None if trial.shape.n_head == 2 else suits(trial))
    assert rates(compared) == {(head, 3e-4, seed) for head in ("n_head=1", "n_head=2") for seed in (1, 2)}


def finished(trials: list[PlannedTrial]) -> dict[str, FinishedTrial]:
    return {
        planned.cell: FinishedTrial(
            run_id=planned.cell,
            parent_run_id=None,
            cell=planned.cell,
            variant=planned.variant,
            seed=planned.trial.seed,
            summary=summary_of(suits(planned.trial)),
        )
        for planned in trials
    }


def test_the_plan_is_exact_as_soon_as_the_store_knows_how_the_tuning_ended(corpus: Corpus) -> None:
    tuning, compared = train(make(corpus), suits)
    tuned = make(corpus, finished=finished(tuning))
    assert tuned.total == len(tuned.planned) == 18
    assert sum(planned.done is None for planned in tuned.planned) == 6
    almost = make(corpus, finished=finished(tuning[1:]))
    assert (len(almost.planned), almost.total) == (12, 20)
    whole = make(corpus, finished=finished([*tuning, *compared]))
    assert all(planned.done is not None for planned in whole.planned)
    more = make(corpus, DEFINITION.with_overrides(seeds=3), finished([*tuning, *compared]))
    assert rates([planned for planned in more.planned if planned.done is None]) == {
        (head, rate, 1337) for head, rate in (("n_head=1", 3e-4), ("n_head=2", 3e-4), ("n_head=2", 1e-3))
    }


def test_combinations_of_several_nuisance_parameters_are_tried(corpus: Corpus) -> None:
    both = dataclasses.replace(
        DEFINITION, nuisance={"learning_rate": (3e-4, 1e-3), "weight_decay": (0.01, 0.1)}, tuning_seeds=1
    )

    def loss(trial: Trial) -> float:
        return 2 - trial.training.weight_decay - trial.training.learning_rate

    tuning, compared = train(make(corpus, both), loss)
    assert len(tuning) == 8
    best = [planned.variant for planned in compared if planned.variant.training.weight_decay == 0.1]
    assert {variant.training.learning_rate for variant in best} == {1e-3}


def test_trials_that_differ_in_their_rate_alone_train_as_one_model(corpus: Corpus) -> None:
    """Two heads and one have shapes of their own; the rates and seeds of each are replicas."""
    schedule = make(corpus)
    schedule.form_groups(lambda trial: 100, workers=1)
    groups = [schedule.next_group(), schedule.next_group()]
    for group in groups:
        assert group is not None
        assert len(group) == 6
        assert len({p.trial.training.learning_rate for p in group}) == 3
        assert len({p.trial.shape for p in group}) == 1
    assert schedule.next_group() == ()


def test_levels_of_a_training_parameter_are_compared_beside_what_is_tuned(corpus: Corpus) -> None:
    """A learning rate with levels is not tuned; another parameter may be."""
    definition = dataclasses.replace(
        DEFINITION, levels={"learning_rate": (1e-3,)}, nuisance={"weight_decay": (0.01, 0.1)}, tuning_seeds=1
    )
    tuning, _ = train(make(corpus, definition), lambda trial: 2.0)
    assert {planned.variant for planned in tuning} == {
        Variant(
            shape=DEFINITION.baseline,
            training=TrainingSetup(steps=10, learning_rate=rate, weight_decay=decay),
        )
        for rate in (3e-4, 1e-3)
        for decay in (0.01, 0.1)
    }
