"""Turns records into MLflow runs, and runs back into records; the only module that knows both."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args, get_type_hints

from mlflow.entities import Run

from gpt_experiments import names
from gpt_experiments.config import Budget, ModelConfig, Trial, Variant
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import MissingError
from gpt_experiments.parameters import HYPERPARAMETERS, PARAMETERS, SHAPE, TRAINING, Shape, TrainingSetup, as_text
from gpt_experiments.records import (
    EarlyStop,
    FinishedTrial,
    PlannedTrial,
    StoppedTrial,
)
from gpt_experiments.tracking.facts import computing_tags
from gpt_experiments.tracking.mlflow_internals import mlflow_tags
from gpt_experiments.training.events import TrainingSummary

_SUMMARY_FIELDS: Final[Mapping[str, str]] = {
    names.FINAL_TRAIN_LOSS: "final_train_loss",
    names.FINAL_VAL_LOSS: "final_val_loss",
    names.BEST_VAL_LOSS: "best_val_loss",
    names.N_PARAMS: "n_params",
    names.TRAIN_SECONDS: "train_seconds",
    names.EVAL_SECONDS: "eval_seconds",
    names.TOKENS_PER_SECOND: "tokens_per_second",
}
SUMMARY_METRICS: Final = tuple(_SUMMARY_FIELDS)
"""The metrics that every finished trial has."""

_TYPES: Final[Mapping[str, Callable[[str], Any]]] = {
    **{name: declared.parse for name, declared in PARAMETERS.items()},
    names.SEED: int,
}
_YES: Final = "yes"
_INFINITE: Final = 1e300  # MLflow stores an infinite value as 1.8e308


# Written


def corpus_tags(corpus: Corpus) -> dict[str, str]:
    """The tags by which a search finds what was trained on a corpus."""
    return {names.CORPUS: corpus.name, names.CORPUS_DIGEST: corpus.digest}


def trial_params(trial: Trial, *, device: str, vocab_size: int) -> dict[str, object]:
    return {
        **dataclasses.asdict(trial.shape),
        names.SEED: trial.seed,
        **dataclasses.asdict(trial.training),
        names.DEVICE: device,
        names.VOCAB_SIZE: vocab_size,
    }


def trial_tags(
    planned: PlannedTrial, corpus: Corpus, *, hardware: str, threads: int, replicas: int, kernels: bool
) -> dict[str, str]:
    """See `computing_tags` for all but the first two."""
    computed = computing_tags(hardware=hardware, threads=threads, replicas=replicas, kernels=kernels)
    role = {names.TUNING: _YES} if planned.is_tuning else {}
    return {names.VARIANT: planned.label, names.CELL: planned.cell, **role, **computed, **corpus_tags(corpus)}


def shelf_of(cell: str) -> str:
    """The name of the tag in which a run has its cell a second time; every 256th cell has the same."""
    return names.SHELF + cell[:2]


def pretrained_params(
    config: ModelConfig, *, seed: int, device: str, dropout_is_known: bool = True
) -> dict[str, object]:
    """Parameters of a pre-trained model's run; a file of the notebook's format does not record the dropout."""
    return {
        **dataclasses.asdict(config.shape),
        **({} if dropout_is_known else {"dropout": "not recorded"}),
        "attention_scale": config.attention_scale,
        names.SEED: seed,
        names.DEVICE: device,
        names.VOCAB_SIZE: config.vocab_size,
    }


def sweep_params(
    *,
    method: str,
    is_adaptive: bool,
    budget: Budget,
    baseline: Variant,
    vocab_size: int,
    nuisance: Iterable[str] = (),
) -> dict[str, object]:
    tuned = " ".join(sorted(nuisance))
    return {
        "method": method,
        **({names.NUISANCE: tuned} if tuned else {}),
        names.IS_ADAPTIVE: is_adaptive,
        "baseline": " ".join(as_text(name, baseline.value(name)) for name in HYPERPARAMETERS),
        "budget": budget,
        **dataclasses.asdict(baseline.training),
        names.VOCAB_SIZE: vocab_size,
    }


def summary_metrics(summary: TrainingSummary) -> dict[str, float]:
    return {metric: getattr(summary, field) for metric, field in _SUMMARY_FIELDS.items()}


def series_metrics(series: Mapping[str, Sequence[float]]) -> list[tuple[str, float, int]]:
    """Name, value and step of each value, with steps from 1; a value that is not finite leaves a gap."""
    return [
        (name, value, step)
        for name, values in series.items()
        for step, value in enumerate(values, start=1)
        if math.isfinite(value)
    ]


def stop_tags(stop: EarlyStop) -> dict[str, str]:
    """Of a run that a pruner has stopped; `gpt.failure` has the same as a sentence."""
    return {names.STOPPED: json.dumps(dataclasses.asdict(stop))}


def cost_metrics(trial: Trial, *, vocab_size: int) -> dict[str, float]:
    """What a trial's training cost, beside its summary; a finished trial of an earlier version lacks it."""
    return {names.FLOPS: trial.flops(vocab_size)}


# Read


def variant_of(texts: Mapping[str, str]) -> Variant:
    """The variant that a run's parameters name; a parameter that is newer than the run has its default.

    Raises:
        KeyError, ValueError: a hyperparameter is missing, or a value is invalid.
    """
    required = [name for name, declared in SHAPE.items() if not declared.is_younger]
    return Variant.of({name: PARAMETERS[name].parse(texts[name]) for name in PARAMETERS if name in {*texts, *required}})


def training_of(texts: Mapping[str, str]) -> TrainingSetup:
    """The training setup that these parameters name; a value that is missing or damaged is the default."""
    variant = Variant()
    for name, declared in TRAINING.items():
        with contextlib.suppress(KeyError, ValueError):  # a ConfigError is a ValueError
            variant = variant.with_values({name: declared.parse(texts[name])})
    return variant.training


def budget_of(params: Mapping[str, str]) -> Budget:
    """What was equal for every variant in the sweep whose run has these parameters: `steps` where it does not say."""
    return next((budget for budget in get_args(Budget) if budget == params.get("budget")), "steps")


def baseline_of(params: Mapping[str, str]) -> Shape:
    """The baseline's shape in a sweep whose run has these parameters.

    Raises:
        KeyError, ValueError: they do not name one.
    """
    return variant_of(dict(word.split("=") for word in params.get("baseline", "").split())).shape


def is_adaptive(params: Mapping[str, str]) -> bool:
    """Whether the plan of the sweep whose run has these parameters grows while it runs."""
    until_0_1_0 = str(params.get("method") == "tpe")
    return params.get(names.IS_ADAPTIVE, until_0_1_0) == "True"


def nuisance_of(params: Mapping[str, str]) -> tuple[str, ...]:
    """The parameters that each variant was tuned over in the sweep whose run has these parameters."""
    return tuple(name for name in params.get(names.NUISANCE, "").split() if name in TRAINING)


def has_only_tuned(run: Run) -> bool:
    """Whether it is the run of a trial that tuned its variant, and is part of no comparison."""
    return run.data.tags.get(names.TUNING) == _YES


def is_finite(value: float) -> bool:
    """Whether a metric is a number; MLflow stores an infinite one as the largest that its database can hold."""
    return abs(value) < _INFINITE  # a NaN fails this


def problem_of(run: Run) -> str | None:
    """What is wrong with a finished trial's run, as `has steps='abc'`; None if it is complete.

    A user may have edited it in MLflow.
    """
    for name, parse in _TYPES.items():
        if name not in run.data.params:
            if name in TRAINING or (name in SHAPE and SHAPE[name].is_younger):
                continue
            return f"lacks the parameter {name}"
        try:
            parse(run.data.params[name])
        except ValueError:
            return f"has {name}={run.data.params[name][:20]!r}"
    for name in SUMMARY_METRICS:
        if name not in run.data.metrics:
            return f"lacks the metric {name}"
        if not is_finite(run.data.metrics[name]):
            return f"has {name}={_shown(run.data.metrics[name])}"
    return None


def finished_trial(run: Run) -> FinishedTrial | None:
    """The run as a finished trial; None if an edit in MLflow removed something that it needs."""
    if problem_of(run) is not None:
        return None
    tags, metrics = run.data.tags, run.data.metrics
    values: dict[str, Any] = {field: metrics[metric] for metric, field in _SUMMARY_FIELDS.items()}
    try:
        return FinishedTrial(
            run_id=run.info.run_id,
            parent_run_id=tags.get(mlflow_tags.MLFLOW_PARENT_RUN_ID),
            cell=tags[names.CELL],
            variant=variant_of(run.data.params),
            seed=int(run.data.params[names.SEED]),
            sweeps=tuple(tags.get(names.SWEEPS, "").split()),
            summary=TrainingSummary(**values | {"n_params": int(metrics[names.N_PARAMS])}),
        )
    except (KeyError, ValueError):
        return None


def early_stop(run: Run) -> EarlyStop | None:
    """How a pruner has stopped the run; None if none has, or an edit in MLflow has removed or damaged what it says."""
    if run.info.status != "KILLED":
        return None
    with contextlib.suppress(ValueError, TypeError):
        given = json.loads(run.data.tags.get(names.STOPPED, ""))
        kinds = get_type_hints(EarlyStop)
        if set(given) == set(kinds) and all(type(given[name]) is kind for name, kind in kinds.items()):
            return EarlyStop(**given)
    return None


def stopped_trial(run: Run) -> StoppedTrial | None:
    """The run as a trial that a pruner has stopped; None if it is none."""
    stop, cell = early_stop(run), run.data.tags.get(names.CELL)
    return StoppedTrial(run_id=run.info.run_id, cell=cell, stop=stop) if stop is not None and cell else None


@dataclass(frozen=True, kw_only=True)
class ModelRun:
    """A finished run that has left a model, a trial's or a pre-trained one's; losses in nats per character.

    Attributes:
        label: the variant's, or a pre-trained file's name.
        cell, sweep: None for a pre-trained model; sweep also for a trial on its own.
        params: all that the run says, as text.
        train_loss, val_loss: of the model that the run's checkpoint holds.
        best_val_loss: the lowest on the way there.
    """

    run_id: str
    kind: names.Kind
    label: str
    cell: str | None
    sweep: str | None
    corpus: str
    corpus_digest: str
    params: Mapping[str, str]
    n_params: int
    train_loss: float
    val_loss: float
    best_val_loss: float
    hardware: str | None
    versions: str | None
    commit: str | None


def kind_of(run: Run) -> names.Kind | None:
    """What kind of run it is; None for a run that another program made."""
    kind = run.data.tags.get(names.KIND)
    if kind == names.EARLIER_PRETRAINED:
        return "pretrained"
    return next((known for known in get_args(names.Kind) if known == kind), None)


def model_run(run: Run, kind: names.Kind) -> ModelRun:
    """A finished run of that kind as one that has left a model.

    Raises:
        MissingError: it lacks something that a model's run needs.
    """
    tags, metrics, run_id = run.data.tags, run.data.metrics, run.info.run_id
    for name in (names.N_PARAMS, names.FINAL_TRAIN_LOSS, names.FINAL_VAL_LOSS, names.BEST_VAL_LOSS):
        if not is_finite(metrics.get(name, 0.0)):
            raise MissingError(f"run {run_id} has no finite {name}; register another, or train again")
    try:
        return ModelRun(
            run_id=run_id,
            kind=kind,
            label=tags[names.VARIANT],
            cell=tags.get(names.CELL),
            sweep=tags.get(names.SWEEP),
            corpus=tags[names.CORPUS],
            corpus_digest=tags[names.CORPUS_DIGEST],
            params=dict(run.data.params),
            n_params=int(metrics[names.N_PARAMS]),
            train_loss=metrics[names.FINAL_TRAIN_LOSS],
            val_loss=metrics[names.FINAL_VAL_LOSS],
            best_val_loss=metrics[names.BEST_VAL_LOSS],
            hardware=tags.get(names.HARDWARE),
            versions=tags.get(names.VERSIONS),
            commit=tags.get(mlflow_tags.MLFLOW_GIT_COMMIT),
        )
    except KeyError as error:
        raise MissingError(
            f"run {run_id} lacks {error}, without which its model cannot be described; register another, or train again"
        ) from error


def _shown(value: float) -> str:
    if value != value:
        return "nan"
    return "inf" if value > 0 else "-inf"
