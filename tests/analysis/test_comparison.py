"""Differences of trials and of sweeps whose truth is known."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pandas as pd
import pytest

from gpt_experiments import names
from gpt_experiments.analysis import SweepResults, estimate
from gpt_experiments.analysis.comparison import (
    Difference,
    compare_curves,
    compare_facts,
    compare_heads,
    compare_metrics,
    compare_trials,
)
from gpt_experiments.analysis.comparison_words import alike, fact, number, trial_lead
from gpt_experiments.analysis.results import TrialResults
from gpt_experiments.analysis.sweep_comparison import compare_sweeps, pair_trials
from gpt_experiments.records import RunFacts
from gpt_experiments.training import Evaluation
from tests.support.simulated import BASELINE, simulate

NAN = math.nan


def facts(**changes: dict[str, str | None]) -> RunFacts:
    given: dict[str, Any] = {
        "parameters": {"n_head": "4", "learning_rate": "0.0003"},
        "code": {"commit": "a" * 40},
        "versions": {"torch": "2.13.0"},
        "hardware": {"CPU threads": "1", "kernels": None},
        "corpus": {"SHA-256": "f" * 64},
    }
    return RunFacts(**{name: value | changes.get(name, {}) for name, value in given.items()})


def curve(*losses: float) -> list[Evaluation]:
    return [Evaluation(step=10 * i, train_loss=loss - 0.5, val_loss=loss) for i, loss in enumerate(losses)]


def heads(*rows: tuple[int, int, dict[str, float], str]) -> pd.DataFrame:
    scores = dict.fromkeys(names.HEAD_SCORES, 0.5)
    return pd.DataFrame(
        {"layer": layer, "head": head, **scores, **own, "name": what} for layer, head, own, what in rows
    )


def trial(**changes: Any) -> TrialResults:
    values: dict[str, Any] = {
        "run_id": "1" * 32,
        "label": "baseline",
        "name": "baseline (seed 1)",
        "status": "FINISHED",
        "sweep": None,
        "facts": facts(),
        "evaluations": tuple(curve(3.0, 2.5)),
        "metrics": {names.FINAL_VAL_LOSS: 2.5},
        "heads": heads((1, 1, {}, "")),
        "sample": "To be",
        "left_out": (),
    }
    return TrialResults(**values | changes)


def test_facts_differ_where_both_say_other_things_or_one_says_nothing() -> None:
    found = compare_facts(
        facts(),
        facts(
            parameters={"n_head": "8", "learning_rate": "3e-4"},  # the same number
            hardware={"CPU threads": None},
            versions={"numba": "0.68"},
        ),
    )
    assert found.differing == (
        Difference(group="parameters", name="n_head", a="4", b="8"),
        Difference(group="versions", name="numba", a=None, b="0.68"),
        Difference(group="hardware", name="CPU threads", a="1", b=None),
    )
    assert found.of("hardware") == found.differing[2:]
    assert (found.alike, found.unknown) == (4, ("kernels",))
    assert alike(found) == "4 more are the same. Not recorded in either: kernels."


def test_a_parameter_that_somebody_edited_is_a_difference() -> None:
    found = compare_facts(facts(), facts(parameters={"learning_rate": "fast"}))
    assert [(each.name, each.b) for each in found.differing] == [("learning_rate", "fast")]


def test_curves_part_at_the_first_step_with_another_number() -> None:
    found = compare_curves(curve(3.0, 2.5, 2.0), curve(3.0, 2.5 + 1e-15, 1.5))
    assert found.parted is not None
    assert found.parted.step == 10
    assert 0 < found.parted.val_difference < 1e-14
    assert found.pairs[2].val_difference == -0.5
    assert not found.is_identical


def test_curves_of_other_steps_are_not_identical_though_they_do_not_part() -> None:
    found = compare_curves(curve(3.0, 2.5, 2.0), curve(3.0, 2.5))
    assert (found.parted, found.only_a, found.only_b, found.is_identical) == (None, (20,), (), False)


def test_a_loss_that_is_not_finite_in_both_is_the_same() -> None:
    assert compare_curves(curve(3.0, NAN), curve(3.0, NAN)).is_identical
    assert not compare_curves(curve(3.0, NAN), curve(3.0, 2.0)).is_identical
    assert not compare_curves([], []).is_identical


def test_metrics_of_one_side_have_no_difference() -> None:
    found = compare_metrics({"x": 1.0, "y": 2.0}, {"x": 1.5}, ["x", "y", "z"])
    assert [(each.name, each.difference) for each in found] == [("x", 0.5), ("y", None)]


def test_heads_are_ordered_by_how_far_apart_they_are_and_multiples_by_their_ratio() -> None:
    found = compare_heads(
        heads((1, 1, {"entropy": 0.9, "induction": 8.0}, "looks back"), (1, 2, {"same_word": NAN}, "")),
        heads((1, 1, {"entropy": 0.2, "induction": 10.0}, ""), (1, 2, {"same_word": 0.9}, ""), (2, 1, {}, "")),
    )
    first, second = found[:2]
    assert (first.score, first.layer, first.head, first.what_a) == ("entropy", 1, 1, "looks back")
    assert first.size == pytest.approx(0.7)
    assert (second.score, second.size) == ("induction", pytest.approx(0.2))
    assert {(head.layer, head.head, head.score) for head in found} == {
        (1, head, score) for head in (1, 2) for score in names.HEAD_SCORES
    } - {(1, 2, "same_word")}


def test_what_cannot_be_compared_of_two_trials_is_said() -> None:
    other = facts(parameters={"n_head": "8"}, corpus={"SHA-256": "0" * 64})
    notes = compare_trials(trial(), trial(run_id="2" * 32, facts=other)).notes
    assert [note.split(",")[0] for note in notes] == [
        "The two learnt from different texts",
        "Seed or shape differ",
    ]
    (same,) = compare_trials(trial(), trial(run_id="2" * 32)).notes
    assert same.startswith("All parameters are the same")


def sweeps(**changes: Any) -> tuple[SweepResults, SweepResults]:
    """Two sweeps of the same variants, the second with losses that are 0.1 lower at more heads."""
    a = simulate(lambda shape: 2.5, seeds=4, noise=0.0, seed_effect=0.01, details=True)
    b = simulate(lambda shape: 2.5 - 0.1 * (shape.n_head == 8), seeds=4, noise=0.001, seed_effect=0.01, details=True)
    renamed = b.trials.assign(run_id=[f"b {run_id}" for run_id in b.trials["run_id"]])
    return a, dataclasses.replace(b, run_id="1" * 32, trials=renamed, **changes)


def test_sweeps_are_paired_by_variant_and_seed_and_estimated_by_the_analysis() -> None:
    a, b = sweeps()
    found = pair_trials(a, b)
    largest = found.variants[0]
    assert (largest.label, largest.verdict) == ("n_head=8", "better")
    expected = (b.runs_of("n_head=8")["final_val_loss"].to_numpy()) - a.runs_of("n_head=8")["final_val_loss"].to_numpy()
    assert largest.difference == estimate(expected)
    assert largest.mean_b - largest.mean_a == pytest.approx(largest.difference.mean)
    assert [pair.seed for pair in largest.seeds] == [1337, 1338, 1339, 1340]
    assert len(found.variants) == 11
    assert (found.only_a, found.only_b, found.unpaired) == ((), (), ())
    assert found.overall is not None
    assert found.overall.n == 4
    assert found.overall.mean == pytest.approx(sum(pair.difference.mean for pair in found.variants) / 11)


def test_variants_of_one_sweep_alone_and_those_without_a_common_seed_are_named() -> None:
    shapes = [BASELINE, dataclasses.replace(BASELINE, n_head=8), dataclasses.replace(BASELINE, n_layer=1)]
    a = simulate(lambda shape: 2.5, seeds=2, variants=shapes[:2], lost=[("n_head=8", 1)])
    b = simulate(lambda shape: 2.5, seeds=2, variants=shapes, lost=[("n_head=8", 0)])
    found = pair_trials(a, b)
    assert [pair.label for pair in found.variants] == ["baseline"]
    assert (found.only_a, found.only_b, found.unpaired) == ((), ("n_layer=1",), ("n_head=8",))


def test_a_variant_is_the_same_though_the_sweeps_have_other_baselines() -> None:
    a = simulate(lambda shape: 2.5, seeds=1, variants=[BASELINE, dataclasses.replace(BASELINE, n_head=8)])
    relabelled = a.trials.assign(label=["n_head=4", "baseline"])
    baseline = a.baseline.with_values({"n_head": 8})
    b = dataclasses.replace(a, trials=relabelled, baseline=baseline)
    labels = {(pair.label_a, pair.label_b) for pair in pair_trials(a, b).variants}
    assert labels == {("baseline", "n_head=4"), ("n_head=8", "baseline")}


def test_a_parameter_that_one_sweep_alone_varies_is_the_baselines_in_the_other() -> None:
    a = simulate(lambda shape: 2.5, seeds=1, variants=[BASELINE])
    rows = pd.concat([a.trials, a.trials.assign(run_id="x", label="learning_rate=0.001")])
    rates = rows.assign(learning_rate=[a.baseline.training.learning_rate, 1e-3])
    b = dataclasses.replace(a, trials=rates, parameters=(*a.parameters, "learning_rate"))
    found = pair_trials(a, b)
    assert [pair.label for pair in found.variants] == ["baseline"]
    assert found.only_b == ("learning_rate=0.001",)


def test_what_the_trials_of_a_sweep_say_is_put_together() -> None:
    a, b = sweeps(training={"steps": "200", "learning_rate": "0.0003"}, corpus_digest="0" * 64)
    one, other = facts(), facts(hardware={"CPU threads": "2"})
    silent = facts(hardware={"CPU threads": None})
    found = compare_sweeps(a, b, [one, other], [one, silent])
    differing = {each.name: (each.a, each.b) for each in found.facts.differing}
    assert differing == {"steps": ("100", "200"), "CPU threads": ("1; 2", "1; not recorded in some")}
    assert [note for note in found.notes if "different texts" in note]


def test_trials_that_both_sweeps_share_are_counted() -> None:
    a, b = sweeps()
    trials = b.trials.assign(run_id=a.trials["run_id"].where(a.trials["label"] == "baseline", b.trials["run_id"]))
    found = compare_sweeps(a, dataclasses.replace(b, trials=trials), [facts()], [facts()])
    assert "4 of 44 pairs of trials are one run" in found.notes[0]
    assert [pair.label for pair in found.trials.variants if pair.is_one_run] == ["baseline"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "not recorded"), (2.5, "+2.5000"), (1e-7, "+1.00e-07"), (215_873.0, "+215,873"), (0.0, "0")],
)
def test_a_number_has_as_many_digits_as_it_needs(value: float | None, text: str) -> None:
    assert number(value, sign=True) == text


def test_a_digest_is_shortened_and_what_is_missing_is_said() -> None:
    assert fact("0123456789abcdef" * 4) == "0123456789ab..."
    assert fact(None) == "not recorded"
    assert fact("some, not kept") == "some, not kept"


def test_of_two_sweeps_variants_with_stopped_trials_are_left_out_and_counted() -> None:
    a = simulate(lambda shape: 2.5, seeds=2)
    b = simulate(lambda shape: 2.4, seeds=2, stopped=[("n_layer=8", 0), ("n_head=1", 0), ("n_head=1", 1)])
    diff = compare_sweeps(a.compared, b.compared, [], [])
    assert {"n_layer=8", "n_head=1"}.isdisjoint({pair.label for pair in diff.trials.variants})
    assert "3 of 22 trials of B were stopped early; their variants are left out." in diff.notes


def test_a_stopped_trial_says_why_it_has_no_result() -> None:
    diff = compare_trials(trial(), trial(status="KILLED", reason="stopped at step 20"))
    assert "B is KILLED (stopped at step 20)." in trial_lead(diff)
