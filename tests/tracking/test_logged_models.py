"""Checkpoints on MLflow's Models page: found by their losses on a corpus, registered, and loaded."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient

from gpt_experiments import names
from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import MissingError
from gpt_experiments.model import load_checkpoint
from gpt_experiments.models.registration import register_model
from gpt_experiments.tracking import Store, model_folder
from gpt_experiments.tracking.connection import as_default_store
from tests.support.stores import BASELINE, add_run

OTHER_TEXT = "a text of another kind, with other words in it.\n" * 40


@pytest.fixture
def store(store_uri: str) -> Store:
    return Store(store_uri)


def model_of(store: Store, run_id: str) -> str:
    (output,) = store.client.get_run(run_id).outputs.model_outputs
    return str(output.model_id)


def test_the_best_model_on_a_corpus_is_found(store: Store, corpus: Corpus) -> None:
    other = Corpus.from_text(OTHER_TEXT, name="other")
    add_run(store, corpus, 2.5)
    best = add_run(store, corpus, 2.0, trial=Trial(shape=dataclasses.replace(BASELINE, n_head=4)))
    add_run(store, other, 1.0)
    found = store.client.search_logged_models(
        [store.experiment.experiment_id],
        datasets=[{"dataset_name": corpus.name, "dataset_digest": corpus.digest[:36]}],
        order_by=[
            {
                "field_name": f"metrics.{names.FINAL_VAL_LOSS}",
                "ascending": True,
                "dataset_name": corpus.name,
                "dataset_digest": corpus.digest[:36],
            }
        ],
    )
    assert found[0].source_run_id == best
    assert found[0].params["n_head"] == "4"
    assert found[0].tags[names.CORPUS_DIGEST] == corpus.digest
    losses = {metric.key: metric.value for metric in found[0].metrics}
    assert losses[names.FINAL_VAL_LOSS] == 2.0
    assert store.client.get_run(best).data.metrics[names.FINAL_VAL_LOSS] == 2.0
    assert len(store.client.get_metric_history(best, names.FINAL_VAL_LOSS)) == 1


def test_a_name_that_mlflow_refuses_is_changed(store: Store, corpus: Corpus) -> None:
    run_id = add_run(store, corpus, 2.0)
    recorder = store.start_run(kind="trial", run_name="y", params={})
    tags = {names.CORPUS: corpus.name, names.CORPUS_DIGEST: corpus.digest}
    for name in ("dropout=0.1 (seed 5)", "a/b:c.d%e\"f'g", "two\nlines"):
        recorder.log_model(store.experiment.experiment_id, name=name, params={}, tags=tags, metrics={})
    outputs = store.client.get_run(recorder.run_id).outputs.model_outputs
    made = {store.client.get_logged_model(output.model_id).name for output in outputs}
    assert made == {"dropout=0_1 (seed 5)", "a_b_c_d_e_f_g", "two lines"}
    assert model_of(store, run_id)


def test_its_checkpoint_is_loaded_by_its_address_before_and_after_it_is_registered(
    store: Store, corpus: Corpus, tmp_path: Path
) -> None:
    run_id = add_run(store, corpus, 2.0)
    address = f"models:/{model_of(store, run_id)}"
    for place in ("before", "after"):
        (tmp_path / place).mkdir()
        loaded = load_checkpoint(model_folder(address, store.uri, into=tmp_path / place))
        assert loaded.model.config.shape == BASELINE
        register_model(run_id, store, "m")
    with pytest.raises(MissingError, match="m-0000"):
        model_folder(f"models:/m-{'0' * 32}", store.uri, into=tmp_path)


def test_a_version_is_made_of_the_logged_model_and_mlflow_loads_it(store: Store, corpus: Corpus) -> None:
    run_id = add_run(store, corpus, 2.0)
    register_model(run_id, store, "m")
    version = MlflowClient(tracking_uri=store.uri).get_model_version("m", "1")
    model_id = model_of(store, run_id)
    assert (version.source, version.run_id) == (f"models:/{model_id}", run_id)
    with as_default_store(store.uri):
        for address in (f"models:/{model_id}", "models:/m/1", f"models:/m@{names.CHAMPION}"):
            model = mlflow.pyfunc.load_model(address)
            (text,) = model.predict(pd.DataFrame({"prompt": ["a"]}), params={"max_new_tokens": 5})
            assert len(text) == 6
