"""Which trial or sweep a user means: by the id of its run, or by a name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from mlflow.entities import Run

from gpt_experiments import names
from gpt_experiments.errors import MissingError, TrackingError, shown
from gpt_experiments.records import RunFacts
from gpt_experiments.tracking.facts import facts_of
from gpt_experiments.tracking.failures import as_tracking_errors
from gpt_experiments.tracking.finished import pages
from gpt_experiments.tracking.runs import get_run, require_active
from gpt_experiments.tracking.schema import kind_of
from gpt_experiments.tracking.store import Store
from gpt_experiments.tracking.sweep_record import find_sweep

_MOST_NAMED: Final = 3


@dataclass(frozen=True, kw_only=True)
class StoredRun:
    """A run, what it is of, and the experiment that holds it."""

    kind: Literal["trial", "sweep"]
    run: Run
    store: Store


def find_trial_or_sweep(store: Store, reference: str) -> StoredRun:
    """The trial or sweep that is meant: by a run's id, in any experiment, by a sweep's name, or a trial's run's name.

    Of several sweeps of one name it is the one last worked on; of several runs of one name the newest finished one, if
    all of them are of one cell.

    Raises:
        TrackingError: there is no such run or sweep, it is deleted, of another kind, or several could be meant.
    """
    if re.fullmatch("[0-9a-f]{32}", reference):
        run = get_run(store, reference)
        require_active(run)
        return _checked(run, _store_of(store, run))
    try:
        return StoredRun(kind="sweep", run=find_sweep(store, reference), store=store)
    except TrackingError:
        trials = _trials_named(store, reference)
        if not trials:
            raise
    cells = {run.data.tags.get(names.CELL, run.info.run_id) for run in trials}
    if len(cells) > 1:
        some = ", ".join(run.info.run_id for run in trials[:_MOST_NAMED])
        more = f" and {len(trials) - _MOST_NAMED} more" if len(trials) > _MOST_NAMED else ""
        raise MissingError(f"{len(trials)} runs are called {shown(reference)}; give the id of one: {some}{more}")
    finished = [run for run in trials if run.info.status == "FINISHED"]
    return StoredRun(kind="trial", run=(finished or trials)[0], store=store)


def _trials_named(store: Store, name: str) -> list[Run]:
    """The runs of trials of that name, newest first."""
    trials = pages(store, f"tags.`{names.KIND}` = 'trial'")
    return [run for page in trials for run in page if run.info.run_name == name]


def _checked(run: Run, store: Store) -> StoredRun:
    kind = kind_of(run)
    if kind == "trial" or kind == "sweep":
        return StoredRun(kind=kind, run=run, store=store)
    raise MissingError(
        f"run {run.info.run_id} is neither a trial nor a sweep: its {names.KIND} is {kind!r}; give two trials or two "
        "sweeps"
    )


def _store_of(store: Store, run: Run) -> Store:
    """The experiment that holds the run."""
    if run.info.experiment_id == store.experiment.experiment_id:
        return store
    with as_tracking_errors(store.uri):
        name = store.client.get_experiment(run.info.experiment_id).name
    return Store(store.uri, name, store.retries)


def facts_of_trials(store: Store, run_ids: Sequence[str]) -> list[RunFacts]:
    """What the results of these trials' runs depend on."""
    return [facts_of(run.data.params, run.data.tags) for run in store.search_ids(run_ids)]
