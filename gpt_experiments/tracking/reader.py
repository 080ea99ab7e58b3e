"""Reads a sweep back from MLflow, finished or not, from the store alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from mlflow.entities import Run

from gpt_experiments import names
from gpt_experiments.analysis.results import FINISHED, STOPPED, Pretrained, SweepResults
from gpt_experiments.analysis.tuning import split_trials
from gpt_experiments.config import Budget, ModelConfig, seed_of_own
from gpt_experiments.errors import MissingError, TrackingError
from gpt_experiments.parameters import HYPERPARAMETERS, TRAINING
from gpt_experiments.records import Outcome, StoredTrial, trial_name
from gpt_experiments.tracking.character_losses import character_losses, differs_in_context_alone
from gpt_experiments.tracking.failures import as_tracking_errors
from gpt_experiments.tracking.finished import FinishedRuns
from gpt_experiments.tracking.mlflow_internals import MLFLOW_PARENT_RUN_ID
from gpt_experiments.tracking.plan_rows import PlanRow
from gpt_experiments.tracking.run_files import LeftOut, UnreadableError, read_text
from gpt_experiments.tracking.runs import get_run
from gpt_experiments.tracking.schema import (
    SUMMARY_METRICS,
    budget_of,
    early_stop,
    finished_trial,
    is_finite,
    kind_of,
    nuisance_of,
    problem_of,
    training_of,
)
from gpt_experiments.tracking.store import Store
from gpt_experiments.tracking.sweep_record import SweepRecord, find_sweep
from gpt_experiments.tracking.trial_reader import curves_of, heads_of, positions_of, samples_of


@dataclass(frozen=True, kw_only=True)
class SweepTrials:
    """The trials of a sweep, without those that only tuned its variants.

    Attributes:
        running: whether a process still trains them.
        steps, budget: how long the baseline trained, and what was equal for every variant.
        left_out: sentences on what cannot be read of the sweep's record.
    """

    name: str
    run_id: str
    running: bool
    trials: tuple[StoredTrial, ...]
    steps: int
    budget: Budget
    left_out: tuple[str, ...] = ()


def read_sweep_trials(store: Store, reference: str | None = None) -> SweepTrials:
    """The trials of the sweep of that name or parent run id; without either, of the one last worked on.

    Raises:
        TrackingError: there is no such sweep, or nothing says which trials it planned.
    """
    parent = find_sweep(store, reference)
    left_out = LeftOut()
    record = SweepRecord(store, parent, left_out)
    rows = [row for row in record.rows() if not row.is_tuning]
    runs = _runs_by_cell(store, parent, rows)
    trials = _stored_trials(store, parent, rows, record.vocab_size(), runs, left_out)
    return SweepTrials(
        name=record.name,
        run_id=parent.info.run_id,
        running=parent.info.status == "RUNNING",
        trials=tuple(trials),
        steps=training_of(parent.data.params).steps,
        budget=budget_of(parent.data.params),
        left_out=left_out.sentences(),
    )


def read_sweep(store: Store, reference: str | None = None) -> SweepResults:
    """Everything that the store knows of a sweep: see `find_sweep` for which one is meant.

    What cannot be read is left out, and named in the results' `left_out`.

    Raises:
        TrackingError: no such sweep, the store cannot be read, or the sweep has no finished trial.
    """
    parent = find_sweep(store, reference)
    left_out = LeftOut()
    record = SweepRecord(store, parent, left_out)
    with as_tracking_errors(store.uri):
        rows, vocab_size = record.rows(), record.vocab_size()
        setup = record.setup(rows)
        runs = _runs_by_cell(store, parent, rows)
        trials = _stored_trials(store, parent, rows, vocab_size, runs, left_out)
        by_id = {run.info.run_id: run for of_cell in runs.values() for run in of_cell}
        nuisance = nuisance_of(parent.data.params)
        shared = {name: setup.baseline.value(name) for name in nuisance}
        labels = {row.variant: row.variant.with_values(shared).label(setup.baseline) for row in rows}
        finished = [
            (by_id[trial.run_id], trial_name(trial.variant.label(setup.baseline), trial.seed))
            for trial in trials
            if trial.finished and not trial.is_tuning
        ]
        columns = [*HYPERPARAMETERS, *_varied_training(rows, except_for=nuisance)]
        shown = [*columns, *nuisance]
        frame = pd.DataFrame(
            [
                _row(trial, labels[trial.variant], by_id.get(trial.run_id), vocab_size, shown)
                | ({"seed": seed_of_own(trial.seed)} if setup.own_seeds else {})
                for trial in trials
            ]
        )
        compared, tuning = split_trials(frame, [trial.is_tuning for trial in trials], shared)
        if compared.empty or not (compared["outcome"] == FINISHED).any():
            raise TrackingError(_nothing_finished(record.name, parent, left_out))
        return SweepResults(
            name=record.name,
            run_id=parent.info.run_id,
            method=setup.method,
            budget=setup.budget,
            baseline=setup.baseline,
            training=setup.training,
            variants_wanted=setup.variants,
            margin=setup.margin,
            until_decided=setup.until_decided,
            most_seeds=setup.seeds,
            own_seeds=setup.own_seeds,
            pruner=setup.pruner,
            corpus=parent.data.tags.get(names.CORPUS, "unknown"),
            corpus_digest=parent.data.tags.get(names.CORPUS_DIGEST, ""),
            vocab_size=vocab_size,
            trials=compared,
            tuning=tuning,
            parameters=tuple(columns),
            curves=curves_of(store, finished, left_out),
            positions=positions_of(store, finished, left_out),
            heads=heads_of(store, finished, left_out),
            samples=samples_of(store, finished, left_out),
            character_losses=character_losses(
                store,
                [
                    (by_id[trial.run_id], trial_name(labels[trial.variant], trial.seed))
                    for trial in trials
                    if trial.finished and differs_in_context_alone(trial.variant, setup.baseline, columns)
                ],
                left_out,
            ),
            left_out=left_out.sentences(),
        )


def _nothing_finished(name: str, parent: Run, left_out: LeftOut) -> str:
    first = "".join(f"; {sentence}" for sentence in left_out.sentences()[:3])
    compared = " among those that it compares once it has tuned its variants" if nuisance_of(parent.data.params) else ""
    return (
        f"sweep {name!r} (run {parent.info.run_id}) has no finished trial yet{compared}; run it until one is "
        f"finished{first}"
    )


def read_pretrained(store: Store, run_id: str) -> Pretrained:
    """A pre-trained model's run, as `evaluate` leaves it; without its sample where that cannot be read.

    Raises:
        TrackingError: there is no such run in the experiment, or it is not a finished one of that kind.
    """
    found = [run for run in store.search_ids([run_id]) if kind_of(run) != "trial"]
    needed = (names.N_PARAMS, names.FINAL_TRAIN_LOSS, names.FINAL_VAL_LOSS)
    is_one = bool(found) and kind_of(found[0]) == "pretrained"
    if not is_one or not all(is_finite(found[0].data.metrics.get(name, math.nan)) for name in needed):
        raise TrackingError(
            f"run {run_id!r} is no evaluated pre-trained model in experiment {store.experiment.name!r} of {store.uri}; "
            "give the id that the command `evaluate` printed"
        )
    data = found[0].data
    try:
        sample = read_text(found[0], names.SAMPLE_FILE, store.uri)
    except UnreadableError as error:
        sample = f"({names.SAMPLE_FILE} {error})"
    return Pretrained(
        label=data.tags.get(names.VARIANT, run_id),
        run_id=run_id,
        n_params=int(data.metrics[names.N_PARAMS]),
        train_loss=data.metrics[names.FINAL_TRAIN_LOSS],
        val_loss=data.metrics[names.FINAL_VAL_LOSS],
        corpus_digest=data.tags.get(names.CORPUS_DIGEST, ""),
        sample=sample,
    )


def _runs_by_cell(store: Store, parent: Run, rows: Sequence[PlanRow]) -> dict[str, list[Run]]:
    """The runs of the sweep's cells, newest first: its own, those that it reuses, and else finished ones of others."""
    of_sweep = (
        f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent.info.run_id}'",
        f"tags.`{names.SWEEPS}` LIKE '%{parent.info.run_id}%'",
    )
    found = {run.info.run_id: run for condition in of_sweep for run in store.search(condition)}
    planned = [row.run_id for row in rows if row.run_id and row.run_id not in found]
    found |= {run.info.run_id: run for run in store.search_ids(planned)}
    cells = {row.cell for row in rows}
    finished = {run.data.tags.get(names.CELL) for run in found.values() if run.info.status == "FINISHED"}
    found |= {run.info.run_id: run for run in FinishedRuns(store).of(cells - finished)}
    runs: dict[str, list[Run]] = {}
    for run in sorted(found.values(), key=lambda run: (-run.info.start_time, run.info.run_id)):
        if kind_of(run) == "trial":
            runs.setdefault(run.data.tags.get(names.CELL, ""), []).append(run)
    return runs


def _stored_trials(
    store: Store,
    parent: Run,
    rows: Iterable[PlanRow],
    vocab_size: int,
    runs: Mapping[str, Sequence[Run]],
    left_out: LeftOut,
) -> list[StoredTrial]:
    """The result of each planned trial, no matter which sweep trained it.

    A finished run counts also without its checkpoint: its losses are there. A stopped one counts only in its own sweep,
    because it was compared with the trials of that.
    """
    return [_stored_trial(store, parent, row, vocab_size, runs.get(row.cell, ()), left_out) for row in rows]


def _stored_trial(
    store: Store, parent: Run, row: PlanRow, vocab_size: int, runs: Sequence[Run], left_out: LeftOut
) -> StoredTrial:
    whole = next((found for run in runs if run.info.status == "FINISHED" and (found := finished_trial(run))), None)
    newest, has_failed, stop, reason = next(iter(runs), None), False, None, ""
    if whole is None and newest is not None:
        if newest.info.status == "FINISHED":
            problem = problem_of(newest) or "is not that of a trial"
            reason = f"its run {problem}"
            left_out.add("the run", problem, row.name)
        else:
            has_failed = newest.info.status == "FAILED"
            is_own = newest.data.tags.get(MLFLOW_PARENT_RUN_ID) == parent.info.run_id
            stop = early_stop(newest) if is_own else None
            reason = next(iter(newest.data.tags.get(names.FAILURE, "").splitlines()), "")
    elif whole is None and (row.run_id or row.outcome in (Outcome.FINISHED, Outcome.REUSED)):
        run_id = row.run_id or ""
        reason = " ".join(["its run", *([run_id] if run_id else []), _what_became_of(store, run_id)])
    return StoredTrial(
        label=row.label,
        cell=row.cell,
        variant=row.variant,
        seed=row.seed,
        n_params=ModelConfig(shape=row.variant.shape, vocab_size=vocab_size).n_params,
        run_id=whole.run_id if whole else newest.info.run_id if newest else "",
        finished=whole,
        has_failed=has_failed,
        stop=stop,
        reason=reason,
        is_tuning=row.is_tuning,
    )


def _what_became_of(store: Store, run_id: str) -> str:
    """Why a run that the plan names is not among those of its cell."""
    try:
        run = get_run(store, run_id)
    except MissingError:
        return "is gone"
    return "is deleted" if run.info.lifecycle_stage != "active" else "belongs to another cell"


def _varied_training(rows: Sequence[PlanRow], *, except_for: Sequence[str]) -> list[str]:
    """The parameters of the training in which the planned variants differ."""
    return [
        name
        for name, declared in TRAINING.items()
        if declared.is_number and name not in except_for and len({row.variant.value(name) for row in rows}) > 1
    ]


def _row(trial: StoredTrial, label: str, run: Run | None, vocab_size: int, columns: Sequence[str]) -> dict[str, Any]:
    """One row of `SweepResults.trials`."""
    steps, batch_size = (
        int(run.data.params.get(name, 0)) if run and trial.finished else 0 for name in ("steps", "batch_size")
    )
    tokens = steps * batch_size * trial.variant.shape.block_size
    config = ModelConfig(shape=trial.variant.shape, vocab_size=vocab_size)
    measured = [name for name in SUMMARY_METRICS if name != names.N_PARAMS]
    return {
        "label": label,
        **{name: trial.variant.value(name) for name in columns},
        "seed": trial.seed,
        "run_id": trial.run_id,
        "outcome": _outcome(trial),
        "reason": trial.reason,
        "n_params": trial.n_params,
        "steps": steps,
        "tokens": tokens,
        "flops": tokens * config.flops_per_token,
        "device": run.data.params.get(names.DEVICE, "") if run else "",
        "hardware": run.data.tags.get(names.HARDWARE, "") if run else "",
        **{name: run.data.metrics[name] if run and trial.finished else None for name in measured},
    }


def _outcome(trial: StoredTrial) -> str:
    if trial.finished:
        return FINISHED
    if trial.stop is not None:
        return STOPPED
    return "failed" if trial.has_failed else "missing"
