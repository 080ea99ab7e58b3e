"""The MLflow store: opens an experiment, finds finished trials, and starts runs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from mlflow.entities import Experiment, Run

from gpt_experiments import names
from gpt_experiments.errors import RunDeletedError, TrackingError
from gpt_experiments.records import FinishedTrial, StoppedTrial
from gpt_experiments.tracking import provenance
from gpt_experiments.tracking.agreement import asker_of, withdraw
from gpt_experiments.tracking.checkpoints import runs_without_checkpoint
from gpt_experiments.tracking.connection import database_file, probe, require_name, resolve_uri
from gpt_experiments.tracking.failures import as_tracking_errors, mlflow_command
from gpt_experiments.tracking.leases import Heartbeats, Life, beat, life_of
from gpt_experiments.tracking.locks import opening_lock
from gpt_experiments.tracking.mlflow_internals import MLFLOW_PARENT_RUN_ID
from gpt_experiments.tracking.recorder import RunRecorder
from gpt_experiments.tracking.relocation import Move, artifact_location, find_move, repair_moved_store
from gpt_experiments.tracking.retry import RetryPolicy, retrying_client
from gpt_experiments.tracking.schema import finished_trial, is_finite, shelf_of, stopped_trial

_RUNS_IN_A_PAGE: Final = 1000
_IDS_AT_ONCE: Final = 500


@dataclass(frozen=True, kw_only=True)
class FinishedTrials:
    """The trials that need not be trained again.

    Attributes:
        by_cell: for each cell the newest finished run that still has its checkpoint, newest first.
        lost: cells whose finished runs have all lost their checkpoints.
        location: where the experiment's checkpoints should be.
    """

    by_cell: Mapping[str, FinishedTrial] = field(default_factory=dict)
    lost: frozenset[str] = frozenset()
    location: str = ""


class Store:
    """One experiment in one MLflow tracking store.

    Attributes:
        heartbeats: renew the heartbeats of the runs that are opened here, while they beat.

    Args:
        tracking_uri: where the store is; None takes MLflow's own choice: MLFLOW_TRACKING_URI, else `mlflow.db` in the
            working directory.
        experiment: the experiment's name; it is made when missing.
        retries: how long, and with what notices, every call waits for a store that is busy or away; a sweep sets its
            `notice` and `must_stop`.
        repair: whether the database of a store that was moved is corrected; else it is only read as if it were.

    Raises:
        ConfigError: an experiment cannot have that name.
        TrackingError: the store cannot be reached or read, or the experiment is deleted.
    """

    def __init__(
        self,
        tracking_uri: str | None = None,
        experiment: str = names.DEFAULT_EXPERIMENT,
        retries: RetryPolicy | None = None,
        *,
        repair: bool = True,
    ) -> None:
        require_name("an experiment's name", experiment)
        self.retries = retries or RetryPolicy()
        self.uri = resolve_uri(tracking_uri, self.retries)
        self.retries.probe = partial(probe, self.uri)
        self.heartbeats = Heartbeats(self.uri)
        with as_tracking_errors(self.uri), opening_lock(self.uri, self.retries):
            self.client = retrying_client(self.uri, self.retries)
            found = self.client.get_experiment_by_name(experiment)
            self.experiment = found or self._create_experiment(experiment)
            self._move = self._find_artifacts(repair=repair)
        if self.experiment.lifecycle_stage != "active":
            raise TrackingError(
                f"experiment {experiment!r} is deleted; restore it with "
                f"{mlflow_command(f'experiments restore -x {self.experiment.experiment_id}')}, or choose another "
                "--experiment"
            )

    @classmethod
    def if_present(
        cls, tracking_uri: str | None = None, experiment: str = names.DEFAULT_EXPERIMENT, *, repair: bool = False
    ) -> Store | None:
        """The store where it and the experiment exist already; None, with nothing made, where they do not."""
        require_name("an experiment's name", experiment)
        retries = RetryPolicy()
        uri = resolve_uri(tracking_uri, retries)
        file = database_file(uri)
        if file is not None and not file.exists():
            return None
        with as_tracking_errors(uri), opening_lock(uri, retries):
            found = retrying_client(uri, retries).get_experiment_by_name(experiment)
        return cls(uri, experiment, retries, repair=repair) if found else None

    def _create_experiment(self, name: str) -> Experiment:
        location = artifact_location(self.uri, name)
        return self.client.get_experiment(self.client.create_experiment(name, artifact_location=location))

    def _find_artifacts(self, *, repair: bool) -> Move | None:
        """Correct the database of a SQLite store that was moved; without `repair`, return how it was moved."""
        move = self.retries.call(find_move, self.uri, self.experiment.artifact_location)
        if move is None or not repair:
            return move
        self.retries.notice(self.retries.call(repair_moved_store, self.uri, move))
        self.experiment = self.client.get_experiment(self.experiment.experiment_id)
        return None

    def finished_among(self, runs: Sequence[Run], *, with_checkpoint: bool = True) -> FinishedTrials:
        """The finished trials among these runs, which are finished and come newest first."""
        with as_tracking_errors(self.uri):
            gone = runs_without_checkpoint(self.client, self.experiment, runs, self._move) if with_checkpoint else set()
        trials: dict[str, FinishedTrial] = {}
        lost: set[str] = set()
        for run in runs:
            trial = finished_trial(run)
            if trial is not None and run.info.run_id in gone:
                lost.add(trial.cell)
            elif trial is not None:
                trials.setdefault(trial.cell, trial)
        location = self.experiment.artifact_location
        return FinishedTrials(by_cell=trials, lost=frozenset(lost - trials.keys()), location=location)

    def finished_run(self, cell: str) -> FinishedTrial | None:
        """The newest finished run of a cell that still has its checkpoint; None if there is none."""
        runs = self.search(f"tags.`{names.CELL}` = '{cell}' and attributes.status = 'FINISHED'")
        return self.finished_among(runs).by_cell.get(cell)

    def stopped_trials(self, key: str, pruner: str) -> dict[str, StoppedTrial]:
        """The trials, by cell, that this pruner has stopped in the sweep of that identity; the newest of each."""
        parent = self._sweep(key)
        if parent is None:
            return {}
        ended = self.search(f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent.info.run_id}' and attributes.status = 'KILLED'")
        return stopped_among(ended, pruner)

    def val_losses(self, run_id: str) -> dict[int, float]:
        """The validation losses of a run, nats per character, by step; without those that are not finite."""
        with as_tracking_errors(self.uri):
            history = self.client.get_metric_history(run_id, names.VAL_LOSS)
        return {metric.step: metric.value for metric in history if is_finite(metric.value)}

    def artifacts_of(self, run: Run) -> str:
        """The address of a run's files, also where the store was moved and its database does not say so yet."""
        address: str = run.info.artifact_uri
        return self._move.corrected(address) if self._move else address

    def close_abandoned(self) -> list[str]:
        """End as KILLED every run that a process left RUNNING when it died, on any host; returns their ids."""
        running = self.search("attributes.status = 'RUNNING'")  # alone: a search by a tag takes far longer
        ours = [run for run in running if names.KIND in run.data.tags]
        return [run.info.run_id for run in ours if self.close_if_dead(run)]

    def close_if_dead(self, run: Run) -> bool:
        """End a RUNNING run as KILLED if the process that writes it is dead; returns whether it did.

        One that has only asked for its cell or its sweep is deleted instead: it says nothing to anybody.
        """
        if life_of(run.data.tags) is not Life.DEAD:
            return False
        run_id = run.info.run_id
        with as_tracking_errors(self.uri):
            again = self.client.get_run(run_id)  # meanwhile another process may have closed it, and continued it
            if again.info.status != "RUNNING" or life_of(again.data.tags) is not Life.DEAD:
                return False
            if not asker_of(again).holds:
                with suppress(RunDeletedError), as_tracking_errors(self.uri):  # where another process was faster
                    withdraw(self.client, run_id)
                return False
            self.client.set_tag(run_id, names.FAILURE, "abandoned: the process that wrote this run died")
            self.client.set_terminated(run_id, "KILLED")
        return True

    def earlier_plan(self, key: str) -> Any:
        """The rows of the plan that the sweep of that identity has left, as JSON; None where there is none to read."""
        found = self._sweep(key)
        try:
            return found and self.recorder(found.info.run_id).download_json(names.PLAN_FILE)
        except ValueError:  # cut while it was written, or edited: the sweep writes a new one
            return None

    def planned_looks(self, key: str) -> str | None:
        """The planned looks of the sweep of that identity, as its run says them; None where it has none."""
        found = self._sweep(key)
        return found.data.tags.get(names.LOOKS) if found else None

    def _sweep(self, key: str) -> Run | None:
        """The newest run of the sweep of that identity, without runs that have only asked for it."""
        found = self.search(f"tags.`{names.SWEEP_KEY}` = '{key}'")
        return next((run for run in found if run.data.tags.get(names.CLAIM) != names.ASKED), None)

    def start_run(
        self,
        *,
        kind: names.Kind,
        run_name: str,
        params: Mapping[str, object],
        sweep: str | None = None,
        parent_run_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        source: Mapping[str, str] | None = None,
        started_at: int | None = None,
        again: bool = False,
    ) -> RunRecorder:
        """A new run, RUNNING and owned by this process.

        Args:
            source: who computed it, with what, as `provenance.source_tags` has it; None is this process.
            started_at: milliseconds since 1970; None is now.
            again: an earlier try to open the run of a trial failed, and may have made it; then that one is used.
        """
        ours = provenance.source_tags()
        all_tags = {names.KIND: kind, **(ours if source is None else source), **beat(), **(tags or {})}
        if sweep is not None:
            all_tags[names.SWEEP] = sweep
        if names.CELL in all_tags:
            all_tags[shelf_of(all_tags[names.CELL])] = all_tags[names.CELL]
        if parent_run_id is not None:
            all_tags[MLFLOW_PARENT_RUN_ID] = all_tags[names.SWEEPS] = parent_run_id
        with as_tracking_errors(self.uri):
            began = int(time.time() * 1000) if started_at is None else started_at
            run = (self._running(all_tags) if again else None) or self.client.create_run(
                self.experiment.experiment_id, start_time=began, tags=all_tags, run_name=run_name
            )
            recorder = self.recorder(run.info.run_id)
            self.heartbeats.add(recorder.run_id)
            recorder.log_params(params)
        if parent_run_id is None and all_tags.get(names.UNCOMMITTED) == ours.get(names.UNCOMMITTED):
            self.keep_uncommitted(recorder)
        return recorder

    def _running(self, tags: Mapping[str, str]) -> Run | None:
        """The run that the process named in the tags has opened for the cell named there; None if there is none."""
        condition = " and ".join(f"tags.`{name}` = '{tags[name]}'" for name in (names.CELL, names.OWNER))
        found = self.search(f"{condition} and attributes.status = 'RUNNING'", newest=1)
        return found[0] if found else None

    def reopen_trial(self, run_id: str) -> RunRecorder:
        """The run of a trial that goes on or is still to be written: RUNNING, and owned by this process."""
        recorder = self.recorder(run_id)
        with as_tracking_errors(self.uri):
            run = self.client.get_run(run_id)
        owner = provenance.this_process()
        if run.info.status != "RUNNING" or run.data.tags.get(names.OWNER) != owner:
            recorder.reopen(
                {names.OWNER: owner, names.CLAIM: names.HOLDS},
                [name for name in (names.FAILURE,) if name in run.data.tags],
            )
        return recorder

    def recorder(self, run_id: str) -> RunRecorder:
        """What writes to the run of that id; while `heartbeats` beat, its heartbeat is renewed once it is reopened."""
        return RunRecorder(self.client, run_id, self.uri, self.heartbeats)

    def keep_uncommitted(self, recorder: RunRecorder) -> None:
        """Leave what the code differs in from its commit in the run; the tags of its trials say which text it is."""
        checkout = provenance.this_checkout()
        if checkout is not None and checkout.uncommitted is not None:
            recorder.log_text(checkout.uncommitted.text, checkout.uncommitted.file)

    def search(self, condition: str, newest: int | None = None) -> list[Run]:
        """The active runs of the experiment that meet `condition`, newest first."""
        runs, token = self.page(condition, newest or _RUNS_IN_A_PAGE)
        while token and newest is None:
            more, token = self.page(condition, _RUNS_IN_A_PAGE, token)
            runs += more
        return runs

    def search_ids(self, run_ids: Sequence[str]) -> list[Run]:
        """Those of these runs that are active runs of the experiment, in no order that matters."""
        found: list[Run] = []
        known = [run_id for run_id in run_ids if run_id.isalnum()]
        for first in range(0, len(known), _IDS_AT_ONCE):
            among = ", ".join(f"'{run_id}'" for run_id in known[first : first + _IDS_AT_ONCE])
            found += self.search(f"attributes.run_id IN ({among})")
        return found

    def oldest(self, condition: str) -> Run | None:
        """The oldest of those runs; None where there is none."""
        with as_tracking_errors(self.uri):
            found = self.client.search_runs(
                [self.experiment.experiment_id], condition, order_by=["attributes.start_time ASC"], max_results=1
            )
        return next(iter(found), None)

    def first_page(self, condition: str, most: int) -> tuple[list[Run], bool]:
        """At most so many of those runs, the newest, and whether there are no more."""
        runs, token = self.page(condition, most)
        return runs, not token

    def page(self, condition: str, most: int, token: str | None = None) -> tuple[list[Run], str | None]:
        """The next page of those runs, and the token of the one after it; None after the last."""
        with as_tracking_errors(self.uri):
            found = self.client.search_runs(
                [self.experiment.experiment_id],
                condition,
                order_by=["attributes.start_time DESC"],
                max_results=most,
                page_token=token,
            )
        return list(found), found.token or None


def stopped_among(runs: Sequence[Run], pruner: str) -> dict[str, StoppedTrial]:
    """The trials, by cell, that this pruner has stopped, among runs that come newest first."""
    found: dict[str, StoppedTrial] = {}
    for run in runs:
        trial = stopped_trial(run)
        if trial is not None and trial.stop.pruner == pruner:
            found.setdefault(trial.cell, trial)
    return found
