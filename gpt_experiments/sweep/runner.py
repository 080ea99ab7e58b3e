"""Runs a whole sweep, or given trials on their own: opens the runs, trains what is missing, closes the runs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from gpt_experiments import names
from gpt_experiments.config import Budget, Trial, Variant, identity
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import ConfigError, StoreAwayError, without_secrets
from gpt_experiments.execution import make_executor
from gpt_experiments.execution.protocol import Executor, Hardware
from gpt_experiments.kernels import why_not_compiled
from gpt_experiments.records import (
    EarlyStop,
    Outcome,
    PlannedTrial,
    SweepListener,
    SweepStart,
    SweepSummary,
)
from gpt_experiments.signals import StopRequest
from gpt_experiments.sweep.coordinator import Coordinator
from gpt_experiments.sweep.definition import SweepDefinition
from gpt_experiments.sweep.going_on import LeftTrials
from gpt_experiments.sweep.leaving import end_alone, end_despite_errors, leave, write_plan
from gpt_experiments.sweep.plan import Schedule, lost_notice, make_schedule, sweep_key
from gpt_experiments.sweep.resources import RunOptions, find_hardware, group_limit
from gpt_experiments.sweep.trial_list import ListSource, TrialList
from gpt_experiments.sweep.trial_run import RunContext
from gpt_experiments.sweep.trial_source import TrialSource, deadline
from gpt_experiments.sweep.unwritten import Unwritten
from gpt_experiments.sweep.yaml_source import dump_yaml
from gpt_experiments.tracking import Claims, RunRecorder, Store, schema
from gpt_experiments.tracking.finished import FinishedCells
from gpt_experiments.tracking.left_trials import left_trials
from gpt_experiments.tracking.pages import keep_views
from gpt_experiments.tracking.parent_run import WantedSweep, open_sweep
from gpt_experiments.training import Evaluation, TrainingSummary


def run_sweep(
    definition: SweepDefinition, corpus: Corpus, store: Store, options: RunOptions, listener: SweepListener
) -> SweepSummary:
    """Train every trial of the sweep that has no finished run; each is a child of the sweep's parent run.

    A trial that the sweep's pruner has stopped before is not trained again, as long as the sweep has that pruner.

    Raises:
        ExperimentError: before anything starts, if the device, the corpus or the store cannot be used for the sweep.
    """
    corpus.require_context(definition.longest_context)
    definition.require_steps(corpus.vocab_size)
    if options.join:
        _require_joinable(definition)
    find_hardware(options, 1)  # a device that is not there is an error before a run is opened
    Unwritten(store).write_all(listener.notice)
    _close_abandoned(store, listener)
    key = sweep_key(definition, corpus)
    earlier_plan = store.earlier_plan(key) if definition.rules.is_adaptive else None
    _require_the_same_looks(definition, store.planned_looks(key))
    with StopRequest() as stop, store.heartbeats.beating():
        wanted = WantedSweep(
            name=definition.name,
            key=key,
            planned=identity({name: value for name, value in definition.as_dict().items() if name != "description"}),
            params=schema.sweep_params(
                method=definition.method,
                baseline=definition.baseline_variant,
                budget=definition.budget,
                is_adaptive=definition.rules.is_adaptive,
                vocab_size=corpus.vocab_size,
                nuisance=definition.nuisance,
            ),
            notes=schema.corpus_tags(corpus),
            take_over=options.take_over,
            join=options.join,
        )
        parent = open_sweep(store, wanted)
        try:
            claims, finished = _look(store, options, parent.run_id if options.join else None)
            stopped = store.stopped_trials(key, definition.pruner) if definition.pruner and not options.force else {}
            if definition.rules.is_adaptive and not options.force:
                finished.read_all(corpus.digest)
            schedule = make_schedule(
                definition,
                corpus,
                finished.by_cell,
                earlier_plan,
                stopped=stopped,
                val_losses=store.val_losses,
                look_up=finished.ask,
            )
            for notice in lost_notice(schedule.planned, finished.found):
                listener.notice(notice)
            parent.log_text(dump_yaml(definition.as_dict()), names.DEFINITION_FILE)
            if definition.looks is not None:
                parent.set_tags({names.LOOKS: definition.looks})
            write_plan(parent, schedule.planned, [])
            keep_views(store, parent.run_id, is_running=True, notice=listener.notice)
            to_train = schedule.total - sum(not planned.needs_training for planned in schedule.planned)
            hardware = find_hardware(options, to_train)
            limit = group_limit(options, hardware, corpus.vocab_size)
            schedule.form_groups(limit, hardware.workers, _left_groups(store, options), shuffled=options.join)
            session = _Session(corpus, store, options, hardware, listener, stop, claims, parent.run_id, definition.name)
            source, most = _GrowingPlan(schedule, parent), schedule.largest_group
            summary = session.run(source, to_train, definition.training.steps, most, definition.budget)
        except KeyboardInterrupt:
            end_despite_errors(partial(end_alone, store, parent, partial(parent.kill, "interrupted twice")), listener)
            raise
        except Exception as error:
            failing = partial(parent.fail, f"{type(error).__name__}: {error}")
            end_despite_errors(partial(end_alone, store, parent, failing), listener)
            raise
        try:
            summary = leave(store, parent, schedule.planned, summary, listener)
        finally:  # the trials are done, even if the sweep's own run cannot be closed
            listener.sweep_ended(summary)
    return summary


def _require_joinable(definition: SweepDefinition) -> None:
    """Refuse to train a sweep together whose next trials depend on what one process has seen of the others.

    Raises:
        ConfigError: its method is adaptive, or it has a pruner.
    """
    if definition.rules.is_adaptive:
        raise ConfigError(
            f"--join is not for {definition.method}: one process must choose its variants, because each depends on "
            "the results before it; leave out --join, and give that process more workers, or choose grid or random"
        )
    if definition.pruner is not None:
        raise ConfigError(
            f"--join is not for a sweep with a pruner, because {definition.pruner} compares the trials that one "
            "process trains; leave out --join, or give --pruner none"
        )


def _require_the_same_looks(definition: SweepDefinition, earlier: str | None) -> None:
    """Refuse to plan other looks at a sweep that has been looked at: its verdicts would be false more often.

    Raises:
        ConfigError: they are others.
    """
    if definition.looks is not None and earlier is not None and definition.looks != earlier:
        raise ConfigError(
            f"sweep {definition.name!r} was begun with --until-decided {earlier}, so its verdicts hold for that plan "
            f"alone, but got {definition.looks}; give the same, or copy its file under another name"
        )


def run_single(
    trial: Trial, corpus: Corpus, store: Store, options: RunOptions, listener: SweepListener
) -> SweepSummary:
    """Train one trial as a run of its own, unless it has a finished run; its name says what differs from the study.

    Raises:
        ExperimentError: before anything starts, if the device, the corpus or the store cannot be used for the trial.
    """
    one = TrialList(name="train", trials=[(trial, trial.variant.label(Variant()))], steps=trial.training.steps)
    return run_trials(one, corpus, store, options, listener)


def run_trials(
    wanted: TrialList, corpus: Corpus, store: Store, options: RunOptions, listener: SweepListener
) -> SweepSummary:
    """Train each of the trials that has no finished run, as a run without a parent.

    Raises:
        ExperimentError: before anything starts, if the device, the corpus or the store cannot be used for the trials.
    """
    corpus.require_context(max(trial.shape.block_size for trial, _ in wanted.trials))
    find_hardware(options, 1)
    Unwritten(store).write_all(listener.notice)
    _close_abandoned(store, listener)
    claims, finished = _look(store, options)
    finished.ask(trial.cell(corpus.digest) for trial, _ in wanted.trials)
    planned = wanted.planned(corpus, finished.by_cell)
    for notice in lost_notice(planned, finished.found):
        listener.notice(notice)
    keep_views(store, notice=listener.notice)
    to_train, source = sum(one.done is None for one in planned), ListSource(planned)
    hardware = find_hardware(options, max(1, to_train))
    limit = group_limit(options, hardware, corpus.vocab_size)
    source.form_groups(limit, hardware.workers, corpus.vocab_size, _left_groups(store, options))
    with StopRequest() as stop, store.heartbeats.beating():
        session = _Session(corpus, store, options, hardware, listener, stop, claims, None, wanted.name, wanted.tags)
        summary = session.run(source, to_train, wanted.steps, source.largest_group, wanted.budget)
    listener.sweep_ended(summary)
    return summary


class _GrowingPlan:
    """A sweep's schedule, which also writes its plan whenever the method has chosen further trials, before they train.

    So a report can be made of a sweep that still runs, or that was killed.
    """

    def __init__(self, schedule: Schedule, parent: RunRecorder) -> None:
        self._schedule, self._parent = schedule, parent
        self._written = len(schedule.planned)

    @property
    def total(self) -> int:
        return self._schedule.total

    def next_group(self) -> tuple[PlannedTrial, ...] | None:
        group = self._schedule.next_group()
        if len(self._schedule.planned) > self._written:
            with contextlib.suppress(StoreAwayError):  # then with the next trials, or at the end
                write_plan(self._parent, self._schedule.planned, [])
                self._written = len(self._schedule.planned)
        return group

    def evaluated(self, planned: PlannedTrial, evaluation: Evaluation) -> EarlyStop | None:
        return self._schedule.evaluated(planned, evaluation)

    def ended(self, planned: PlannedTrial, summary: TrainingSummary | None) -> None:
        self._schedule.ended(planned, summary)


@dataclass(frozen=True)
class _Session:
    """One invocation: announces itself, runs trials, and reports."""

    corpus: Corpus
    store: Store
    options: RunOptions
    hardware: Hardware
    listener: SweepListener
    stop: StopRequest
    claims: Claims | None
    parent_run_id: str | None
    name: str
    tags: Mapping[str, str] = field(default_factory=dict)

    def run(
        self, source: TrialSource, to_train: int, steps: int, replicas: int, budget: Budget = "steps"
    ) -> SweepSummary:
        with contextlib.closing(make_executor(self.options.executor, self.corpus, self.hardware)) as executor:
            return self._run(source, executor, to_train, steps, replicas, budget)

    def _run(
        self, source: TrialSource, executor: Executor, to_train: int, steps: int, replicas: int, budget: Budget
    ) -> SweepSummary:
        started, hardware = time.monotonic(), executor.hardware
        self.listener.sweep_started(
            SweepStart(
                name=self.name,
                total=source.total,
                to_train=to_train,
                workers=hardware.workers,
                threads=hardware.threads,
                writers=hardware.writers,
                replicas=replicas,
                device=hardware.device,
                hardware=hardware.name,
                corpus=self.corpus.name,
                steps=steps,
                budget=budget,
                tracking_uri=without_secrets(self.store.uri),
                experiment=self.store.experiment.name,
            )
        )
        if hardware.device == "cpu" and to_train and (reason := why_not_compiled()):
            self.listener.notice(reason)
        may_start = deadline(self.options.timeout)
        context = RunContext(
            corpus=self.corpus,
            store=self.store,
            listener=self.listener,
            must_stop=lambda: self.stop.requested,
            may_start=may_start,
            unwritten=Unwritten(self.store),
            parent_run_id=self.parent_run_id,
            sweep=None if self.parent_run_id is None else self.name,
            tags=self.tags,
            watches_attention=self.options.attention_over_training,
            claims=self.claims,
            left=None if self.options.force else LeftTrials(self.store, self.corpus, hardware, self.listener.notice),
        )
        with self.store.retries.during_sweep(self.listener.notice, context.must_stop):
            records = Coordinator(context, executor, source).run()
        was_cut = any(record.outcome == Outcome.INTERRUPTED for record in records)
        return SweepSummary(
            name=self.name,
            parent_run_id=self.parent_run_id,
            trials=tuple(records),
            total=source.total,
            seconds=time.monotonic() - started,
            interrupted=self.stop.requested,
            timed_out=not may_start() and (was_cut or len(records) < source.total),
        )


def _look(store: Store, options: RunOptions, joined: str | None = None) -> tuple[Claims | None, FinishedCells]:
    """Claims against other processes, and the finished trials that need no training; neither with `force`.

    Args:
        joined: the sweep's run, where several processes train it.
    """
    if options.force:
        return None, FinishedCells(None)
    return Claims(store, joined), FinishedCells(store)


def _left_groups(store: Store, options: RunOptions) -> dict[str, str]:
    """By cell the trials that go on, each with what it has in common with its group; none with `force`."""
    return {} if options.force else {cell: left.group for cell, left in left_trials(store).items()}


def _close_abandoned(store: Store, listener: SweepListener) -> None:
    abandoned = store.close_abandoned()
    if abandoned:
        listener.notice(f"closed {len(abandoned)} runs as KILLED that a process left RUNNING when it died")
