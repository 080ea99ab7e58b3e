"""The MLflow store: opens an experiment, finds finished trials, and starts runs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from mlflow.entities import Experiment, Run

from gpt_experiments import names
from gpt_experiments.errors import TrackingError
from gpt_experiments.records import FinishedTrial, StoppedTrial
from gpt_experiments.tracking import provenance
from gpt_experiments.tracking.checkpoints import runs_without_checkpoint
from gpt_experiments.tracking.connection import database_file, opening_lock, probe, require_name, resolve_uri
from gpt_experiments.tracking.failures import as_tracking_errors, mlflow_command
from gpt_experiments.tracking.host_lock import host_lock
from gpt_experiments.tracking.mlflow_internals import MLFLOW_PARENT_RUN_ID
from gpt_experiments.tracking.recorder import RunRecorder
from gpt_experiments.tracking.relocation import Move, artifact_location, find_move, repair_moved_store
from gpt_experiments.tracking.retry import RetryPolicy, retrying_client
from gpt_experiments.tracking.schema import finished_trial, is_finite, stopped_trial


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

    def finished_trials(self, *, with_checkpoint: bool = True) -> FinishedTrials:
        """Every cell that has a finished run, with the newest such run.

        Args:
            with_checkpoint: only a run whose checkpoint is there answers for its cell; else its losses are enough.
        """
        runs = self.search(f"tags.`{names.KIND}` = 'trial' and attributes.status = 'FINISHED'")
        return self.finished_among(runs, with_checkpoint=with_checkpoint)

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
        """End as KILLED every run that a process of this host left RUNNING when it died; returns their ids."""
        abandoned = [
            run.info.run_id
            for run in self.search("attributes.status = 'RUNNING'")
            if provenance.is_dead(run.data.tags.get(names.OWNER, ""))
        ]
        with as_tracking_errors(self.uri):
            for run_id in abandoned:
                self.client.set_tag(run_id, names.FAILURE, "abandoned: the process that wrote this run died")
                self.client.set_terminated(run_id, "KILLED")
        return abandoned

    def earlier_plan(self, key: str) -> Any:
        """The rows of the plan that the sweep of that identity has left, as JSON; None where there is none to read."""
        found = self._sweep(key)
        try:
            return found and RunRecorder(self.client, found.info.run_id, self.uri).download_json(names.PLAN_FILE)
        except ValueError:  # cut while it was written, or edited: the sweep writes a new one
            return None

    def planned_looks(self, key: str) -> str | None:
        """The planned looks of the sweep of that identity, as its run says them; None where it has none."""
        found = self._sweep(key)
        return found.data.tags.get(names.LOOKS) if found else None

    def open_sweep(
        self,
        name: str,
        key: str,
        *,
        params: Mapping[str, object],
        notes: Mapping[str, str],
        take_over: bool = False,
    ) -> RunRecorder:
        """The parent run of the sweep whose identity is `key`: the existing one, reopened, or a new one.

        Args:
            take_over: also if the run is marked as running by a process that cannot be checked from here; the trials
                that it was training are then closed as KILLED.

        Raises:
            TrackingError: a living process of this host is running that sweep, or without `take_over` perhaps one of
                another host.
        """
        with host_lock(self.uri):  # two processes that begin the same sweep at once must not create it twice
            run = self._sweep(key)
            if run is None:
                tags = {names.SWEEP_KEY: key, **notes}
                return self.start_run(kind="sweep", run_name=name, sweep=name, params=params, tags=tags)
            owner = run.data.tags.get(names.OWNER, "")
            if run.info.status == "RUNNING" and owner != provenance.this_process() and not provenance.is_dead(owner):
                _check_take_over(name, run, owner, take_over=take_over)
                self._close_trials_of(run)
            recorder = RunRecorder(self.client, run.info.run_id, self.uri)
            tags = {**provenance.source_tags(), **notes}
            outdated = [name for name in provenance.CHECKOUT_TAGS if name in run.data.tags and name not in tags]
            recorder.reopen(tags, outdated)
            _keep_uncommitted(recorder)
            return recorder

    def _sweep(self, key: str) -> Run | None:
        found = self.search(f"tags.`{names.SWEEP_KEY}` = '{key}'", newest=1)
        return found[0] if found else None

    def _close_trials_of(self, parent: Run) -> None:
        """End as KILLED what the process from which a sweep is taken over has left RUNNING."""
        running = self.search(
            f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent.info.run_id}' and attributes.status = 'RUNNING'"
        )
        for run in running:
            reason = f"the sweep was taken over by {provenance.described(provenance.this_process())}"
            RunRecorder(self.client, run.info.run_id, self.uri).kill(reason)

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
        all_tags = {names.KIND: kind, **(ours if source is None else source), **(tags or {})}
        if sweep is not None:
            all_tags[names.SWEEP] = sweep
        if parent_run_id is not None:
            all_tags[MLFLOW_PARENT_RUN_ID] = all_tags[names.SWEEPS] = parent_run_id
        with as_tracking_errors(self.uri):
            began = int(time.time() * 1000) if started_at is None else started_at
            run = (self._running(all_tags) if again else None) or self.client.create_run(
                self.experiment.experiment_id, start_time=began, tags=all_tags, run_name=run_name
            )
            recorder = RunRecorder(self.client, run.info.run_id, self.uri)
            recorder.log_params(params)
        if parent_run_id is None and all_tags.get(names.UNCOMMITTED) == ours.get(names.UNCOMMITTED):
            _keep_uncommitted(recorder)
        return recorder

    def _running(self, tags: Mapping[str, str]) -> Run | None:
        """The run that the process named in the tags has opened for the cell named there; None if there is none."""
        condition = " and ".join(f"tags.`{name}` = '{tags[name]}'" for name in (names.CELL, names.OWNER))
        found = self.search(f"{condition} and attributes.status = 'RUNNING'", newest=1)
        return found[0] if found else None

    def reopen_trial(self, run_id: str) -> RunRecorder:
        """The run of a trial that goes on or is still to be written: RUNNING, and owned by this process."""
        recorder = RunRecorder(self.client, run_id, self.uri)
        with as_tracking_errors(self.uri):
            run = self.client.get_run(run_id)
        owner = provenance.this_process()
        if run.info.status != "RUNNING" or run.data.tags.get(names.OWNER) != owner:
            recorder.reopen({names.OWNER: owner}, [name for name in (names.FAILURE,) if name in run.data.tags])
        return recorder

    def search(self, condition: str, newest: int | None = None) -> list[Run]:
        """The active runs of the experiment that meet `condition`, newest first."""
        runs: list[Run] = []
        token = None
        with as_tracking_errors(self.uri):
            while True:
                page = self.client.search_runs(
                    [self.experiment.experiment_id],
                    condition,
                    order_by=["attributes.start_time DESC"],
                    max_results=newest or 1000,
                    page_token=token,
                )
                runs.extend(page)
                token = page.token
                if newest is not None or not token:
                    return runs


def stopped_among(runs: Sequence[Run], pruner: str) -> dict[str, StoppedTrial]:
    """The trials, by cell, that this pruner has stopped, among runs that come newest first."""
    found: dict[str, StoppedTrial] = {}
    for run in runs:
        trial = stopped_trial(run)
        if trial is not None and trial.stop.pruner == pruner:
            found.setdefault(trial.cell, trial)
    return found


def _keep_uncommitted(recorder: RunRecorder) -> None:
    """Leave what the code differs in from its commit in the run, where the tags of its trials say which text it is."""
    checkout = provenance.this_checkout()
    if checkout is not None and checkout.uncommitted is not None:
        recorder.log_text(checkout.uncommitted.text, checkout.uncommitted.file)


def _check_take_over(name: str, run: Run, owner: str, *, take_over: bool) -> None:
    """Raise a TrackingError, unless the sweep may be taken over from the process that runs it."""
    running = f"sweep {name!r} is being run by {provenance.described(owner)} (run {run.info.run_id})"
    if provenance.is_alive_here(owner):
        raise TrackingError(f"{running}; wait until it ends, or stop it")
    if not take_over:
        raise TrackingError(
            f"{running}. It cannot be seen from here whether that process still lives: if it has ended, type the same "
            "command with --take-over; finished trials are kept, and the rest is trained"
        )
