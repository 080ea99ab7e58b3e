"""Records that become runs, and runs that become the same records again."""

from __future__ import annotations

import dataclasses
import json
from importlib.metadata import version

import pytest

from gpt_experiments.config import Trial, Variant
from gpt_experiments.corpus import Corpus
from gpt_experiments.parameters import PARAMETERS, Shape, TrainingSetup
from gpt_experiments.records import FinishedTrial, Outcome, PlannedTrial, TrialRecord
from gpt_experiments.tracking import Store, schema
from gpt_experiments.tracking.facts import facts_of
from gpt_experiments.tracking.plan_rows import PlanRow, plan_rows
from gpt_experiments.training import TrainingSummary
from tests.support.variants import make_variant

SUMMARY = TrainingSummary(
    final_train_loss=1.25,
    final_val_loss=1.5,
    best_val_loss=1.4375,
    n_params=1234,
    train_seconds=12.5,
    eval_seconds=0.25,
    tokens_per_second=1e5 / 3,
)


def planned(corpus: Corpus, **changes: float) -> PlannedTrial:
    variant = make_variant(**changes, learning_rate=1e-3 / 3)
    trial = Trial(shape=variant.shape, seed=7, training=variant.training)
    return PlannedTrial(
        trial=trial,
        variant=trial.variant,
        label=trial.variant.label(Variant()),
        cell=trial.cell(corpus.digest),
        n_params=SUMMARY.n_params,
    )


def test_a_trial_is_read_back_as_it_was_written(store_uri: str, corpus: Corpus) -> None:
    store, trial = Store(store_uri), planned(corpus, dropout=0.1 / 3, n_head=8)
    recorder = store.start_run(
        kind="trial",
        run_name=trial.name,
        params=schema.trial_params(trial.trial, device="cpu", vocab_size=corpus.vocab_size),
        tags=schema.trial_tags(trial, corpus, hardware="an abacus", threads=2, replicas=3, kernels=True),
        parent_run_id="p",
    )
    recorder.log_metrics(schema.summary_metrics(SUMMARY))
    recorder.finish()
    (run,) = store.search("tags.`gpt.kind` = 'trial'")
    assert schema.finished_trial(run) == FinishedTrial(
        run_id=recorder.run_id,
        parent_run_id="p",
        cell=trial.cell,
        variant=trial.variant,
        seed=7,
        sweeps=("p",),
        summary=SUMMARY,
    )
    model = schema.model_run(run, "trial")
    assert (model.label, model.cell, model.hardware) == (
        "n_head=8 dropout=0.0333333 learning_rate=0.000333333",
        trial.cell,
        "an abacus",
    )
    assert (model.corpus, model.corpus_digest, model.n_params) == (corpus.name, corpus.digest, SUMMARY.n_params)
    assert (model.train_loss, model.val_loss, model.best_val_loss) == (1.25, 1.5, 1.4375)
    facts = facts_of(run.data.params, run.data.tags)
    assert facts.hardware == {
        "device": "cpu",
        "hardware": "an abacus",
        "CPU threads": "2",
        "kernels": "on",
        "replicas": "3",
    }
    assert facts.corpus == {
        "name": corpus.name,
        "SHA-256": corpus.digest,
        "distinct characters": str(corpus.vocab_size),
    }
    assert (facts.parameters["n_head"], facts.parameters["seed"]) == ("8", "7")
    assert facts.versions["torch"] == version("torch")


def test_what_an_earlier_version_did_not_record_is_none_and_a_younger_parameter_has_its_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(PARAMETERS, "steps", dataclasses.replace(PARAMETERS["steps"], is_younger=True))
    facts = facts_of({"n_head": "2"}, {"mlflow.source.git.dirty": "true"})
    assert (facts.parameters["n_head"], facts.parameters["n_layer"]) == ("2", None)
    assert facts.parameters["steps"] == str(PARAMETERS["steps"].default)
    assert facts.hardware == dict.fromkeys(("device", "hardware", "CPU threads", "kernels", "replicas"))
    assert facts.code == {"commit": None, "uncommitted changes": "some, not kept"}
    assert facts.versions == {}


def test_each_number_of_a_summary_has_a_metric_of_its_own() -> None:
    metrics = schema.summary_metrics(SUMMARY)
    assert sorted(metrics.values()) == sorted(dataclasses.asdict(SUMMARY).values())
    assert tuple(metrics) == schema.SUMMARY_METRICS


def test_a_plan_is_read_back_as_it_was_written(corpus: Corpus) -> None:
    ended, waiting, done = planned(corpus, n_head=8), planned(corpus), planned(corpus, dropout=0.1 / 3)
    earlier = FinishedTrial(
        run_id="earlier", parent_run_id=None, cell=done.cell, variant=done.variant, seed=7, summary=SUMMARY
    )
    record = TrialRecord(planned=ended, outcome=Outcome.FAILED, run_id="r", reason="diverged")
    rows = plan_rows([ended, waiting, dataclasses.replace(done, done=earlier)], [record])
    assert [(row.run_id, row.outcome) for row in rows] == [("r", "failed"), (None, None), ("earlier", "reused")]
    assert [
        PlanRow.from_json(row, TrainingSetup()) for row in json.loads(json.dumps([row.as_json() for row in rows]))
    ] == rows


def test_a_sweeps_baseline_is_read_back_as_it_was_written(corpus: Corpus) -> None:
    baseline = Shape(n_head=2, dropout=0.25, block_size=64)
    params = schema.sweep_params(
        method="grid",
        is_adaptive=False,
        budget="steps",
        baseline=Variant(shape=baseline),
        vocab_size=corpus.vocab_size,
    )
    texts = {name: str(value) for name, value in params.items()}
    assert schema.baseline_of(texts) == baseline
    assert not schema.is_adaptive(texts)
    assert schema.is_adaptive(texts | {"is_adaptive": "True"})
    assert schema.is_adaptive({"method": "tpe"})  # as 0.1.0 left it


@pytest.mark.parametrize("row", [None, [], {}, {"cell": 1, "label": "x", "seed": 1}, {"cell": "c", "label": "x"}])
def test_what_is_no_planned_trial_is_refused(row: object) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        PlanRow.from_json(row, TrainingSetup())
