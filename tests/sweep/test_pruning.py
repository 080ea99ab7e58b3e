"""Which trials are stopped early: real Optuna pruners, and whole sweeps on a real store."""

from __future__ import annotations

import dataclasses
import math
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from optuna.trial import TrialState

from gpt_experiments import names
from gpt_experiments.analysis import effects
from gpt_experiments.config import Variant
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import ConfigError
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.records import EarlyStop, SweepSummary
from gpt_experiments.sweep.definition import SweepDefinition
from gpt_experiments.sweep.dry_run import dry_run
from gpt_experiments.sweep.methods import PRUNERS, Pruning, make_method
from gpt_experiments.sweep.methods.learning import Learning
from gpt_experiments.sweep.resources import RunOptions
from gpt_experiments.sweep.runner import run_sweep
from gpt_experiments.tracking import Store, schema
from gpt_experiments.tracking.reader import read_sweep
from tests.support.listeners import Recorder
from tests.support.variants import make_variant

LEVELS = {"n_layer": (1, 2, 3, 4)}


def pruning(pruner: str = "median", steps: int = 3000, eval_interval: int = 500) -> Pruning:
    training = TrainingSetup(steps=steps, eval_interval=eval_interval)
    return Pruning(SweepDefinition(name="x", method="grid", levels=LEVELS, training=training, pruner=pruner))


def train(
    of: Pruning, variant: Variant, seed: int, loss: float, *, steps: int = 3000, every: int = 500
) -> EarlyStop | None:
    """A trial whose loss falls towards `loss`; returns why it was stopped."""
    for step in [*range(0, steps, every), steps]:
        stop = of.evaluated(variant, seed, step, loss + math.exp(-5 * step / steps), steps=steps)
        if stop is not None:
            of.ended(variant, seed, None)
            return stop
    of.ended(variant, seed, loss)
    return None


def test_the_median_stops_what_is_worse_than_half_of_four_trained_trials_and_says_by_how_much() -> None:
    of, variant = pruning(), make_variant()
    for seed, loss in enumerate((2.0, 2.1, 2.2, 2.9)):  # the last one would have been stopped later
        assert train(of, variant, seed, loss) is None
    stop = train(of, make_variant(n_layer=1), 0, 2.4)
    assert stop is not None
    assert (stop.pruner, stop.step, stop.steps, stop.trials) == ("median", 500, 3000, 4)
    assert stop.excess == pytest.approx(2.4 - 2.15)
    assert str(stop).startswith("stopped at step 500 of 3,000 by the median pruner: its validation loss ")
    assert str(stop).endswith("was 0.2500 above the median of 4 trials")
    assert train(of, make_variant(n_layer=2), 0, 2.1) is None


def test_a_stopped_trial_does_not_lower_the_bar_for_later_ones() -> None:
    """Only trained trials have a part in the median."""
    of = pruning()
    for seed in range(4):
        train(of, make_variant(), seed, 2.0 + seed / 10)
    for seed in range(4, 10):
        stop = train(of, make_variant(), seed, 3.0)
        assert stop is not None
        assert stop.trials == 4


@pytest.mark.parametrize("pruner", PRUNERS)
@pytest.mark.parametrize(("steps", "every"), [(3000, 500), (200, 100), (200, 10), (4, 2)])
def test_every_pruner_stops_bad_trials_and_no_good_one_at_long_and_at_quick_sweeps(
    pruner: str, steps: int, every: int
) -> None:
    of, stopped = pruning(pruner, steps, every), {}
    for seed in range(40):
        loss = 2.0 if seed % 4 == 0 else 2.0 + seed % 4
        stopped[seed] = train(of, make_variant(), seed, loss, steps=steps, every=every)
    assert sum(stop is not None for stop in stopped.values()) >= 10
    assert not any(stop for seed, stop in stopped.items() if seed % 4 == 0)
    for stop in filter(None, stopped.values()):
        assert steps / 8 <= stop.step < steps
        assert stop.excess > 0


def test_halving_says_which_trials_were_better() -> None:
    of = pruning("halving")
    found = [train(of, make_variant(), seed, loss) for seed, loss in enumerate((2.0, 2.5, 1.9, 2.2))]
    assert [stop is not None for stop in found] == [False, True, False, True]
    assert found[1] is not None
    assert found[1].against == "the best of 2 trials"
    assert found[1].excess == pytest.approx(0.5)
    assert found[3] is not None
    assert found[3].against == "the best 2 of 4 trials"
    assert found[3].excess == pytest.approx(0.2)


def test_trials_of_different_length_are_compared_by_the_share_of_their_training() -> None:
    of = pruning()
    for seed in range(4):
        assert train(of, make_variant(), seed, 2.0) is None
    short = train(of, make_variant(n_layer=1), 0, 2.5, steps=375, every=62)  # as at a budget; 62 is 0.165 of 375
    assert short is not None
    assert (short.step, short.steps) == (62, 375)
    assert short.excess == pytest.approx(0.5, abs=0.01)
    long = train(of, make_variant(n_layer=2), 0, 2.5, steps=6000, every=700)  # 700 is too far from 1,000
    assert long is not None
    assert long.step == 2100


def test_the_first_and_the_last_evaluation_stop_nothing() -> None:
    of = pruning()
    for seed in range(6):
        train(of, make_variant(), seed, 2.0)
    variant = make_variant(n_layer=1)
    assert of.evaluated(variant, 0, 0, 99.0, steps=3000) is None
    assert of.evaluated(variant, 0, 3000, 99.0, steps=3000) is None


def test_a_trial_that_is_trained_although_it_should_stop_counts_as_trained() -> None:
    """The request may come too late."""
    of = pruning()
    for seed in range(4):
        train(of, make_variant(), seed, 2.0)
    late = make_variant(n_layer=1)
    assert of.evaluated(late, 0, 500, 9.0, steps=3000) is not None
    assert of.evaluated(late, 0, 1000, 9.0, steps=3000) is None  # it has been asked
    of.ended(late, 0, 9.0)
    assert not of.has_stopped(late)


def test_what_is_learnt_from_the_store_counts_as_if_it_had_been_seen() -> None:
    first, second = pruning("halving"), pruning("halving")
    losses = {step: 2.0 + math.exp(-5 * step / 3000) for step in range(0, 3001, 500)}
    train(first, make_variant(), 0, 2.0)
    second.learn(make_variant(), 0, losses, steps=3000, best_val_loss=2.0)
    assert train(first, make_variant(n_layer=1), 0, 2.5) == train(second, make_variant(n_layer=1), 0, 2.5) is not None


def test_the_course_of_a_variant_is_the_mean_over_its_seeds_as_far_as_all_have_come() -> None:
    of, variant = pruning(), make_variant(n_layer=1)
    for seed in range(4):
        train(of, make_variant(), seed, 2.0)
    for step, losses in {500: (2.0, 3.0), 1000: (1.9, None)}.items():
        for seed, loss in enumerate(losses):
            if loss is not None:
                of.evaluated(variant, seed, step, loss, steps=3000)
    assert of.has_stopped(variant)
    assert of.course(variant) == {1: 2.5}


@pytest.mark.parametrize("name", ["tpe", "gp"])
def test_a_variant_with_a_stopped_trial_is_a_pruned_one_to_the_method(name: str) -> None:
    method = make_method(SweepDefinition(name="x", method=name, levels=LEVELS, trials=4))
    assert isinstance(method, Learning)
    asked = method.suggest()
    assert asked is not None
    begun = next(v for v in map(lambda n: make_variant(n_layer=n), (1, 2, 3, 4)) if v != asked)
    method.learn_stopped(asked, {1: 2.5, 2: 2.25})
    method.learn_stopped(begun, {1: 3.5})
    first, second = method._study.trials
    assert (first.state, second.state) == (TrialState.PRUNED, TrialState.PRUNED)
    assert (first.intermediate_values, second.intermediate_values) == ({1: 2.5, 2: 2.25}, {1: 3.5})
    method.learn_stopped(make_variant(n_layer=9), {})  # nothing was measured of it


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pruner": "best"}, "pruner must be one of median, halving, hyperband, but got 'best'"),
        ({"method": "one-at-a-time"}, "a pruner is only for grid, random, tpe and gp; one-at-a-time compares every"),
        ({"training": TrainingSetup(steps=500)}, "with eval_interval=500 there is none in 500 steps"),
    ],
)
def test_a_pruner_that_cannot_work_is_refused(changes: dict[str, object], message: str) -> None:
    fields: dict[str, object] = {"name": "x", "method": "grid", "levels": LEVELS, "pruner": "median"}
    with pytest.raises(ConfigError, match=message) as refused:
        SweepDefinition(**(fields | changes))  # type: ignore[arg-type]
    assert refused.value.field == "pruner"


def test_a_pruner_can_be_turned_off_and_on() -> None:
    wanted = SweepDefinition(name="x", method="grid", levels=LEVELS, pruner="median")
    assert wanted.with_overrides(pruner="none").pruner is None
    assert wanted.with_overrides().pruner == "median"
    assert wanted.with_overrides(pruner="none").with_overrides(pruner="halving").pruner == "halving"


# Whole sweeps

SWEEP = SweepDefinition(
    name="pruned",
    method="grid",
    baseline=Shape(n_head=1, n_layer=1, n_embed=8, dropout=0.0, block_size=16),
    levels={"learning_rate": (0.03, 0.01, 1e-4, 1e-5)},
    training=TrainingSetup(steps=12, batch_size=4, eval_interval=4, learning_rate=0.03),
    seeds=(1, 2),
    pruner="median",
)
INLINE = RunOptions(device="cpu", executor="inline", attention_over_training=False)


@dataclasses.dataclass
class Swept:
    folder: Path
    summary: SweepSummary

    def store(self) -> Store:
        return Store(f"sqlite:///{self.folder}/mlflow.db")

    def runs(self, status: str) -> list[Run]:
        return self.store().search(f"tags.`{names.KIND}` = 'trial' and attributes.status = '{status}'")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, _empty_store: Path, corpus: Corpus) -> Swept:
    """The sweep, run once."""
    folder = tmp_path_factory.mktemp("pruned")
    shutil.copy(_empty_store, folder / "mlflow.db")
    store = Store(f"sqlite:///{folder}/mlflow.db")
    return Swept(folder=folder, summary=run_sweep(SWEEP, corpus, store, INLINE, Recorder()))


def outcomes(summary: SweepSummary) -> dict[str, int]:
    return {outcome: count for outcome, count in summary.counts.items() if count}


@pytest.mark.slow
def test_a_pruned_sweep_is_complete_and_each_stopped_run_says_when_and_why(swept: Swept) -> None:
    summary = swept.summary
    assert set(outcomes(summary)) == {"finished", "stopped"}
    assert summary.is_complete
    assert summary.parent_run_id is not None
    client = MlflowClient(tracking_uri=swept.store().uri)
    assert client.get_run(summary.parent_run_id).info.status == "FINISHED"
    stopped = {record.run_id: record for record in summary.trials if record.outcome == "stopped"}
    assert {run.info.run_id for run in swept.runs("KILLED")} == set(stopped)
    for run in swept.runs("KILLED"):
        record = stopped[run.info.run_id]
        assert record.stop is not None
        assert record.summary is None
        assert run.data.tags[names.FAILURE] == str(record.stop) == record.reason
        assert schema.early_stop(run) == record.stop  # read back as it was written
        steps = [metric.step for metric in client.get_metric_history(run.info.run_id, names.VAL_LOSS)]
        assert max(steps) == record.stop.step < 12
        assert client.list_artifacts(run.info.run_id) == []


def test_only_a_killed_run_with_a_whole_note_is_a_stopped_one(swept: Swept) -> None:
    (run, *_) = swept.runs("KILLED")
    (finished, *_) = swept.runs("FINISHED")
    for damaged in (
        "",
        "{",
        "[]",
        "7",
        '{"step": 4}',
        run.data.tags[names.STOPPED].replace('"step": 4', '"step": "4"'),
    ):
        run.data.tags[names.STOPPED] = damaged
        assert schema.early_stop(run) is None
    assert schema.early_stop(finished) is None


def test_run_again_it_trains_nothing_and_counts_the_stopped_ones_as_stopped(swept: Swept, corpus: Corpus) -> None:
    before = outcomes(swept.summary)
    plan = dry_run(SWEEP, corpus, INLINE, swept.store().uri, names.DEFAULT_EXPERIMENT)
    assert (plan.done, plan.stopped, plan.to_train) == (before["finished"], before["stopped"], 0)
    again = run_sweep(SWEEP, corpus, swept.store(), INLINE, listener := Recorder())
    assert listener.trials == []
    assert [start.to_train for start in listener.started] == [0]
    assert again.is_complete
    assert outcomes(again) == {"reused": before["finished"], "stopped": before["stopped"]}
    assert {r.run_id for r in again.trials} == {r.run_id for r in swept.summary.trials}


def test_the_report_leaves_stopped_trials_out_of_everything_and_lists_them(swept: Swept) -> None:
    results = read_sweep(swept.store(), "pruned")
    stopped = [record for record in swept.summary.trials if record.outcome == "stopped"]
    assert results.pruner == "median"
    assert sorted(results.stopped["reason"]) == sorted(str(record.stop) for record in stopped)
    assert results.stopped["final_val_loss"].isna().all()
    assert set(results.curves["run_id"]) == set(results.finished["run_id"])
    gone = {record.planned.label for record in stopped}
    assert set(results.compared.finished["label"]) == set(results.finished["label"]) - gone
    assert gone.isdisjoint({f"{e.hyperparameter}={e.level:g}" for e in effects(results.compared)})


@pytest.mark.slow
def test_without_the_pruner_what_was_stopped_is_trained(swept: Swept, corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    shutil.copytree(swept.folder, tmp_path / "copy", dirs_exist_ok=True)
    store = Store(f"sqlite:///{tmp_path}/copy/mlflow.db")
    stopped = outcomes(swept.summary)["stopped"]
    other = dry_run(SWEEP.with_overrides(pruner="halving"), corpus, INLINE, store.uri, names.DEFAULT_EXPERIMENT)
    assert (other.stopped, other.to_train) == (0, stopped)  # another pruner decides anew
    forced = dataclasses.replace(INLINE, force=True)
    assert dry_run(SWEEP, corpus, forced, store.uri, names.DEFAULT_EXPERIMENT).to_train == 8
    whole = run_sweep(SWEEP.with_overrides(pruner="none"), corpus, store, INLINE, listener := Recorder())
    assert len(listener.trials) == stopped
    assert outcomes(whole) == {"finished": stopped, "reused": 8 - stopped}
    assert whole.parent_run_id == swept.summary.parent_run_id  # it is the same sweep
    results = read_sweep(store, "pruned")
    assert results.stopped.empty
    assert len(results.finished) == 8


def test_what_one_sweep_has_stopped_another_one_trains(swept: Swept, corpus: Corpus) -> None:
    """It was compared with that sweep's trials."""
    other = dataclasses.replace(SWEEP, name="other")
    plan = dry_run(other, corpus, INLINE, swept.store().uri, names.DEFAULT_EXPERIMENT)
    assert (plan.stopped, plan.to_train) == (0, outcomes(swept.summary)["stopped"])


@pytest.mark.slow
def test_of_trials_that_train_as_one_model_a_stopped_one_leaves_the_others_alone(
    store_uri: str, corpus: Corpus
) -> None:
    together = dataclasses.replace(SWEEP, name="together", pruner="halving")
    options = dataclasses.replace(INLINE, replicas=8)
    summary = run_sweep(together, corpus, Store(store_uri), options, listener := Recorder())
    assert [start.replicas for start in listener.started] == [8]
    stops = {record.planned.cell: record.stop for record in summary.trials if record.stop is not None}
    assert 0 < len(stops) < 8
    assert {stop.step for stop in stops.values()} <= {4, 8}
    for record in summary.trials:
        steps = [step for label, step in listener.evaluations if label == record.planned.label]
        assert steps.count(12) == sum(
            r.outcome == "finished" for r in summary.trials if r.planned.label == record.planned.label
        )


@pytest.mark.slow
def test_an_adaptive_sweep_goes_on_with_what_it_has_stopped(store_uri: str, corpus: Corpus) -> None:
    store = Store(store_uri)
    wanted = dataclasses.replace(SWEEP, name="tpe", method="tpe", trials=3, pruner="halving")
    first = run_sweep(wanted, corpus, store, INLINE, Recorder())
    assert first.counts["stopped"]  # type: ignore[index]
    again = run_sweep(wanted, corpus, store, INLINE, listener := Recorder())
    assert listener.trials == []
    assert again.is_complete
    more = run_sweep(wanted.with_overrides(trials=4), corpus, store, INLINE, listener := Recorder())
    assert len({planned.variant for planned in listener.trials}) == 1
    assert more.total == 8
