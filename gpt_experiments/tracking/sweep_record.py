"""Reads a sweep's parent run: which trials it planned, and how they were to be trained."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, get_args

import yaml
from mlflow.entities import Run, ViewType

from gpt_experiments import names
from gpt_experiments.config import BUDGETED, MARGIN, Budget, Variant
from gpt_experiments.errors import ConfigError, MissingError, TrackingError
from gpt_experiments.parameters import TRAINING, Shape, TrainingSetup, check_value
from gpt_experiments.tracking.agreement import asker_of
from gpt_experiments.tracking.failures import as_tracking_errors, mlflow_command
from gpt_experiments.tracking.mlflow_internals import MLFLOW_PARENT_RUN_ID
from gpt_experiments.tracking.plan_rows import PlanRow
from gpt_experiments.tracking.run_files import LeftOut, UnreadableError, read_json, read_text
from gpt_experiments.tracking.runs import get_run
from gpt_experiments.tracking.schema import (
    baseline_of,
    budget_of,
    has_only_tuned,
    is_adaptive,
    kind_of,
    training_of,
    variant_of,
)
from gpt_experiments.tracking.store import Store

_MOST_PLAN_BYTES: Final = 200_000_000  # a trial takes some 300
_DAMAGED: Final = (UnreadableError, yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError)


@dataclass(frozen=True, kw_only=True)
class SweepSetup:
    """A sweep's definition but for its levels.

    Attributes:
        variants: the number that it was to try at most.
        seeds: how many seeds each variant was to get at most.
    """

    method: str
    budget: Budget
    baseline: Variant
    training: Mapping[str, str]
    variants: int | None
    margin: float = MARGIN
    until_decided: bool = False
    own_seeds: bool = False
    seeds: int = 1
    pruner: str | None = None


def find_sweep(store: Store, reference: str | None) -> Run:
    """The parent run with that run id or sweep name; None takes the sweep last worked on.

    Raises:
        TrackingError: there is no such sweep; the message says what there is instead.
    """
    is_sweep = f"tags.`{names.KIND}` = 'sweep'"
    sweeps = [run for run in store.search(is_sweep) if asker_of(run).holds]
    found = [run for run in sweeps if _is_meant(run, reference)]
    if found:
        return max(found, key=lambda run: run.info.end_time or time.time() * 1000)  # one that runs is the newest
    gone = search_deleted(store, is_sweep)
    if deleted := [run for run in gone if asker_of(run).holds and _is_meant(run, reference)]:
        newest = deleted[0]
        raise TrackingError(
            f"sweep {newest.data.tags.get(names.SWEEP, '')!r} of experiment {store.experiment.name!r} is deleted; "
            f"restore its run with {mlflow_command(f'runs restore --run-id {newest.info.run_id}')}"
        )
    known = sorted({run.data.tags.get(names.SWEEP, "") for run in sweeps})
    there = f"it holds {', '.join(known)}" if known else "it holds no sweep yet; train one with `sweep quick`"
    wanted = f"no sweep {reference!r}" if reference else "no sweep"
    other = _other_run(store, reference) if reference else None
    raise TrackingError(other or f"{wanted} in experiment {store.experiment.name!r} of {store.uri}; {there}")


def _is_meant(run: Run, reference: str | None) -> bool:
    return reference in (None, run.info.run_id, run.data.tags.get(names.SWEEP))


def _other_run(store: Store, run_id: str) -> str | None:
    """What is wrong with the id of a run that is no sweep of this experiment; None where there is no such run."""
    try:
        run = get_run(store, run_id)
    except MissingError:
        return None
    with as_tracking_errors(store.uri):
        experiment = store.client.get_experiment(run.info.experiment_id).name
    kind, sweep = kind_of(run), run.data.tags.get(names.SWEEP)
    if kind == "sweep":
        return f"sweep run {run_id} is in experiment {experiment!r}; give --experiment"
    of_sweep = f"; its sweep is {sweep!r}" if sweep else ""
    return f"run {run_id} is no sweep: its {names.KIND} is {kind!r}{of_sweep}"


def search_deleted(store: Store, condition: str) -> list[Run]:
    """The deleted runs of the experiment that meet `condition`, newest first."""
    with as_tracking_errors(store.uri):
        return list(
            store.client.search_runs(
                [store.experiment.experiment_id],
                condition,
                run_view_type=ViewType.DELETED_ONLY,
                max_results=50_000,
                order_by=["attributes.start_time DESC"],
            )
        )


class SweepRecord:
    """The record of one sweep; parts that cannot be read are noted in `left_out`, and replaced if possible."""

    def __init__(self, store: Store, parent: Run, left_out: LeftOut) -> None:
        self.name = parent.data.tags.get(names.SWEEP) or parent.info.run_name or "sweep"
        self._store, self._parent, self._left_out = store, parent, left_out

    @cached_property
    def _children(self) -> list[Run]:
        """The runs that the sweep trained, newest first."""
        condition = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{self._parent.info.run_id}'"
        return [run for run in self._store.search(condition) if run.data.tags.get(names.KIND) == "trial"]

    def vocab_size(self) -> int:
        """How many distinct characters the sweep's corpus has.

        Raises:
            TrackingError: neither the sweep's run nor one of its trials says it.
        """
        text = self._parent.data.params.get("vocab_size", "")
        size = _vocab_size(text)
        if size is not None:
            return size
        for run in self._children:
            size = _vocab_size(run.data.params.get("vocab_size", ""))
            if size is not None:
                state = f"is {text[:20]!r}" if text else "is missing"
                self._note("vocab_size", f"{state}, so it is taken from a trial")
                return size
        raise TrackingError(
            f"sweep {self.name!r} (run {self._parent.info.run_id}) does not say how many characters its corpus has: "
            "the parameter vocab_size is missing or damaged, also in its trials; delete that run and run the sweep "
            "again, which trains only what is missing"
        )

    def rows(self) -> list[PlanRow]:
        """The planned trials; where the plan is not yet written, or cannot be read, those that the sweep trained."""
        rows = self._planned()
        plan_grows = is_adaptive(self._parent.data.params) and self._parent.info.status != "FINISHED"
        if not rows or plan_grows:
            cells = {row.cell for row in rows}
            rows += [row for row in self._trained() if row.cell not in cells]
        return self._without_repeats(rows)

    def _planned(self) -> list[PlanRow]:
        try:
            given = read_json(self._parent, names.PLAN_FILE, self._store.uri, most_bytes=_MOST_PLAN_BYTES)
            if not isinstance(given, list):
                raise UnreadableError("is no list of trials")
        except UnreadableError as error:
            self._note(names.PLAN_FILE, f"{error}, so the trials are those whose runs the sweep trained")
            return []
        rows = []
        for number, row in enumerate(given, start=1):
            try:
                rows.append(PlanRow.from_json(row, self._training))
            except (KeyError, TypeError, ValueError):
                self._left_out.add(f"row {number} of {names.PLAN_FILE}", "is no trial", f"sweep {self.name}")
        return rows

    def _trained(self) -> Iterable[PlanRow]:
        for run in reversed(self._children):
            params, tags = run.data.params, run.data.tags
            try:
                yield PlanRow(
                    cell=tags[names.CELL],
                    variant=self._as_planned(variant_of(params)),
                    label=tags[names.VARIANT],
                    seed=int(params["seed"]),
                    run_id=run.info.run_id,
                    outcome=None,
                    is_tuning=has_only_tuned(run),
                )
            except (KeyError, ValueError):
                self._left_out.add("the run", "does not say which trial it is", run.info.run_id)

    @cached_property
    def _training(self) -> TrainingSetup:
        """How the baseline was to be trained, as far as the sweep's run says."""
        return training_of(self._parent.data.params)

    def _as_planned(self, variant: Variant) -> Variant:
        """The variant before the budget made its training longer or shorter."""
        if self._parent.data.params.get("budget") in (None, "steps"):
            return variant
        return variant.with_values({name: getattr(self._training, name) for name in BUDGETED})

    def _without_repeats(self, rows: list[PlanRow]) -> list[PlanRow]:
        found: dict[tuple[Variant, int], PlanRow] = {}
        for row in rows:
            if found.setdefault((row.variant, row.seed), row).cell != row.cell:
                self._left_out.add("a second plan", "is left out", row.name)
        return list(found.values())

    def setup(self, rows: Iterable[PlanRow]) -> SweepSetup:
        """The definition, or as much of it as the run's parameters and the planned `rows` say.

        Raises:
            TrackingError: nothing says what the baseline is.
        """
        try:
            text = read_text(self._parent, names.DEFINITION_FILE, self._store.uri)
            return _setup(yaml.safe_load(text))
        except _DAMAGED as error:
            problem = str(error) if isinstance(error, UnreadableError) else "is no sweep's definition"
            self._note(names.DEFINITION_FILE, f"{problem}, so the setup is taken from the run's parameters")
        params = self._parent.data.params
        return SweepSetup(
            method=params.get("method", "unknown"),
            budget=budget_of(params),
            baseline=self._baseline(params, rows),
            training={name: params[name] for name in TRAINING if name in params},
            variants=None,
        )

    def _baseline(self, params: Mapping[str, str], rows: Iterable[PlanRow]) -> Variant:
        """The baseline from `n_head=4 n_layer=4 ...` in the sweep's run, or from a planned trial of it."""
        try:
            return Variant(shape=baseline_of(params), training=self._training)
        except (KeyError, ValueError):
            planned = next((row.variant for row in rows if row.label == "baseline"), None)
        if planned is None:
            raise TrackingError(
                f"sweep {self.name!r} (run {self._parent.info.run_id}) does not say what its baseline is: "
                f"{names.DEFINITION_FILE} and the parameter baseline are missing or damaged; run the sweep again, "
                "which writes the file and trains only what is missing"
            )
        return planned

    def _note(self, thing: str, problem: str) -> None:
        self._left_out.add(thing, problem, f"sweep {self.name}")


def _vocab_size(text: str) -> int | None:
    """The number that the text is; None where that is no number of characters."""
    try:
        size = int(text)
        check_value("vocab_size", size)
    except ValueError:  # as a ConfigError is; int refuses thousands of digits, too
        return None
    return size


def _setup(given: Any) -> SweepSetup:
    """Raises KeyError, TypeError or ValueError for what is no sweep's definition."""
    if not isinstance(given, dict):
        raise ConfigError("a definition is a mapping")
    budget, variants, training = given.get("budget", "steps"), given.get("trials"), given["training"]
    if not isinstance(given["method"], str) or budget not in get_args(Budget):
        raise ConfigError("no method, or no budget")
    if not isinstance(training, dict) or not (variants is None or isinstance(variants, int)):
        raise ConfigError("training or trials is of another type")
    margin, seeds = float(given.get("margin", MARGIN)), given.get("seeds", 1)
    if not margin > 0:
        raise ConfigError("the margin is not positive")
    pruner = given.get("pruner")
    if not (pruner is None or isinstance(pruner, str)):
        raise ConfigError("pruner is of another type")
    texts = {str(key): str(value) for key, value in training.items()}
    return SweepSetup(
        method=given["method"],
        budget=budget,
        baseline=Variant(shape=Shape(**given["baseline"]), training=training_of(texts)),
        training=texts,
        variants=variants,
        margin=margin,
        until_decided=given.get("until_decided") is True,
        own_seeds=given.get("own_seeds") is True,
        seeds=len(seeds) if isinstance(seeds, list) else int(seeds),
        pruner=pruner,
    )
