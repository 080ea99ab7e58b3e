"""A finished run's checkpoint as a logged model: MLflow's Models page lists it with its losses on its corpus."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Metric

from gpt_experiments import names
from gpt_experiments.errors import one_line
from gpt_experiments.tracking.mlflow_internals import MLFLOW_RUN_NOTE

DATASET_DIGEST_LENGTH: Final = 36  # MLflow's limit; the tag of the corpus has the digest whole
_TYPE: Final = "gpt"
_NOT_IN_A_NAME: Final = str.maketrans(dict.fromkeys("/:.%\"'", "_"))  # MLflow refuses these


def log_model(
    client: MlflowClient,
    experiment_id: str,
    run_id: str,
    *,
    name: str,
    params: Mapping[str, object],
    tags: Mapping[str, str],
    metrics: Mapping[str, float],
    again: bool = False,
) -> str:
    """Make a logged model of the run's checkpoint, and write the metrics for the run and for the model.

    Args:
        name: the trial's, or the pre-trained file's; what MLflow allows in no model's name becomes `_`.
        tags: with the corpus, which the metrics are tied to, so that a search finds the best model on a corpus.
        again: an earlier try failed, and may have made the model; then that one is used.

    Returns:
        The model's id, as `m-…`.
    """
    earlier = _earlier(client, experiment_id, run_id) if again else None
    model = earlier or client.create_logged_model(
        experiment_id,
        name=one_line(name).translate(_NOT_IN_A_NAME),
        source_run_id=run_id,
        tags={MLFLOW_RUN_NOTE: _description(run_id), **tags},
        params={name: str(value) for name, value in params.items()},
        model_type=_TYPE,
    )
    now, model_id = int(time.time() * 1000), str(model.model_id)
    corpus = {
        "dataset_name": tags[names.CORPUS],
        "dataset_digest": tags[names.CORPUS_DIGEST][:DATASET_DIGEST_LENGTH],
    }
    written = [Metric(name, value, now, 0, model_id, run_id=run_id, **corpus) for name, value in metrics.items()]
    client.log_batch(run_id, metrics=written)
    client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])
    client.finalize_logged_model(model_id, LoggedModelStatus.READY)
    return model_id


def _earlier(client: MlflowClient, experiment_id: str, run_id: str) -> LoggedModel | None:
    """The newest model that was made of the run, whether or not the run knows it."""
    found = client.search_logged_models([experiment_id], filter_string=f"source_run_id = '{run_id}'")
    return found[0] if found else None


def logged_model_of(client: MlflowClient, run_id: str) -> str | None:
    """The id of the run's logged model; None for a run of version 0.1.0, which has none."""
    outputs = client.get_run(run_id).outputs
    found = outputs.model_outputs if outputs else []
    return str(found[0].model_id) if found else None


def _description(run_id: str) -> str:
    return (
        f"The weights are in the folder `{names.CHECKPOINT_FOLDER}` of the run's artifacts. To see text from them, "
        f"type `python -m gpt_experiments generate {run_id}`. To make them a model that MLflow loads and serves, "
        f"type `python -m gpt_experiments register {run_id}`."
    )
