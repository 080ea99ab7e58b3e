"""Finds runs whose trials have not finished, and reads what those need to go on in them."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mlflow.entities import Run

from gpt_experiments import names
from gpt_experiments.scratch import scratch_folder
from gpt_experiments.tracking.failures import as_tracking_errors, is_absent
from gpt_experiments.tracking.mlflow_internals import MLFLOW_PARENT_RUN_ID
from gpt_experiments.tracking.states import state_file
from gpt_experiments.tracking.store import Store

_PICTURE: Final = re.compile(rf"images/{names.ATTENTION_IMAGE}[+%]step[+%](\d+)[+%]")  # as MLflow names its files


@dataclass(frozen=True, kw_only=True)
class LeftTrial:
    """A run that has ended before its trial was finished, and from whose state the trial can go on.

    Attributes:
        step: of the state.
        group: what it has in common with the states with which it goes on together.
        parent_run_id, sweeps: as of a finished trial.
        pauses: where it went on before, as the run says it.
    """

    run_id: str
    cell: str
    step: int
    group: str
    parent_run_id: str | None
    sweeps: tuple[str, ...]
    pauses: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Logged:
    """What a run has already, so that it is not logged again: the last step of each metric, and steps of pictures."""

    last_steps: Mapping[str, int] = field(default_factory=dict)
    pictures: frozenset[int] = frozenset()


def left_trials(store: Store) -> dict[str, LeftTrial]:
    """The trials that have not finished and can go on, by cell; of several runs of one cell the furthest one.

    Few runs have the tag that is asked for, however large the store is.
    """
    runs = store.search(
        f"tags.`{names.STATE}` != '' and attributes.status != 'RUNNING' and attributes.status != 'FINISHED'"
    )
    found: dict[str, LeftTrial] = {}
    for left in filter(None, map(_left_trial, runs)):
        known = found.get(left.cell)
        if known is None or known.step < left.step:
            found[left.cell] = left
    return found


def _left_trial(run: Run) -> LeftTrial | None:
    """The run as one that can go on; None if an edit in MLflow has damaged what it says."""
    tags = run.data.tags
    if tags.get(names.KIND) != "trial" or names.STOPPED in tags:
        return None
    with contextlib.suppress(ValueError, TypeError, KeyError):
        kept = json.loads(tags[names.STATE])
        return LeftTrial(
            run_id=run.info.run_id,
            cell=tags[names.CELL],
            step=int(kept["step"]),
            group=str(kept["group"]),
            parent_run_id=tags.get(MLFLOW_PARENT_RUN_ID),
            sweeps=tuple(tags.get(names.SWEEPS, "").split()),
            pauses=tuple(_pauses(tags.get(names.CONTINUED))),
        )
    return None


def _pauses(text: str | None) -> list[Mapping[str, Any]]:
    with contextlib.suppress(ValueError):
        found = json.loads(text or "[]")
        if isinstance(found, list):
            return [pause for pause in found if isinstance(pause, dict)]
    return []


def read_state(store: Store, left: LeftTrial) -> bytes | None:
    """The bytes of its state; None if they are gone.

    Raises:
        TrackingError: the store fails.
    """
    with as_tracking_errors(store.uri), scratch_folder() as folder:
        try:
            return Path(store.client.download_artifacts(left.run_id, state_file(left.step), str(folder))).read_bytes()
        except Exception as error:
            if is_absent(error):
                return None
            raise


def logged_in(store: Store, run_id: str) -> Logged:
    """What the run has of losses, of the use of its worker, and of pictures.

    Raises:
        TrackingError: the store fails.
    """
    with as_tracking_errors(store.uri):
        metrics = store.client.get_run(run_id).data.metrics
        over_steps = [
            name
            for name in metrics
            if name in (names.TRAIN_LOSS, names.VAL_LOSS) or name.startswith(names.SYSTEM_SECTION)
        ]
        steps = {
            name: max(metric.step for metric in store.client.get_metric_history(run_id, name)) for name in over_steps
        }
        images = [_PICTURE.match(file.path) for file in store.client.list_artifacts(run_id, "images")]
    return Logged(last_steps=steps, pictures=frozenset(int(found[1]) for found in images if found))
