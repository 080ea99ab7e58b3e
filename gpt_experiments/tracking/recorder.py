"""Writes one MLflow run: buffered metrics, artifacts, and how the run ended."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from numpy.typing import NDArray

from gpt_experiments import names
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import without_secrets
from gpt_experiments.scratch import scratch_folder
from gpt_experiments.tracking.failures import as_tracking_errors
from gpt_experiments.tracking.leases import Heartbeats, beat
from gpt_experiments.tracking.logged_models import DATASET_DIGEST_LENGTH, log_model
from gpt_experiments.tracking.mlflow_internals import MLFLOW_LOGGED_ARTIFACTS, MLFLOW_RUN_NOTE
from gpt_experiments.tracking.provenance import this_process
from gpt_experiments.tracking.schema import series_metrics
from gpt_experiments.tracking.states import keep_state, remove_state

_METRICS_AT_ONCE: Final = 1000  # MLflow's limit
_TAG_LENGTH: Final = 5000  # the least that any of MLflow's stores allows


_P = ParamSpec("_P")
_R = TypeVar("_R")


def _translated(
    method: Callable[Concatenate[RunRecorder, _P], _R],
) -> Callable[Concatenate[RunRecorder, _P], _R]:
    """Let a method raise a TrackingError, which names the store, instead of what MLflow raises."""

    @wraps(method)
    def wrapper(self: RunRecorder, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        with as_tracking_errors(self.uri):
            return method(self, *args, **kwargs)

    return wrapper


class RunRecorder:
    """Writes to one run; metrics wait in a buffer until the run ends, to be written together.

    Args:
        heartbeats: renew the run's heartbeat until it ends; None where it only adds to a run that has ended.
    """

    def __init__(self, client: MlflowClient, run_id: str, uri: str, heartbeats: Heartbeats | None = None) -> None:
        self.run_id = run_id
        self.uri = uri
        self.heartbeats = heartbeats or Heartbeats(uri)
        self._client = client
        self._buffer: list[Metric] = []

    @_translated
    def log_params(self, params: Mapping[str, object]) -> None:
        self._client.log_batch(self.run_id, params=[Param(name, str(value)) for name, value in params.items()])

    @_translated
    def log_corpus(self, corpus: Corpus) -> None:
        """Log the corpus as the run's input, with its digest."""
        self.log_input(corpus_input(corpus))

    @_translated
    def log_input(self, given: Mapping[str, str]) -> None:
        """Log what `corpus_input` has made of a corpus."""
        context = [InputTag(key="mlflow.data.context", value="training")]
        self._client.log_inputs(self.run_id, datasets=[DatasetInput(Dataset(**given), context)])

    @_translated
    def log_history(self, points: Sequence[tuple[str, float, int, int]]) -> None:
        """Write metrics at once: for each its name, value, time (milliseconds since 1970) and step.

        Points that are written again, with the same times, count once.
        """
        for start in range(0, len(points), _METRICS_AT_ONCE):
            metrics = [Metric(*point) for point in points[start : start + _METRICS_AT_ONCE]]
            self._client.log_batch(self.run_id, metrics=metrics)

    @_translated
    def flush(self) -> None:
        """Write what waits in the buffer."""
        while self._buffer:
            self._client.log_batch(self.run_id, metrics=self._buffer[:_METRICS_AT_ONCE])
            del self._buffer[:_METRICS_AT_ONCE]  # not before they are written

    @_translated
    def log_artifacts(self, folder: Path, below: str | None = None) -> None:
        """Every file below `folder`, under the same relative paths, in the artifact folder `below`."""
        self._client.log_artifacts(self.run_id, str(folder), below)

    @_translated
    def log_image(self, key: str, image: NDArray[np.uint8], step: int, *, at: int | None = None) -> None:
        """Log a picture (height, width, 3); MLflow shows those of one key with a slider over their steps.

        Args:
            at: when it was made, milliseconds since 1970; None is now.
        """
        self._client.log_image(self.run_id, image, key=key, step=step, timestamp=at, synchronous=True)

    @_translated
    def describe(self, markdown: str) -> None:
        """Set the description, which MLflow shows first of the run."""
        self._client.set_tag(self.run_id, MLFLOW_RUN_NOTE, markdown[:_TAG_LENGTH])

    @_translated
    def keep_state(self, step: int, group: str, state: bytes) -> bool:
        """Keep a trial's state, in place of the one before. See `states.keep_state`."""
        return keep_state(self._client, self.run_id, self.uri, step=step, group=group, state=state)

    @_translated
    def remove_state(self) -> bool:
        """Remove what is kept of a trial's state. See `states.remove_state`."""
        return remove_state(self._client, self.run_id, self.uri)

    @_translated
    def log_text(self, text: str, artifact: str) -> None:
        self._client.log_text(self.run_id, text, artifact)

    @_translated
    def log_tables(self, tables: Mapping[str, pd.DataFrame]) -> None:
        """Write the tables as files that MLflow shows as tables, in place of earlier ones of the same names.

        MLflow's own `log_table` would add the rows to those of an earlier table.
        """
        tag = self._client.get_run(self.run_id).data.tags.get(MLFLOW_LOGGED_ARTIFACTS, "[]")
        listed = [entry for entry in json.loads(tag) if entry["path"] not in tables]
        for path, table in tables.items():
            self._client.log_text(self.run_id, table.to_json(orient="split", index=False), path)
            listed.append({"path": path, "type": "table"})
        self._client.set_tag(self.run_id, MLFLOW_LOGGED_ARTIFACTS, json.dumps(listed))

    @_translated
    def set_tags(self, tags: Mapping[str, str]) -> None:
        self._client.log_batch(self.run_id, tags=[RunTag(name, value[:_TAG_LENGTH]) for name, value in tags.items()])

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Metrics of one step, or without steps; written by the next `flush`, or as the run ends."""
        now = int(time.time() * 1000)
        self._buffer += [Metric(name, value, now, step) for name, value in metrics.items()]

    @_translated
    def log_model(
        self,
        experiment_id: str,
        *,
        name: str,
        params: Mapping[str, object],
        tags: Mapping[str, str],
        metrics: Mapping[str, float],
        again: bool = False,
    ) -> None:
        """Make the run's checkpoint a logged model, and write the metrics for both. See `logged_models.log_model`."""
        log_model(
            self._client,
            experiment_id,
            self.run_id,
            name=name,
            params=params,
            tags=tags,
            metrics=metrics,
            again=again,
        )

    def log_series(self, series: Mapping[str, Sequence[float]]) -> None:
        """Metrics whose steps count values from 1; a value that is not finite leaves a gap. Written as metrics are."""
        now = int(time.time() * 1000)
        self._buffer += [Metric(name, value, now, step) for name, value, step in series_metrics(series)]

    def finish(self) -> None:
        self._end("FINISHED")

    def fail(self, reason: str, traceback: str | None = None) -> None:
        """End as FAILED, with the reason as a tag and the traceback as an artifact."""
        self.set_tags({names.FAILURE: without_secrets(reason)})
        if traceback is not None:
            self.log_text(without_secrets(traceback), names.TRACEBACK_FILE)
        self._end("FAILED")

    def kill(self, reason: str) -> None:
        """End as KILLED: interrupted, not at fault."""
        self.set_tags({names.FAILURE: without_secrets(reason)})
        self._end("KILLED")

    @_translated
    def reopen(self, tags: Mapping[str, str], outdated: Iterable[str] = ()) -> None:
        """Reopen an ended run: RUNNING, owned by this process, with these tags and without the `outdated` ones."""
        self.set_tags({names.OWNER: this_process(), **beat()})  # first: a run without them would be taken as dead
        self._client.update_run(self.run_id, status="RUNNING")
        self.heartbeats.add(self.run_id)
        for name in outdated:
            self._client.delete_tag(self.run_id, name)
        self.set_tags(tags)

    @_translated
    def download_json(self, artifact: str) -> Any:
        """An artifact's JSON value, or None where the run has no such artifact."""
        if artifact not in (file.path for file in self._client.list_artifacts(self.run_id)):
            return None
        with scratch_folder() as folder:
            path = self._client.download_artifacts(self.run_id, artifact, str(folder))
            return json.loads(Path(path).read_text(encoding="utf-8"))

    @_translated
    def _end(self, status: str) -> None:
        self.flush()
        self._client.set_terminated(self.run_id, status)
        self.heartbeats.remove(self.run_id)


def corpus_input(corpus: Corpus) -> dict[str, str]:
    """The corpus as the input of a run, in MLflow's words, all of them text."""
    profile = {"characters": len(corpus.text), "vocab_size": corpus.vocab_size, "sha256": corpus.digest}
    return {
        "name": corpus.name,
        "digest": corpus.digest[:DATASET_DIGEST_LENGTH],
        "source_type": "local",
        "source": json.dumps({"uri": corpus.source}),
        "profile": json.dumps(profile),
    }
