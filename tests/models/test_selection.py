"""The choice of a sweep's best model, from made-up results."""

from __future__ import annotations

from typing import Any

import pytest

from gpt_experiments.config import Variant
from gpt_experiments.errors import TrackingError
from gpt_experiments.models.selection import choose_best
from gpt_experiments.records import EarlyStop, FinishedTrial, StoredTrial
from gpt_experiments.training import TrainingSummary


def done(label: str, seed: int, final: float, *, best: float | None = None, n_params: int = 100) -> StoredTrial:
    trial = FinishedTrial(
        run_id=f"{label}/{seed}",
        parent_run_id="parent",
        cell=f"{label}/{seed}",
        variant=Variant(),
        seed=seed,
        summary=TrainingSummary(
            final_train_loss=1.0,
            final_val_loss=final,
            best_val_loss=final if best is None else best,
            n_params=n_params,
            train_seconds=1.0,
            eval_seconds=1.0,
            tokens_per_second=1.0,
        ),
    )
    return stored(label, seed, n_params=n_params, finished=trial)


def lacking(label: str, seed: int, reason: str = "diverged", *, has_failed: bool = True) -> StoredTrial:
    return stored(label, seed, n_params=100, finished=None, reason=reason, has_failed=has_failed)


def stored(label: str, seed: int, **known: Any) -> StoredTrial:
    cell = f"{label}/{seed}"
    return StoredTrial(label=label, cell=cell, variant=Variant(), seed=seed, run_id=cell, **known)


def test_the_lowest_mean_over_seeds_wins_and_gives_its_best_trial() -> None:
    lucky = [done("lucky", 1, 1.0), done("lucky", 2, 3.0)]
    steady = [done("steady", 1, 1.9), done("steady", 2, 1.8)]
    choice = choose_best(lucky + steady)
    assert (choice.label, choice.trial.run_id, choice.n_seeds, choice.n_variants) == ("steady", "steady/2", 2, 2)
    assert choice.mean_val_loss == pytest.approx(1.85)
    assert choice.notices == ()
    assert choose_best((lucky + steady)[::-1]) == choice


def test_the_loss_after_the_last_step_decides_and_a_lower_one_on_the_way_is_reported() -> None:
    choice = choose_best([done("overfits", 1, 2.0, best=1.2), done("plain", 1, 1.5)])
    assert choice.label == "plain"
    (sentence,) = choice.notices
    assert "overfits was lower during training (mean best validation loss 1.2000, plain 1.5000)" in sentence


@pytest.mark.parametrize(
    ("reason", "has_failed", "problem"),
    [
        ("diverged: the loss is nan", True, "failed (diverged: the loss is nan)"),
        ("", True, "failed"),
        ("interrupted before the end", False, "has no result (interrupted before the end)"),
        ("", False, "is not trained yet"),
    ],
)
def test_a_variant_that_lacks_a_seed_cannot_win_over_a_complete_one(
    reason: str, has_failed: bool, problem: str
) -> None:
    incomplete = [done("a", 1, 1.0), lacking("a", 2, reason, has_failed=has_failed)]
    choice = choose_best([*incomplete, done("b", 1, 2.0), done("b", 2, 2.0)])
    assert choice.label == "b"
    assert choice.notices == (f"a with a lower mean of 1.0000 so far cannot win: seed 2 {problem}",)


def test_where_no_variant_is_complete_the_most_seeds_go_first() -> None:
    once = [done("once", 1, 1.0), lacking("once", 2), lacking("once", 3)]
    twice = [done("twice", 1, 2.0), done("twice", 2, 2.2), lacking("twice", 3)]
    choice = choose_best(once + twice)
    assert (choice.label, choice.n_seeds) == ("twice", 2)
    assert choice.notices[0] == "no variant is complete; twice is the best, of which seed 3 failed (diverged)"
    assert choice.notices[1].startswith("once with a lower mean of 1.0000 so far cannot win")


def test_equal_means_go_to_fewer_parameters_then_to_the_label_that_sorts_first() -> None:
    choice = choose_best([done("big", 1, 1.5, n_params=900), done("small", 1, 1.5, n_params=800)])
    assert choice.label == "small"
    assert choice.notices == ("small ties with big; it wins because it has the fewest parameters, 800",)
    choice = choose_best([done("n_head=8", 1, 1.5), done("n_head=1", 1, 1.5)])
    assert choice.label == "n_head=1"
    assert choice.notices == (
        "n_head=1 ties with n_head=8; it wins because it has no more parameters, and its name sorts first",
    )


def test_equal_trials_of_the_winner_go_to_the_smaller_seed() -> None:
    assert choose_best([done("a", 8, 1.5), done("a", 7, 1.5)]).trial.seed == 7


def test_of_many_incomplete_variants_the_rivals_are_reported_and_the_rest_counted() -> None:
    broken = [cell for i in range(9) for cell in (done(f"v{i}", 1, 9.0 - i), lacking(f"v{i}", 2))]
    choice = choose_best([*broken, done("whole", 1, 3.5), done("whole", 2, 3.5)])
    assert [sentence.split()[0] for sentence in choice.notices] == ["v8", "v7", "v6", "v5", "v4", "4"]
    assert choice.notices[-1] == "4 more variants lack a seed and cannot win"


def test_nothing_finished_is_reported_with_the_reasons() -> None:
    with pytest.raises(
        TrackingError, match=r"none of the 2 trials is finished \(a: seed 1 failed \(diverged\); b: seed"
    ):
        choose_best([lacking("a", 1), lacking("b", 1)])
    with pytest.raises(TrackingError, match="its plan is empty"):
        choose_best([])


def test_a_variant_with_a_stopped_seed_cannot_win_and_the_notice_says_when_it_was_stopped() -> None:
    stop = EarlyStop(pruner="median", step=500, steps=3000, val_loss=2.5, limit=2.0, against="others", trials=4)
    choice = choose_best(
        [done("plain", 1, 2.0), done("lucky", 1, 1.0), stored("lucky", 2, n_params=1, finished=None, stop=stop)]
    )
    assert choice.label == "plain"
    (sentence,) = choice.notices
    assert sentence.endswith(
        "lower mean of 1.0000 so far cannot win: seed 2 was stopped at step 500 by the median pruner"
    )
