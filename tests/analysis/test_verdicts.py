"""Verdicts, planned looks and power, held to truths that are known."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt_experiments.analysis import Verdict, beliefs, effects, estimate, findings, judge_all
from gpt_experiments.analysis.effects import looked_at
from gpt_experiments.analysis.looks import Looks, look_at
from gpt_experiments.analysis.power import power, power_of_equivalence, seeds_for_equivalence, seeds_needed
from gpt_experiments.analysis.results import SweepResults
from gpt_experiments.errors import ConfigError
from tests.analysis.test_effects import known
from tests.support.simulated import simulate

ALIKE = np.array([-1.0, 0.0, 1.0])


@pytest.mark.parametrize(
    ("mean", "sd", "margin", "verdict"),
    [
        (0.05, 0.001, 0.01, "worse"),
        (-0.05, 0.001, 0.01, "better"),
        (0.004, 0.0001, 0.01, "worse"),  # there is a difference, though a small one
        (0.0, 0.001, 0.01, "equivalent"),
        (0.0, 0.001, 0.001, "undecided"),
        (0.0, 0.05, 0.01, "undecided"),
        (0.02, 0.02, 0.01, "undecided"),
    ],
)
def test_four_verdicts(mean: float, sd: float, margin: float, verdict: Verdict) -> None:
    (judged,) = judge_all([estimate(mean + sd * ALIKE)], margin)
    assert judged.verdict == verdict
    assert judged.is_within_margin == (-margin < judged.low and judged.high < margin)


def test_a_family_shares_its_five_percent_among_those_that_can_be_judged() -> None:
    judged = judge_all([estimate(0.1 + ALIKE), estimate([0.3]), estimate(0.2 + ALIKE)])
    assert [each.level for each in judged] == [0.025] * 3
    assert [each.verdict for each in judged] == ["undecided", "no verdict", "undecided"]
    assert judged[0].half_width == pytest.approx(6.2053 / math.sqrt(3), rel=1e-4)  # t of 2 degrees at 1.25 % a side


@settings(deadline=None, max_examples=50)
@given(most=st.integers(2, 200), comparisons=st.integers(1, 50))
def test_the_looks_end_with_the_most_seeds_and_spend_five_percent(most: int, comparisons: int) -> None:
    looks = Looks(most=most, comparisons=comparisons)
    assert list(looks.seeds) == sorted(set(looks.seeds))
    assert looks.seeds[-1] == most
    assert sum(map(looks.level, range(len(looks.seeds)))) * comparisons == pytest.approx(0.05)
    assert looks.spent(len(looks.seeds)) == pytest.approx(0.05)
    assert looks.spent(0) == 0


def test_a_comparison_keeps_the_verdict_of_the_look_that_decided_it() -> None:
    rng = np.random.default_rng(0)
    early = list(0.1 + 0.001 * rng.normal(size=4))
    late = list(0.0 + 0.02 * rng.normal(size=12))
    looked = look_at({"a": early, "b": late}, most=12, margin=0.01, ended={"a": 4, "b": 6})
    assert looked.looks.seeds == (4, 6, 9, 12)
    assert (looked.done, looked.next_seeds) == (2, 9)
    assert (looked.decisions["a"].look, looked.decisions["a"].verdict) == (1, "worse")
    assert (looked.decisions["b"].look, looked.decisions["b"].verdict) == (2, "undecided")
    assert looked.open == ("b",)
    over = look_at({"a": early, "b": late}, most=12, margin=0.01, ended={"a": 4, "b": 12})
    assert (over.done, over.next_seeds) == (4, None)


def test_a_look_waits_for_the_trials_of_what_is_open_and_a_failed_one_is_left_out() -> None:
    values: list[float | None] = [0.0, None, 0.02, -0.02]
    waits = look_at({"a": values}, most=12, margin=0.01, ended={"a": 3})
    assert (waits.done, waits.decisions, waits.next_seeds) == (0, {}, 4)
    looked = look_at({"a": values}, most=12, margin=0.01, ended={"a": 4})
    assert looked.decisions["a"].difference.n == 3
    lost = look_at({"a": [None] * 12}, most=12, margin=0.01, ended={"a": 12})
    assert (lost.decisions["a"].verdict, lost.next_seeds) == ("no verdict", None)


def test_looking_often_gives_no_more_false_verdicts() -> None:
    """Ten variants that are all like the baseline, which share its noise: 100 sweeps, all looks."""
    rng = np.random.default_rng(5)
    false = 0
    for _ in range(100):
        losses = rng.normal(0, 0.009, (11, 12))
        differences = {i: list(losses[i] - losses[0]) for i in range(1, 11)}
        looked = look_at(differences, most=12, margin=0.0001, ended=dict.fromkeys(differences, 12))
        false += any(decision.verdict in ("better", "worse") for decision in looked.decisions.values())
    assert false / 100 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 100)


def until_decided(results: SweepResults, most: int = 12) -> SweepResults:
    return dataclasses.replace(results, until_decided=True, most_seeds=most)


def test_a_report_repeats_the_looks_of_the_sweep() -> None:
    """Of twelve seeds the trials of the first six are there: the second look is the last one that is known."""
    results = until_decided(simulate(known, seeds=6, random=1))
    assert looked_at(results).done == 2
    found = {(e.hyperparameter, e.level): e for e in effects(results)}
    assert (found["n_embed", 32].verdict, found["n_embed", 32].look) == ("worse", 1)
    assert found["n_embed", 32].n == 4  # later seeds do not count: they were trained for others
    text = " ".join(findings.overall(results, list(found.values())))
    assert "This is planned look 2 of 4, at 6 seeds. Of the 5 % chance of a false verdict 2.5 % are spent" in text
    assert "however often the sweep was looked at" in text
    before = until_decided(simulate(known, seeds=3))
    assert {effect.verdict for effect in effects(before)} == {"no verdict"}
    assert "The first planned look at the comparisons is at 4 seeds" in " ".join(
        findings.overall(before, effects(before))
    )


def test_a_sweep_that_is_looked_at_once_says_so() -> None:
    results = simulate(known, seeds=5)
    text = " ".join(findings.overall(results, effects(results)))
    assert "That holds for one look, at 5 seeds. If seeds are added because of what it shows" in text
    assert "--until-decided" in text


def test_another_margin_is_for_sweeps_that_are_looked_at_once() -> None:
    results = simulate(known, seeds=5)
    assert {effect.judged.margin for effect in effects(results.with_margin(0.5))} == {0.5}
    with pytest.raises(ConfigError, match=r"trained until it was decided with a margin of 0\.01.*but got 0\.5"):
        until_decided(results).with_margin(0.5)
    with pytest.raises(ConfigError, match="margin must be a number of nats per character above 0"):
        results.with_margin(0)


@pytest.mark.parametrize(("sd", "difference", "seeds"), [(0.007, 0.02, 5), (0.01, 0.02, 8), (0.002, 0.005, 4)])
def test_power_is_how_often_it_is_found(sd: float, difference: float, seeds: int) -> None:
    rng = np.random.default_rng(7)
    draws = rng.normal(difference, sd, (700, seeds))
    found = np.mean([judge_all([estimate(values)] * 10)[0].verdict == "worse" for values in draws])
    assert found == pytest.approx(power(sd, difference, seeds, 10), abs=0.06)


@pytest.mark.parametrize("sd", [0.003, 0.01])
def test_seeds_needed_are_the_fewest_that_are_enough(sd: float) -> None:
    for difference in (0.005, 0.02):
        needed = seeds_needed(sd, difference, 10)
        assert needed is not None
        assert power(sd, difference, needed, 10) >= 0.8
        assert needed == 2 or power(sd, difference, needed - 1, 10) < 0.8
    alike = seeds_for_equivalence(sd, 0.01, 10)
    assert alike is not None
    draws = np.random.default_rng(3).normal(0, sd, (500, alike))
    found = np.mean([judge_all([estimate(values)] * 10)[0].verdict == "equivalent" for values in draws])
    assert found == pytest.approx(power_of_equivalence(sd, 0.01, alike, 10), abs=0.08)


def test_power_where_there_is_no_noise_or_far_too_much() -> None:
    assert seeds_needed(0.0, 0.01, 10) == 2
    assert seeds_needed(10.0, 0.01, 10) is None
    assert seeds_for_equivalence(10.0, 0.01, 10) is None
    assert seeds_for_equivalence(0.0, 0.01, 10) == 2


def test_beliefs_of_a_sweep_with_looks_may_not_spend_more_than_their_look() -> None:
    """The same losses, looked at once and at planned looks: the p-values are larger by what other looks may spend."""
    once = simulate(known, seeds=6, random=1)
    p_once = [q.p_adjusted for belief in beliefs(once) for q in belief.quantities if q.p_adjusted < 0.01]
    p_looked = [
        looked.p_adjusted
        for belief, planned in zip(beliefs(once), beliefs(until_decided(once)), strict=True)
        for q, looked in zip(belief.quantities, planned.quantities, strict=True)
        if q.p_adjusted < 0.01
    ]
    assert p_once
    assert p_looked == pytest.approx([p * 6 for p in p_once])  # the second look adds two of twelve seeds
