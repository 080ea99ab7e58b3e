"""Keeps what MLflow's pages show of an experiment: its saved views, its description, and what kind of work it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mlflow.entities import Experiment, Run

from gpt_experiments import names
from gpt_experiments.errors import TrackingError
from gpt_experiments.tracking.description import description, is_ours, page_of
from gpt_experiments.tracking.failures import as_tracking_errors
from gpt_experiments.tracking.locks import host_lock
from gpt_experiments.tracking.mlflow_internals import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE, mlflow_tags
from gpt_experiments.tracking.store import Store
from gpt_experiments.tracking.views import (
    LEADERBOARD,
    TAG_PREFIX,
    StoredView,
    View,
    experiment_views,
    stored_view,
    sweep_set,
    sweep_views,
)

MOST_SWEEPS: Final = 4
"""Sweeps whose views are kept, those that were written last: MLflow lets nobody save more than 40 views."""

_CHOICES: Final[Mapping[str, str]] = {
    "mlflow.experimentKind": "custom_model_development",
    mlflow_tags.MLFLOW_EXPERIMENT_PRIMARY_METRIC_NAME: names.FINAL_VAL_LOSS,
    mlflow_tags.MLFLOW_EXPERIMENT_PRIMARY_METRIC_GREATER_IS_BETTER: "False",
}
"""Tags that are set where they are missing."""


@dataclass(frozen=True, kw_only=True)
class _Writes:
    """Tags of the experiment to set and to remove."""

    tags: Mapping[str, str]
    removed: Sequence[str]


def keep_views(
    store: Store, run_id: str | None = None, *, is_running: bool = False, notice: Callable[[str], None]
) -> None:
    """Write the experiment's views and description, and the views of the sweep of that run, as far as they are missing.

    What a person wrote or changed stays. What an earlier version wrote is brought up to date. Where that fails, the
    views are as they were: `notice` gets a sentence, and nothing is raised.

    Args:
        is_running: whether the sweep is being run by this version, which marks all of its trials.
    """
    try:
        _keep_views(store, run_id, is_running=is_running)
    except TrackingError as error:
        notice(f"MLflow's pages may not show the saved views: {error}")


def _keep_views(store: Store, run_id: str | None, *, is_running: bool) -> None:
    with as_tracking_errors(store.uri), host_lock(store.uri):  # another sweep may be writing its own
        sweep = store.client.get_run(run_id) if run_id else None
        experiment = store.client.get_experiment(store.experiment.experiment_id)
        condition = _condition(store, run_id, is_running=is_running) if run_id else ""
        if sweep and names.NUISANCE in sweep.data.params and sweep.info.status != "RUNNING":
            condition += f" AND tags.`{names.TUNING}` IS NULL"  # while it trains, they may be all there is to see
        writes = _missing(experiment, sweep, condition)
        for tag, value in writes.tags.items():
            store.client.set_experiment_tag(experiment.experiment_id, tag, value)
        for tag in writes.removed:
            store.client.delete_experiment_tag(experiment.experiment_id, tag)


def _condition(store: Store, run_id: str, *, is_running: bool) -> str:
    """What the trials of that sweep meet, as MLflow's search takes it, with those that it reuses.

    A run that an earlier version wrote names only the sweep that trained it. So the views of a sweep that was last run
    by such a version lack the trials that it reuses, until it is run again.
    """
    trials = f"tags.`{names.KIND}` = 'trial'"
    by_parent = f"{trials} AND tags.`{MLFLOW_PARENT_RUN_ID}` = '{run_id}'"
    by_mark = f"{trials} AND tags.`{names.SWEEPS}` LIKE '%{run_id}%'"
    if is_running or store.search(by_mark, newest=1) or not store.search(by_parent, newest=1):
        return by_mark
    return by_parent


def page_address(server: str, experiment: Experiment, run_id: str | None = None, kind: str = LEADERBOARD) -> str:
    """The address of a view on a server's pages: of the experiment, or of the sweep of that run."""
    return f"{server}/{page_of(experiment.experiment_id, kind, sweep_set(run_id) if run_id else None)}"


def _missing(experiment: Experiment, sweep: Run | None, condition: str) -> _Writes:
    """The tags that the experiment lacks or that are out of date."""
    there = experiment.tags
    found = [
        stored_view(key.removeprefix(TAG_PREFIX), value) for key, value in there.items() if key.startswith(TAG_PREFIX)
    ]
    of_sweep = _of_sweep(sweep, condition, found) if sweep else []
    outdated = _outdated(found, sweep) if sweep else []
    by_id, now = {one.view.view_id: one for one in found}, int(time.time() * 1000)
    tags = {
        view.tag: view.content(now)
        for view in [*experiment_views(), *of_sweep]
        if view.view_id not in by_id or (by_id[view.view_id].is_ours and by_id[view.view_id].view != view)
    }
    tags |= {name: value for name, value in _CHOICES.items() if name not in there}
    if is_ours(there.get(MLFLOW_RUN_NOTE)):
        kept = [one.view for one in found if one.is_ours and one.view not in outdated]
        note = description(experiment.experiment_id, _labels([*kept, *of_sweep]))
        tags |= {MLFLOW_RUN_NOTE: note} if note != there.get(MLFLOW_RUN_NOTE) else {}
    return _Writes(tags=tags, removed=[view.tag for view in outdated])


def _labels(views: Sequence[View]) -> dict[str, str]:
    """What the views of each sweep are called, by their set, the sweep that began last first."""
    newest_first = sorted(views, key=lambda view: view.created_at, reverse=True)
    return {view.sweep: view.label for view in newest_first if view.sweep is not None}


def _of_sweep(sweep: Run, condition: str, found: Sequence[StoredView]) -> list[View]:
    """The sweep's views, named after the sweep, and after its time as well where another view has such a name."""
    name, started_at = sweep.data.tags.get(names.SWEEP) or sweep.info.run_name or "sweep", sweep.info.start_time
    others = {one.view.name for one in found if one.view.sweep != sweep_set(sweep.info.run_id)}
    for label in (name, f"{name} {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(started_at / 1000))}"):
        views = sweep_views(label, sweep.info.run_id, condition, started_at)
        if not others & {view.name for view in views}:
            break
    return views


def _outdated(found: Sequence[StoredView], sweep: Run) -> list[View]:
    """The views of the sweeps that were written first, if with this sweep there are more than may be kept."""
    newest: dict[str, int] = {}
    ours = [one for one in found if one.is_ours and one.view.sweep not in (None, sweep_set(sweep.info.run_id))]
    for one in ours:
        newest[str(one.view.sweep)] = max(one.updated_at, newest.get(str(one.view.sweep), 0))
    kept = sorted(newest, key=newest.__getitem__, reverse=True)[: MOST_SWEEPS - 1]
    return [one.view for one in ours if one.view.sweep not in kept]
