"""The run of a trial that is being trained: a log of what happens, and when that is written to its MLflow run."""

from __future__ import annotations

import contextlib
import dataclasses
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gpt_experiments import names
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import StoreAwayError
from gpt_experiments.execution.protocol import Hardware, JobDone, JobFailed, JobStopped, Picture, Placed, Saved, Usage
from gpt_experiments.kernels import are_switched_on
from gpt_experiments.records import EarlyStop, Outcome, PlannedTrial, SweepListener, TrialRecord
from gpt_experiments.sweep.going_on import GoingOn, LeftTrials
from gpt_experiments.sweep.log_writer import LogWriter
from gpt_experiments.sweep.trial_log import (
    Drawing,
    End,
    Entry,
    Opening,
    Results,
    State,
    StateRemoval,
    Tags,
    TrialLog,
    Values,
    now,
)
from gpt_experiments.sweep.unwritten import Unwritten, files_of
from gpt_experiments.tracking import Claims, Store, provenance, schema
from gpt_experiments.tracking.facts import placed_tags, replicas_tag
from gpt_experiments.tracking.recorder import corpus_input
from gpt_experiments.training import Evaluation, TrainingSummary, together_of

_SECONDS_BETWEEN_WRITES: Final = 5.0  # of metrics: one write costs about 9 ms whatever it holds


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What all trials of one invocation share.

    Attributes:
        parent_run_id, sweep: the sweep's run and name; None for a trial on its own.
        tags: what each run is marked with beside the usual.
        watches_attention: whether pictures of each trial's attention are made while it trains.
        claims: keep this process and others from training the same cells; None lets it train whatever it is given.
        must_stop: whether to end now, including running trials.
        may_start: whether a further trial may begin.
        unwritten: where trials are kept that end while the store is away.
        left: finds what trials go on from; None lets all begin anew.
        said: notices that come once.
    """

    corpus: Corpus
    store: Store
    listener: SweepListener
    must_stop: Callable[[], bool]
    may_start: Callable[[], bool]
    unwritten: Unwritten
    parent_run_id: str | None = None
    sweep: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    watches_attention: bool = True
    claims: Claims | None = None
    left: LeftTrials | None = None
    said: set[str] = field(default_factory=set)

    def notice_once(self, text: str) -> None:
        if text not in self.said:
            self.said.add(text)
            self.listener.notice(text)


class TrialRun:
    """A trial that is being trained, with its run. A run that a person deletes fails its own trial, not the sweep.

    Each method notes what has happened in the trial's log, and has `sync` write what is not written yet. While the
    store is away the log grows, and nobody waits; `is_behind` says so, and the coordinator calls `sync` again later. A
    trial that ends meanwhile is kept on disk, with its files, until it is written.

    What is new about a trial hooks in like this: a kind of entry in `sweep/trial_log.py`, what it writes in
    `LogWriter._write_next`, and a method here that calls `_note`. What a run is opened with, and what must be agreed
    with other processes before it counts, belongs into `LogWriter._open`. What a trial that goes on in an earlier run
    must not write again is left out in the methods here, before `_note`.

    Every method may raise a TrackingError, if the store refuses to be written.

    Attributes:
        must_stop: why the sweep's pruner wants it to end early; None while it may go on.
        is_behind: whether the store has not taken all that it was to take by now.

    Args:
        replicas: how many trials train as one model with it, itself included.
        hardware: of the executor that trains it.
        going_on: what it goes on from, in the run that it had; None begins it, in a new run.
    """

    def __init__(
        self,
        planned: PlannedTrial,
        replicas: int,
        context: RunContext,
        hardware: Hardware,
        going_on: GoingOn | None = None,
    ) -> None:
        self.planned = planned
        self.is_trained = self.is_behind = False
        self.must_stop: EarlyStop | None = None
        self._replicas, self._context, self._hardware = replicas, context, hardware
        # It trains with the threads and the kernels with which it began.
        self._threads = going_on.state.threads if going_on else hardware.threads
        self._kernels = going_on.state.kernels if going_on else are_switched_on()
        self._where = placed_tags(hardware=hardware.name, threads=self._threads, host=platform.node())
        self._is_going_on, self._has_state = going_on is not None, going_on is not None
        self._last_steps = dict(going_on.logged.last_steps) if going_on else {}  # of each metric over steps
        self._pictured = set(going_on.logged.pictures) if going_on else set()
        self._log = TrialLog(opening=self._opening(), run_id=going_on.left.run_id if going_on else "")
        if going_on is not None:
            tags = {**going_on.tags(hardware.name, context.parent_run_id), **self._where, **context.tags}
            self._log.entries.append(Tags(tags=tags))
        self._writer = LogWriter(self._log, context.store, looks_around=context.claims is not None)
        self._written_at = time.monotonic()
        self._resources = contextlib.ExitStack()  # holds the files of a trial that has finished, until they are written
        self._files: Path | None = None
        self._kept: Path | None = None
        self._record: TrialRecord | None = None
        self._sync_if_possible()

    @property
    def run_id(self) -> str:
        """The id of its run; empty while that could not be opened."""
        return self._log.run_id

    @property
    def has_ended(self) -> bool:
        """Whether its training is over, in whatever way, and nothing follows."""
        return self._record is not None

    @property
    def is_kept(self) -> bool:
        """Whether it is on disk until it is written."""
        return self._kept is not None

    @property
    def record(self) -> TrialRecord:
        """How the trial has ended; its `run_id` is empty while the run could not be opened."""
        assert self._record is not None  # it has ended
        lost, instead = self._writer.lost, self._writer.instead
        if lost is not None and self._record.outcome in (Outcome.FINISHED, Outcome.STOPPED):
            return self._ended(Outcome.FAILED, reason=lost)
        if instead is not None and self._record.outcome == Outcome.FINISHED:
            return TrialRecord(
                planned=self.planned, outcome=Outcome.REUSED, run_id=instead.run_id, summary=instead.summary
            )
        return dataclasses.replace(self._record, run_id=self.run_id)

    def note_placed(self, placed: Placed) -> None:
        """Note what the trial trains on, if that is not what the executor has in general."""
        threads = self._threads if self._is_going_on else placed.threads
        where = placed_tags(hardware=placed.hardware, threads=threads, host=placed.host)
        changed = {name: value for name, value in where.items() if self._where.get(name) != value}
        if changed:
            self._where |= changed
            self._note(Tags(tags=changed))

    def log_evaluation(self, evaluation: Evaluation) -> None:
        losses = {names.TRAIN_LOSS: evaluation.train_loss, names.VAL_LOSS: evaluation.val_loss}
        self._note_values(losses, evaluation.step)
        if time.monotonic() - self._written_at > _SECONDS_BETWEEN_WRITES:
            self._sync_if_possible()

    def log_usage(self, usage: Usage) -> None:
        """Note what the worker uses; it is written with the next losses."""
        self._note_values(usage.values, usage.step)

    def log_picture(self, picture: Picture) -> None:
        if picture.step not in self._pictured:
            self._pictured.add(picture.step)
            self._note(Drawing(at=now(), step=picture.step, image=picture.image))

    def keep_state(self, saved: Saved) -> None:
        """Keep the trial's state, from which it goes on if it does not come to its end here."""
        self._note_state(saved.step, saved.state)
        self._sync_if_possible()

    def note_trained(self, replicas: int) -> None:
        """Note that the training is over; `replicas` is less than at its start if its group was split."""
        self.is_trained = True
        if replicas != self._replicas:
            self._replicas = replicas
            self._note(Tags(tags=replicas_tag(replicas)))

    def finish(self, done: JobDone) -> TrialRecord:
        """Write all results, and end the run; what the store does not take now is kept on disk."""
        self._record = self._ended(Outcome.FINISHED, summary=done.summary)
        self._files = self._resources.enter_context(done.files.folder())
        # After the model, which has them first: MLflow shows the metrics of a run in the order in which they came.
        costs = schema.cost_metrics(self.planned.trial, vocab_size=self._context.corpus.vocab_size)
        self._log.entries.append(Results(metrics=schema.summary_metrics(done.summary), tags=self._tags()))
        self._note_values(costs, 0)
        self._log.entries.append(Values(at=now(), values=tuple(schema.series_metrics(done.scores_by_head))))
        self._forget_state()
        return self._end(End(status="FINISHED"))

    def stop(self) -> TrialRecord:
        """End the run of a trial that had to stop."""
        stop = self.must_stop
        assert stop is not None  # nobody else has asked for it
        self._record = stopped_record(self.planned, self.run_id, stop)
        self._log.entries.append(Tags(tags=schema.stop_tags(stop)))
        self._forget_state()
        return self._end(End(status="KILLED", reason=str(stop)))

    def fail(self, failed: JobFailed) -> TrialRecord:
        self._record = self._ended(Outcome.FAILED, reason=failed.reason)
        return self._end(End(status="FAILED", reason=failed.reason, traceback=failed.traceback))

    def interrupt(self, stopped: JobStopped | None = None) -> None:
        """End the run of a trial that has not been trained to its end; where it is not open, there is nothing to end.

        Args:
            stopped: what it goes on from next time; None leaves that to the state that is kept, if there is one.

        Raises:
            TrackingError: the store does not take it; the run stays RUNNING.
        """
        if self._record is not None:
            return  # it has ended, but could not be written
        self._record = self._ended(Outcome.INTERRUPTED)
        if self.run_id:
            if stopped is not None and stopped.state is not None:
                self._note_state(stopped.step, stopped.state)
            self._log.entries.append(End(status="KILLED", reason="interrupted before the end of training"))
            self.sync()

    def interrupted(self) -> TrialRecord:
        return self.record

    def sync(self) -> None:
        """Write to the run what is not written yet.

        Raises:
            StoreAwayError: the store takes nothing at present; the rest is for a later call.
            TrackingError: the store fails for another reason.
        """
        try:
            self._writer.write(self._files)
        except StoreAwayError:
            self.is_behind = True
            if self._kept is not None:
                self._context.unwritten.note(self._log, self._kept)
            raise
        self.is_behind = False
        self._written_at = time.monotonic()
        if self._writer.keeps_too_much:
            self._context.notice_once(
                "the store of the runs' files cannot delete, so states of trials that are of no more use stay in the "
                f"folder {names.STATE_FOLDER} of their runs"
            )
        if self._record is not None:
            self._release()
            if self._kept is not None:
                self._context.unwritten.remove(self._kept)
                self._kept = None

    def keep(self) -> None:
        """Keep a trial that has ended on disk, unless it is written or kept already.

        Raises:
            OSError: it cannot be written there; its files stay where they are for now.
        """
        if not self._writer.is_done and self._kept is None:
            self._kept = self._context.unwritten.keep(self._log, self._files)
            self._files = files_of(self._kept)
            self._release()

    def _note_values(self, values: Mapping[str, float], step: int) -> None:
        """Note metrics of a step, but none that the run has of it or of a later one: a trial may repeat steps."""
        new = tuple((name, value, step) for name, value in values.items() if step > self._last_steps.get(name, -1))
        self._last_steps.update((name, step) for name, _, _ in new)
        if new:
            self._log.entries.append(Values(at=now(), values=new))

    def _note_state(self, step: int, state: bytes) -> None:
        self._has_state = True
        self._log.drop_states()
        self._log.entries.append(State(step=step, group=together_of(state), data=state))

    def _forget_state(self) -> None:
        self._log.drop_states()
        if self._has_state:
            self._log.entries.append(StateRemoval())

    def _note(self, entry: Entry) -> None:
        self._log.entries.append(entry)
        self._sync_if_possible()

    def _sync_if_possible(self) -> None:
        with contextlib.suppress(StoreAwayError):
            self.sync()

    def _end(self, end: End) -> TrialRecord:
        self._log.entries.append(end)
        try:
            self._sync_if_possible()
        finally:  # also if the store fails for good: what was trained is not lost
            try:
                self.keep()
            except OSError as error:
                self._context.listener.notice(
                    f"{self.planned.name} cannot be kept in {self._context.unwritten.folder} ({error.strerror})"
                )
        return self.record

    def _release(self) -> None:
        """Give the files back to the executor, which removes them."""
        self._resources.close()

    def _opening(self) -> Opening:
        device, vocab_size = self._hardware.device, self._context.corpus.vocab_size
        params = schema.trial_params(self.planned.trial, device=device, vocab_size=vocab_size)
        return Opening(
            at=now(),
            run_name=self.planned.name,
            cell=self.planned.cell,
            params={name: str(value) for name, value in params.items()},
            tags=self._tags(),
            source=provenance.source_tags(),
            corpus=corpus_input(self._context.corpus),
            sweep=self._context.sweep,
            parent_run_id=self._context.parent_run_id,
        )

    def _tags(self) -> dict[str, str]:
        computed = schema.trial_tags(
            self.planned,
            self._context.corpus,
            hardware=self._hardware.name,
            threads=self._threads,
            replicas=self._replicas,
            kernels=self._kernels,
        )
        return {**computed, **self._context.tags}

    def _ended(
        self, outcome: Outcome, summary: TrainingSummary | None = None, reason: str | None = None
    ) -> TrialRecord:
        return TrialRecord(planned=self.planned, outcome=outcome, run_id=self.run_id, summary=summary, reason=reason)


def stopped_record(planned: PlannedTrial, run_id: str, stop: EarlyStop) -> TrialRecord:
    """The record of a trial that a pruner has stopped, now or before."""
    return TrialRecord(planned=planned, outcome=Outcome.STOPPED, run_id=run_id, reason=str(stop), stop=stop)


def failed_elsewhere(planned: PlannedTrial, run_id: str, reason: str) -> TrialRecord:
    """The record of a trial that has failed in another process that trains the same sweep."""
    return TrialRecord(planned=planned, outcome=Outcome.FAILED, run_id=run_id, reason=reason)
