"""Each variant at its own best learning rate, on sweeps whose truth is known."""

from __future__ import annotations

import math

import pytest

from gpt_experiments.analysis import SweepResults, effects, findings, tuned_findings
from gpt_experiments.analysis.tuning import at_best, best_setting, split_trials, tuned_variants, tuning_losses
from gpt_experiments.parameters import Shape
from tests.support.simulated import SHARED_RATE, simulate, simulate_tuned

RATES = (1e-4, 3e-4, 1e-3, 3e-3)


def suits(shape: Shape, rate: float) -> float:
    """One layer learns best at 0.001 and then as well as four do, whose best rate is the shared one."""
    best = 1e-3 if shape.n_layer == 1 else 3e-4
    return 2.0 + 0.3 * math.log10(rate / best) ** 2


def test_the_lowest_mean_is_the_best_a_failure_rules_out_and_equals_go_to_the_lower() -> None:
    assert best_setting({(1e-3,): [2.0, 2.2], (1e-4,): [2.2, 2.3]}) == (1e-3,)
    assert best_setting({(1e-3,): [1.0, None], (1e-4,): [2.2, 2.3]}) == (1e-4,)
    assert best_setting({(1e-3,): [2.0], (1e-4,): [2.0]}) == (1e-4,)
    assert best_setting({(1e-3, 0.1): [2.0], (1e-3, 0.01): [2.0], (1e-2, 0.0): [2.0]}) == (1e-3, 0.01)
    assert best_setting({(1e-3,): [None], (1e-4,): []}) is None


def test_each_variant_gets_its_own_best_and_fresh_seeds_compare_it() -> None:
    results = simulate_tuned(suits)
    tuned = tuned_variants(results)
    assert tuned["n_layer=1"].setting == (1e-3,)
    assert {each.setting for label, each in tuned.items() if label != "n_layer=1"} == {(SHARED_RATE,)}
    best = at_best(results)
    assert best is not None
    assert best.planned_seeds == [1337, 1338, 1339]  # none that tuned
    assert len(best.trials) == len(results.trials)
    assert dict(best.trials.groupby("label")["learning_rate"].first())["n_layer=1"] == 1e-3
    others = best.trials["label"] != "n_layer=1"  # where the best is the shared rate, they are the very same runs
    assert set(best.trials[others]["run_id"]) == set(results.trials[results.trials["label"] != "n_layer=1"]["run_id"])


@pytest.mark.slow
def test_an_effect_of_the_rate_alone_is_gone_when_each_is_at_its_best() -> None:
    results = simulate_tuned(suits, seeds=5)
    (layer,) = [each for each in tuned_findings.compare_effects(results) if each.name == "n_layer=1"]
    assert layer.shared is not None
    assert layer.best is not None
    assert layer.shared.difference.mean == pytest.approx(0.3 * math.log10(1e-3 / 3e-4) ** 2, abs=0.01)
    assert layer.best.difference.mean == pytest.approx(0, abs=0.01)
    assert (layer.shared.verdict, layer.has_flipped) == ("worse", True)
    assert (layer.setting, layer.base_setting) == ((1e-3,), (SHARED_RATE,))
    flips = tuned_findings.flips(results)
    assert f"One layer is much worse than four: supported at one learning rate, {_standing(results)}" in flips[0]
    assert any(text.startswith("n_layer=1 instead of n_layer=4: worse at one learning rate, ") for text in flips)
    (lead,) = tuned_findings.lead(results)
    assert "trained at one learning rate, 0.0003" in lead
    assert "come out differently: see 'Each at its best learning rate'" in lead


def _standing(results: SweepResults) -> str:
    (flipped,) = [each for each in tuned_findings.flipped_beliefs(results) if "One layer" in each.shared.claim]
    assert flipped.best.standing != "supported"
    return f"{flipped.best.standing} when each is tuned."


def test_the_comparisons_are_those_of_the_two_halves_alone() -> None:
    results = simulate_tuned(suits)
    best = at_best(results)
    assert best is not None
    compared = tuned_findings.compare_effects(results)
    assert [each.shared for each in compared] == effects(results)
    assert [each.best for each in compared] == effects(best)


def test_a_best_at_the_end_of_the_list_says_that_a_better_one_may_lie_beyond() -> None:
    def rising(shape: Shape, rate: float) -> float:
        return 2.0 - 0.1 * math.log10(rate) if shape.n_head == 8 else suits(shape, rate)

    (edge,) = tuned_findings.limits(simulate_tuned(rising))
    assert edge.startswith("The best learning rate is the lowest or the highest that was tried")
    assert edge.endswith("may lie beyond: n_head=8 (0.003).")
    assert tuned_findings.limits(simulate_tuned(suits)) == []


def test_a_rate_that_diverged_is_never_the_best_and_without_any_loss_there_is_none() -> None:
    diverged = [("n_layer=8", rate) for rate in RATES]
    results = simulate_tuned(suits, failed=[("n_layer=1", 1e-3), *diverged])
    tuned = tuned_variants(results)
    assert tuned["n_layer=1"].setting in ((SHARED_RATE,), (3e-3,))
    assert (tuned["n_layer=8"].state, tuned["n_layer=8"].setting) == ("failed", None)
    best = at_best(results)
    assert best is not None
    assert "n_layer=8" not in set(best.trials["label"])
    (eight,) = [each for each in tuned_findings.compare_effects(results) if each.name == "n_layer=8"]
    assert eight.shared is not None
    assert eight.best is None
    limits = " ".join(tuned_findings.limits(results))
    assert "it is compared at one learning rate only: n_layer=8." in limits
    assert "so they are never the best: n_layer=1 at 0.001." in limits


def test_nothing_is_chosen_before_the_tuning_of_a_variant_has_ended() -> None:
    results = simulate_tuned(suits, missing=[("n_head=8", 3e-3)])
    assert tuned_variants(results)["n_head=8"].state == "unfinished"
    assert "Not tuned to the end yet, so not compared at its best: n_head=8." in tuned_findings.limits(results)


def test_losses_of_the_tuning_have_a_row_for_each_variant_and_rate() -> None:
    results = simulate_tuned(suits, failed=[("n_head=8", 3e-3)])
    losses = tuning_losses(results).set_index(["label", "learning_rate"])
    assert len(losses) == 11 * 4
    assert losses.groupby("label")["chosen"].sum().eq(1).all()
    assert math.isnan(losses.loc[("n_head=8", 3e-3), "loss"])
    layer = losses.loc[("n_layer=1", 1e-3)]
    assert layer["low"] < layer["loss"] < layer["high"]
    assert layer["seeds"] == 2


def test_the_caveat_on_the_learning_rate_names_the_section_that_repairs_it() -> None:
    text = " ".join(findings.caveats(simulate_tuned(suits)))
    assert "the section 'Each at its best learning rate' compares them at their own" in text
    assert "Every variant was trained with the same learning rate" not in text


def test_a_sweep_without_nuisance_parameters_stays_as_it_is() -> None:
    plain = simulate(lambda shape: 2.0)
    trials, tuning = split_trials(plain.trials, [False] * len(plain.trials), {})
    assert trials is plain.trials
    assert tuning is None
    assert (at_best(plain), tuned_variants(plain), tuned_findings.lead(plain)) == (None, {}, [])
