"""One variant against another by their losses on fresh seeds."""

from __future__ import annotations

import pytest
from scipy import stats

from gpt_experiments.analysis.contest import contest

OLD = {1: 2.000, 2: 2.010, 3: 1.990}


def test_shared_seeds_are_paired() -> None:
    new = {seed: loss - 0.02 - 0.001 * seed for seed, loss in OLD.items()}
    found = contest(new, {**OLD, 9: 5.0}, 0.01)
    assert found is not None
    assert (found.is_paired, found.seeds, found.verdict) == (True, (3, 3), "better")
    assert found.difference == pytest.approx(-0.022)
    assert found.p_value == pytest.approx(stats.ttest_rel([*new.values()], [*OLD.values()]).pvalue)


def test_other_seeds_are_compared_by_welch() -> None:
    new = {11: 1.9, 12: 1.95, 13: 1.85, 14: 1.91}
    found = contest(new, OLD, 0.01)
    assert found is not None
    expected = stats.ttest_ind([*new.values()], [*OLD.values()], equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert (found.is_paired, found.seeds) == (False, (4, 3))
    assert (found.p_value, found.low, found.high) == pytest.approx((expected.pvalue, interval.low, interval.high))


@pytest.mark.parametrize(
    ("shift", "verdict"), [(0.0, "equivalent"), (0.004, "equivalent"), (-0.1, "better"), (0.1, "worse")]
)
def test_a_difference_within_the_margin_is_equivalent_if_both_one_sided_tests_say_so(
    shift: float, verdict: str
) -> None:
    wobble = {1: 0.001, 2: -0.001, 3: 0.0005}
    found = contest({seed: OLD[seed] + shift + wobble[seed] for seed in OLD}, OLD, 0.01)
    assert found is not None
    assert found.verdict == verdict
    wide = contest({seed: OLD[seed] + 20 * wobble[seed] for seed in OLD}, OLD, 0.01)
    assert wide is not None
    assert wide.verdict == "undecided"


def test_equal_losses_are_equivalent_and_two_seeds_are_the_least() -> None:
    same = contest(OLD, OLD, 0.01)
    assert same is not None
    assert (same.verdict, same.p_value, same.difference) == ("equivalent", 1.0, 0.0)
    assert contest({1: 2.0}, OLD, 0.01) is None
    assert contest({}, OLD, 0.01) is None
