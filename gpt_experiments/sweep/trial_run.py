"""The MLflow run of a trial that is being trained: what is written to it, and when it ends."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from gpt_experiments import names
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import RunDeletedError
from gpt_experiments.execution.protocol import Hardware, JobDone, JobFailed, Picture, Placed, Usage
from gpt_experiments.kernels import are_switched_on
from gpt_experiments.records import EarlyStop, Outcome, PlannedTrial, SweepListener, TrialRecord
from gpt_experiments.tracking import Claims, Store, schema
from gpt_experiments.tracking.facts import placed_tags, replicas_tag
from gpt_experiments.training import Evaluation, TrainingSummary


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
    """

    corpus: Corpus
    store: Store
    listener: SweepListener
    must_stop: Callable[[], bool]
    may_start: Callable[[], bool]
    parent_run_id: str | None = None
    sweep: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    watches_attention: bool = True
    claims: Claims | None = None


class TrialRun:
    """A trial that is being trained, with its run. A run that a person deletes fails its own trial, not the sweep.

    Every method may raise a TrackingError, if the store cannot be written.

    Attributes:
        must_stop: why the sweep's pruner wants it to end early; None while it may go on.

    Args:
        replicas: how many trials train as one model with it, itself included.
        hardware: of the executor that trains it.
    """

    def __init__(self, planned: PlannedTrial, replicas: int, context: RunContext, hardware: Hardware) -> None:
        self.planned = planned
        self.is_trained = False
        self.must_stop: EarlyStop | None = None
        self._replicas, self._context, self._hardware = replicas, context, hardware
        self._where = placed_tags(hardware=hardware.name, threads=hardware.threads, host=platform.node())
        self._lost: str | None = None  # why nothing can be written to the run any more
        self._recorder = context.store.start_run(
            kind="trial",
            run_name=planned.name,
            sweep=context.sweep,
            parent_run_id=context.parent_run_id,
            params=self._params(),
            tags=self._tags(),
        )
        self._write(partial(self._recorder.log_corpus, context.corpus))

    @property
    def run_id(self) -> str:
        return self._recorder.run_id

    def note_placed(self, placed: Placed) -> None:
        """Note what the trial trains on, if that is not what the executor has in general."""
        where = placed_tags(hardware=placed.hardware, threads=placed.threads, host=placed.host)
        changed = {name: value for name, value in where.items() if self._where.get(name) != value}
        if changed:
            self._where |= changed
            self._write(partial(self._recorder.set_tags, changed))

    def log_evaluation(self, evaluation: Evaluation) -> None:
        self._write(partial(self._recorder.log_evaluation, evaluation))

    def log_usage(self, usage: Usage) -> None:
        self._recorder.log_metrics(usage.values, usage.step)

    def log_picture(self, picture: Picture) -> None:
        self._write(partial(self._recorder.log_image, names.ATTENTION_IMAGE, picture.image, picture.step))

    def note_trained(self, replicas: int) -> None:
        """Note that the training is over; `replicas` is less than at its start if its group was split."""
        self.is_trained = True
        if replicas != self._replicas:
            self._replicas = replicas
            self._write(partial(self._recorder.set_tags, replicas_tag(replicas)))

    def finish(self, done: JobDone) -> TrialRecord:
        """Write all results, and end the run."""
        self._write(partial(self._log_results, done))
        if self._lost is not None:
            return self._ended(Outcome.FAILED, reason=self._lost)
        return self._ended(Outcome.FINISHED, summary=done.summary)

    def stop(self) -> TrialRecord:
        """End the run of a trial that had to stop."""
        stop = self.must_stop
        assert stop is not None  # nobody else has asked for it
        self._write(partial(self._recorder.set_tags, schema.stop_tags(stop)))
        self._write(partial(self._recorder.kill, str(stop)))
        if self._lost is not None:
            return self._ended(Outcome.FAILED, reason=self._lost)
        return stopped_record(self.planned, self.run_id, stop)

    def fail(self, failed: JobFailed) -> TrialRecord:
        self._write(partial(self._recorder.fail, failed.reason, failed.traceback))
        return self._ended(Outcome.FAILED, reason=failed.reason)

    def interrupt(self) -> None:
        """End the run of a trial that has not been trained to its end."""
        self._write(partial(self._recorder.kill, "interrupted before the end of training"))

    def interrupted(self) -> TrialRecord:
        return self._ended(Outcome.INTERRUPTED)

    def _log_results(self, done: JobDone) -> None:
        recorder = self._recorder
        with done.files.folder() as folder:
            recorder.log_artifacts(folder)
        recorder.log_model(
            self._context.store.experiment.experiment_id,
            name=self.planned.name,
            params=self._params(),
            tags=self._tags(),
            metrics=schema.summary_metrics(done.summary),
        )
        recorder.log_metrics(schema.cost_metrics(self.planned.trial, vocab_size=self._context.corpus.vocab_size))
        recorder.log_series(done.scores_by_head)
        recorder.finish()

    def _params(self) -> dict[str, object]:
        device, vocab_size = self._hardware.device, self._context.corpus.vocab_size
        return schema.trial_params(self.planned.trial, device=device, vocab_size=vocab_size)

    def _tags(self) -> dict[str, str]:
        computed = schema.trial_tags(
            self.planned,
            self._context.corpus,
            hardware=self._hardware.name,
            threads=self._hardware.threads,
            replicas=self._replicas,
            kernels=are_switched_on(),
        )
        return {**computed, **self._context.tags}

    def _write(self, write: Callable[[], None]) -> None:
        if self._lost is None:
            try:
                write()
            except RunDeletedError as error:
                self._lost = str(error)

    def _ended(
        self, outcome: Outcome, summary: TrainingSummary | None = None, reason: str | None = None
    ) -> TrialRecord:
        return TrialRecord(planned=self.planned, outcome=outcome, run_id=self.run_id, summary=summary, reason=reason)


def stopped_record(planned: PlannedTrial, run_id: str, stop: EarlyStop) -> TrialRecord:
    """The record of a trial that a pruner has stopped, now or before."""
    return TrialRecord(planned=planned, outcome=Outcome.STOPPED, run_id=run_id, reason=str(stop), stop=stop)
