"""A sweep read back out of MLflow, whole or as far as it has come: from the store alone, wherever it was trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import pandas as pd
from mlflow.entities import Run

from gpt_experiments.analysis.results import Pretrained, SweepResults
from gpt_experiments.config import HYPERPARAMETERS, ModelConfig, Variant
from gpt_experiments.errors import TrackingError
from gpt_experiments.tracking import names
from gpt_experiments.tracking.failures import told_as_tracking_errors
from gpt_experiments.tracking.run_files import LeftOut, UnreadableError, read_numbers, read_text
from gpt_experiments.tracking.store import Store
from gpt_experiments.tracking.sweep_record import PlannedRow, SweepRecord, find_sweep, search_deleted
from gpt_experiments.tracking.trial_values import MEASURED, is_finite, problem_of

_HEAD_SCORES: Final = ("previous_position", "first_position", "entropy", "same_word", "same_character", "induction")
_POSITION_COLUMNS: Final = ("run_id", "characters_seen", "val_loss")
_CURVE_COLUMNS: Final = ("run_id", "step", "train_loss", "val_loss")
_HEAD_COLUMNS: Final = ("run_id", "layer", "head", *_HEAD_SCORES, "name", "repeat_length")
_WHOLE: Final = {"characters_seen": 1, "layer": 1, "head": 1, "repeat_length": 0}  # from which number on


def read_sweep(store: Store, reference: str | None = None) -> SweepResults:
    """Everything that the store knows of a sweep: see `find_sweep` for which one is meant.

    What cannot be read is left out, and named in the results' `left_out`.

    Raises:
        TrackingError: no such sweep, the store cannot be read, or the sweep has no finished trial.
    """
    parent = find_sweep(store, reference)
    left_out = LeftOut()
    record = SweepRecord(store, parent, left_out)
    with told_as_tracking_errors(store.uri):
        rows, vocab_size = record.rows(), record.vocab_size()
        setup = record.setup(rows)
        runs: dict[str, list[Run]] = {}
        for run in store.search(f"tags.`{names.KIND}` = 'trial'"):
            runs.setdefault(run.data.tags.get(names.CELL, ""), []).append(run)  # newest first
        trials = [_trial_row(row, runs.get(row.cell, []), setup.baseline, vocab_size, left_out) for row in rows]
        _name_deleted_runs(store, rows, trials)
        by_id = {run.info.run_id: run for of_cell in runs.values() for run in of_cell}
        finished = [
            (by_id[trial["run_id"]], f"{trial['label']} (seed {trial['seed']})")
            for trial in trials
            if trial["outcome"] == "finished"
        ]
        if not finished:
            raise TrackingError(_nothing_finished(record.name, parent, left_out))
        return SweepResults(
            name=record.name,
            run_id=parent.info.run_id,
            method=setup.method,
            budget=setup.budget,
            baseline=setup.baseline,
            training=setup.training,
            variants_wanted=setup.variants,
            corpus=parent.data.tags.get(names.CORPUS, "unknown"),
            corpus_digest=parent.data.tags.get(names.CORPUS_DIGEST, ""),
            vocab_size=vocab_size,
            trials=pd.DataFrame(trials),
            curves=_curves(store, finished, left_out),
            positions=_tables(store, finished, names.POSITIONS_FILE, _POSITION_COLUMNS, left_out),
            heads=_tables(store, finished, names.HEADS_FILE, _HEAD_COLUMNS, left_out),
            samples=_samples(store, finished, left_out),
            left_out=left_out.sentences(),
        )


def _nothing_finished(name: str, parent: Run, left_out: LeftOut) -> str:
    first = "".join(f"; {sentence}" for sentence in left_out.sentences()[:3])
    return f"sweep {name!r} (run {parent.info.run_id}) has no finished trial yet; let it train one{first}"


def read_pretrained(store: Store, run_id: str) -> Pretrained:
    """A pre-trained model's run, as `baseline` leaves it; without its sample where that cannot be read.

    Raises:
        TrackingError: there is no such run in the experiment, or it is not a finished one of that kind.
    """
    found = [run for run in store.search(f"tags.`{names.KIND}` = 'baseline'") if run.info.run_id == run_id]
    needed = (names.N_PARAMS, names.FINAL_TRAIN_LOSS, names.FINAL_VAL_LOSS)
    if not found or not all(is_finite(found[0].data.metrics.get(name, math.nan)) for name in needed):
        raise TrackingError(
            f"run {run_id!r} is no evaluated pre-trained model in experiment {store.experiment.name!r} of {store.uri}; "
            "give the id that the command `baseline` printed"
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


def _trial_row(
    planned: PlannedRow, runs: Sequence[Run], baseline: Variant, vocab_size: int, left_out: LeftOut
) -> dict[str, Any]:
    """One row of `SweepResults.trials`: the newest finished run of the planned cell, else how the newest one ended."""
    variant, label = planned.variant, planned.variant.label(baseline)
    problems = {run.info.run_id: problem_of(run) for run in runs if run.info.status == "FINISHED"}
    finished = [run for run in runs if problems.get(run.info.run_id, "") is None]
    run = next(iter([*finished, *runs]), None)
    outcome, reason = "missing", ""
    if finished:
        outcome = "finished"
    elif run is not None and problems.get(run.info.run_id):
        reason = f"its run {problems[run.info.run_id]}"
        left_out.add("the run", str(problems[run.info.run_id]), f"{label} (seed {planned.seed})")
    elif run is not None:
        outcome = "failed" if run.info.status == "FAILED" else "missing"
        reason = run.data.tags.get(names.FAILURE, "")
    steps, batch_size = (
        int(run.data.params.get(name, 0)) if run and finished else 0 for name in ("steps", "batch_size")
    )
    config = ModelConfig(variant=variant, vocab_size=vocab_size)
    tokens = steps * batch_size * variant.block_size
    return {
        "label": label,
        **{name: getattr(variant, name) for name in HYPERPARAMETERS},
        "seed": planned.seed,
        "run_id": run.info.run_id if run else "",
        "outcome": outcome,
        "reason": reason,
        "n_params": config.n_params,
        "steps": steps,
        "tokens": tokens,
        "flops": tokens * config.flops_per_token,
        "device": run.data.params.get("device", "") if run else "",
        "hardware": run.data.tags.get(names.HARDWARE, "") if run else "",
        **{name: run.data.metrics[name] if run and finished else None for name in MEASURED},
    }


def _name_deleted_runs(store: Store, rows: Sequence[PlannedRow], trials: Sequence[dict[str, Any]]) -> None:
    """Say of each trial that has lost its run whether that run is deleted."""
    lost = [(row.run_id, trial) for row, trial in zip(rows, trials, strict=True) if row.run_id and not trial["run_id"]]
    if lost:
        deleted = {run.info.run_id for run in search_deleted(store, f"tags.`{names.KIND}` = 'trial'")}
        for run_id, trial in lost:
            trial["reason"] = f"its run {run_id} is {'deleted' if run_id in deleted else 'gone'}"


def _curves(store: Store, runs: Sequence[tuple[Run, str]], left_out: LeftOut) -> pd.DataFrame:
    """Losses over steps of every run; a step that was logged twice counts once, a value that is not finite is NaN."""
    rows: list[tuple[str, int, float, float]] = []
    for run, whose in runs:
        train, val = (
            {
                metric.step: metric.value if is_finite(metric.value) else math.nan
                for metric in store.client.get_metric_history(run.info.run_id, name)
            }
            for name in (names.TRAIN_LOSS, names.VAL_LOSS)
        )
        for name, values in ((names.TRAIN_LOSS, train), (names.VAL_LOSS, val)):
            if not values:
                left_out.add(f"the metric {name}", "is missing", whose)
            elif any(map(math.isnan, values.values())):
                left_out.add(f"a value of {name}", "is not finite", whose)
        rows += [
            (run.info.run_id, step, train.get(step, math.nan), val.get(step, math.nan))
            for step in sorted(train.keys() | val.keys())
        ]
    frame = pd.DataFrame(rows, columns=list(_CURVE_COLUMNS))
    return frame.astype({"train_loss": float, "val_loss": float})


def _tables(
    store: Store, runs: Sequence[tuple[Run, str]], artifact: str, columns: Sequence[str], left_out: LeftOut
) -> pd.DataFrame:
    """The CSV of every run that has it, one below the other."""
    rows: list[dict[str, Any]] = []
    for run, whose in runs:
        try:
            table = read_numbers(run, artifact, store.uri, columns[1:], whole=_WHOLE)
        except UnreadableError as error:
            left_out.add(artifact, str(error), whose)
        else:
            rows += [{"run_id": run.info.run_id, **row} for row in table]
    frame = pd.DataFrame(rows, columns=list(columns))
    return frame.astype({column: float for column in columns if column not in ("run_id", "name")})


def _samples(store: Store, runs: Sequence[tuple[Run, str]], left_out: LeftOut) -> dict[str, str]:
    samples = {}
    for run, whose in runs:
        try:
            samples[run.info.run_id] = read_text(run, names.SAMPLE_FILE, store.uri)
        except UnreadableError as error:
            left_out.add(names.SAMPLE_FILE, str(error), whose)
    return samples
