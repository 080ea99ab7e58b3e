"""Keeps the state of a trial that has not finished as an artifact of its run, from which `left_trials` finds it."""

from __future__ import annotations

import json
from pathlib import Path

from mlflow import MlflowClient

from gpt_experiments import names
from gpt_experiments.scratch import scratch_folder
from gpt_experiments.tracking.mlflow_internals import get_artifact_repository


def keep_state(client: MlflowClient, run_id: str, uri: str, *, step: int, group: str, state: bytes) -> bool:
    """Keep a state in the run, in place of the one before; returns whether that could be deleted.

    Args:
        uri: the tracking store's address.
    """
    file = state_file(step)
    with scratch_folder() as folder:
        path = folder / Path(file).name
        path.write_bytes(state)
        client.log_artifact(run_id, str(path), names.STATE_FOLDER)
    client.set_tag(run_id, names.STATE, json.dumps({"step": step, "group": group}))
    older = [found.path for found in client.list_artifacts(run_id, names.STATE_FOLDER) if found.path != file]
    return _delete(client, run_id, uri, older)


def remove_state(client: MlflowClient, run_id: str, uri: str) -> bool:
    """Remove what is kept of a trial that needs it no more; returns whether the files could be deleted."""
    if names.STATE in client.get_run(run_id).data.tags:
        client.delete_tag(run_id, names.STATE)
    is_there = bool(client.list_artifacts(run_id, names.STATE_FOLDER))
    return _delete(client, run_id, uri, [names.STATE_FOLDER] if is_there else [])


def _delete(client: MlflowClient, run_id: str, uri: str, files: list[str]) -> bool:
    if not files:
        return True
    repository = get_artifact_repository(client.get_run(run_id).info.artifact_uri, tracking_uri=uri)
    try:
        for file in files:
            repository.delete_artifacts(file)  # type: ignore[no-untyped-call]
    except Exception:  # not every store can, and each says so with another error
        return False
    return True


def state_file(step: int) -> str:
    """The artifact that holds the state after so many steps."""
    return f"{names.STATE_FOLDER}/step-{step}.safetensors"
