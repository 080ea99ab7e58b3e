"""A sweep read back out of MLflow, whole or as far as it has come: from the store alone, wherever it was trained."""

from __future__ import annotations

import csv
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd
import yaml
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from gpt_experiments.analysis.results import Pretrained, SweepResults
from gpt_experiments.config import HYPERPARAMETERS, ModelConfig, Variant
from gpt_experiments.errors import TrackingError
from gpt_experiments.tracking import names
from gpt_experiments.tracking.failures import told_as_tracking_errors
from gpt_experiments.tracking.recorder import RunRecorder
from gpt_experiments.tracking.store import Store

_MEASURED: Final = (
    names.FINAL_TRAIN_LOSS,
    names.FINAL_VAL_LOSS,
    names.BEST_VAL_LOSS,
    names.TRAIN_SECONDS,
    names.TOKENS_PER_SECOND,
)
_HEAD_SCORES: Final = ("previous_position", "first_position", "entropy", "same_word", "same_character", "induction")
_POSITION_COLUMNS: Final = ("run_id", "characters_seen", "val_loss")
_CURVE_COLUMNS: Final = ("run_id", "step", "train_loss", "val_loss")
_HEAD_COLUMNS: Final = ("run_id", "layer", "head", *_HEAD_SCORES, "name", "repeat_length")


def find_sweep(store: Store, reference: str | None) -> Run:
    """The parent run that is meant: by its run id, by the sweep's name, or without either the one last worked on.

    Raises:
        TrackingError: there is no such sweep; the message names those that there are.
    """
    sweeps = store.search(f"tags.`{names.KIND}` = 'sweep'")
    found = [run for run in sweeps if reference in (None, run.info.run_id, run.data.tags.get(names.SWEEP))]
    if not found:
        known = sorted({run.data.tags.get(names.SWEEP, "") for run in sweeps})
        there = f"it holds {', '.join(known)}" if known else "it holds no sweep yet; train one with `sweep quick`"
        wanted = f"no sweep {reference!r}" if reference else "no sweep"
        raise TrackingError(f"{wanted} in experiment {store.experiment.name!r} of {store.uri}; {there}")
    return max(found, key=lambda run: run.info.end_time or time.time() * 1000)  # one that runs is the newest


def read_sweep(store: Store, reference: str | None = None) -> SweepResults:
    """Everything that the store knows of a sweep: see `find_sweep` for which one is meant.

    Raises:
        TrackingError: no such sweep, the store cannot be read, or the sweep has no finished trial.
    """
    parent = find_sweep(store, reference)
    name = parent.data.tags.get(names.SWEEP, parent.info.run_name or "sweep")
    recorder = RunRecorder(store.client, parent.info.run_id, store.uri)
    plan = recorder.download_json(names.PLAN_FILE)
    if plan is None:
        raise TrackingError(f"sweep {name!r} (run {parent.info.run_id}) has no {names.PLAN_FILE}; run the sweep again")
    with told_as_tracking_errors(store.uri):
        with tempfile.TemporaryDirectory() as folder:
            path = store.client.download_artifacts(parent.info.run_id, names.DEFINITION_FILE, folder)
            definition = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        runs: dict[str, list[Run]] = {}
        for run in store.search(f"tags.`{names.KIND}` = 'trial'"):
            runs.setdefault(run.data.tags.get(names.CELL, ""), []).append(run)  # newest first
        vocab_size = int(parent.data.params["vocab_size"])
        rows = [_trial_row(row, runs.get(row["cell"], []), vocab_size) for row in plan]
        by_id = {run.info.run_id: run for of_cell in runs.values() for run in of_cell}
        finished = [by_id[row["run_id"]] for row in rows if row["outcome"] == "finished"]
        if not finished:
            raise TrackingError(
                f"sweep {name!r} (run {parent.info.run_id}) has no finished trial yet; let it train one"
            )
        return SweepResults(
            name=name,
            run_id=parent.info.run_id,
            method=str(definition["method"]),
            budget=definition.get("budget", "steps"),
            baseline=Variant(**definition["baseline"]),
            training={key: str(value) for key, value in definition["training"].items()},
            corpus=parent.data.tags.get(names.CORPUS, "unknown"),
            corpus_digest=parent.data.tags.get(names.CORPUS_DIGEST, ""),
            vocab_size=vocab_size,
            trials=pd.DataFrame(rows),
            curves=_curves(store, finished),
            positions=_tables(store, finished, names.POSITIONS_FILE, _POSITION_COLUMNS),
            heads=_tables(store, finished, names.HEADS_FILE, _HEAD_COLUMNS),
            samples={
                run.info.run_id: text
                for run in finished
                if (text := _read_artifact(store, run, names.SAMPLE_FILE)) is not None
            },
        )


def read_pretrained(store: Store, run_id: str) -> Pretrained:
    """A pre-trained model's run, as `baseline` leaves it.

    Raises:
        TrackingError: there is no such run in the experiment, or it is not a finished one of that kind.
    """
    found = [run for run in store.search(f"tags.`{names.KIND}` = 'baseline'") if run.info.run_id == run_id]
    if not found or names.FINAL_VAL_LOSS not in found[0].data.metrics:
        raise TrackingError(
            f"run {run_id!r} is no evaluated pre-trained model in experiment {store.experiment.name!r} of {store.uri}; "
            "give the id that the command `baseline` printed"
        )
    data = found[0].data
    return Pretrained(
        label=data.tags.get(names.VARIANT, run_id),
        run_id=run_id,
        n_params=int(data.metrics[names.N_PARAMS]),
        train_loss=data.metrics[names.FINAL_TRAIN_LOSS],
        val_loss=data.metrics[names.FINAL_VAL_LOSS],
        corpus_digest=data.tags.get(names.CORPUS_DIGEST, ""),
        sample=read_text(store, run_id, names.SAMPLE_FILE) or "",
    )


def _trial_row(planned: Mapping[str, Any], runs: Sequence[Run], vocab_size: int) -> dict[str, Any]:
    """One row of `SweepResults.trials`: the newest finished run of the planned cell, else how the newest one ended."""
    variant = Variant(**{name: planned[name] for name in HYPERPARAMETERS})
    finished = [run for run in runs if run.info.status == "FINISHED" and names.FINAL_VAL_LOSS in run.data.metrics]
    ended = [*finished, *runs]
    run = ended[0] if ended else None
    failed = run is not None and run.info.status == "FAILED"
    params = run.data.params if run else {}
    config = ModelConfig(variant=variant, vocab_size=vocab_size)
    tokens = int(params.get("steps", 0)) * int(params.get("batch_size", 0)) * variant.block_size
    return {
        "label": planned["label"],
        **{name: planned[name] for name in HYPERPARAMETERS},
        "seed": planned["seed"],
        "run_id": run.info.run_id if run else "",
        "outcome": "finished" if finished else "failed" if failed else "missing",
        "reason": run.data.tags.get(names.FAILURE, "") if run and not finished else "",
        "n_params": config.n_params,
        "steps": int(params.get("steps", 0)),
        "tokens": tokens,
        "flops": tokens * config.flops_per_token,
        "device": params.get("device", ""),
        "hardware": run.data.tags.get(names.HARDWARE, "") if run else "",
        **{name: run.data.metrics.get(name) if run and finished else None for name in _MEASURED},
    }


def _curves(store: Store, runs: Sequence[Run]) -> pd.DataFrame:
    """Losses over steps of every run; a step that was logged twice counts once."""
    rows: list[tuple[str, int, float | None, float | None]] = []
    for run in runs:
        train, val = (
            {metric.step: metric.value for metric in store.client.get_metric_history(run.info.run_id, name)}
            for name in (names.TRAIN_LOSS, names.VAL_LOSS)
        )
        rows += [(run.info.run_id, step, train.get(step), val.get(step)) for step in sorted(train.keys() | val.keys())]
    frame = pd.DataFrame(rows, columns=list(_CURVE_COLUMNS))
    return frame.astype({"train_loss": float, "val_loss": float})


def _tables(store: Store, runs: Sequence[Run], artifact: str, columns: Sequence[str]) -> pd.DataFrame:
    """The CSV of every run that has it, one below the other."""
    rows: list[dict[str, Any]] = []
    for run in runs:
        text = _read_artifact(store, run, artifact)
        if text is not None:
            rows += [{"run_id": run.info.run_id, **row} for row in csv.DictReader(text.splitlines())]
    frame = pd.DataFrame(rows, columns=list(columns))
    for column in frame.columns.difference(["run_id", "name"]):
        frame[column] = pd.to_numeric(frame[column])
    return frame


def read_text(store: Store, run_id: str, artifact: str) -> str | None:
    """A text artifact of a run, or None where it has none, as a run of an earlier version."""
    try:
        return _read_artifact(store, store.client.get_run(run_id), artifact)
    except MlflowException:
        return None


def _read_artifact(store: Store, run: Run, artifact: str) -> str | None:
    """As `read_text`, of a run at hand.

    Not through the client, which asks the database for the run twice for every file: most of the time of a report.
    """
    try:
        repository = get_artifact_repository(run.info.artifact_uri, tracking_uri=store.uri)
        with tempfile.TemporaryDirectory() as folder:
            path: str = repository.download_artifacts(artifact, folder)  # type: ignore[no-untyped-call]
            return Path(path).read_text(encoding="utf-8")
    except (MlflowException, FileNotFoundError):
        return None
