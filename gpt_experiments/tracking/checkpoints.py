"""Checks whether finished runs still have their checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import urlparse
from urllib.request import url2pathname

from mlflow import MlflowClient
from mlflow.entities import Experiment, Run

from gpt_experiments import names
from gpt_experiments.model.checkpoint import WEIGHTS_FILE
from gpt_experiments.tracking.mlflow_internals import get_artifact_repository
from gpt_experiments.tracking.relocation import Move


def runs_without_checkpoint(
    client: MlflowClient, experiment: Experiment, runs: Sequence[Run], move: Move | None = None
) -> set[str]:
    """The ids of those runs whose checkpoint is gone.

    In a folder of this machine the file itself is looked for, which takes microseconds. Behind a server or in a bucket
    each look is a request, and there may be thousands of runs: there one listing of the experiment's own folder shows
    which runs have any files, and only a run that is missing from it is asked for by itself. So a deleted store of
    artifacts, or a run's deleted folder, is noticed; a single file that was deleted far away is not.

    Args:
        move: how the store was moved, where its database does not say so yet.
    """
    gone: set[str] = set()
    far: list[str] = []
    for run in runs:
        uri = run.info.artifact_uri or ""
        folder = _local_folder(move.corrected(uri) if move else uri)
        if folder is None:
            far.append(run.info.run_id)
        elif not (folder / names.CHECKPOINT_FOLDER / WEIGHTS_FILE).is_file():
            gone.add(run.info.run_id)
    if not far:
        return gone
    repository = get_artifact_repository(experiment.artifact_location, tracking_uri=client.tracking_uri)
    with_files = {PurePosixPath(file.path.rstrip("/")).name for file in repository.list_artifacts()}
    missing = [run_id for run_id in far if run_id not in with_files]
    return gone | {run_id for run_id in missing if not client.list_artifacts(run_id, names.CHECKPOINT_FOLDER)}


def _local_folder(uri: str) -> Path | None:
    """The folder of this machine that an address names; None for an address of any other kind."""
    parsed = urlparse(uri)
    if parsed.scheme == "file":
        return Path(url2pathname(parsed.path))
    return Path(uri) if not parsed.scheme else None
