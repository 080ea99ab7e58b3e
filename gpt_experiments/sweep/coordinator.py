"""Takes groups of trials from their source, has an executor train them, and passes what happens on to their runs."""

from __future__ import annotations

import dataclasses
import itertools
import time
import types
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from gpt_experiments.errors import StoreAwayError, TrackingError
from gpt_experiments.execution.protocol import (
    Event,
    Executor,
    Job,
    JobDone,
    JobFailed,
    JobStopped,
    Notice,
    Picture,
    Placed,
    Saved,
    Trained,
    Usage,
)
from gpt_experiments.records import Outcome, PlannedTrial, TrialRecord
from gpt_experiments.sweep.arrivals import Arrival, Arrivals
from gpt_experiments.sweep.backlog import Backlog
from gpt_experiments.sweep.claiming import Claiming
from gpt_experiments.sweep.elsewhere import Elsewhere
from gpt_experiments.sweep.going_on import GoingOn
from gpt_experiments.sweep.trial_run import RunContext, TrialRun, failed_elsewhere, stopped_record
from gpt_experiments.sweep.trial_source import TrialSource
from gpt_experiments.tracking import Others
from gpt_experiments.tracking.membership import Membership
from gpt_experiments.training import Evaluation, Progress

_SECONDS_BETWEEN_LOOKS: Final = 0.5  # at the stop request and the deadline
_SECONDS_TO_PUT_AWAY: Final = 20.0  # for running trials to send their states; a container needs a grace of 30
_SECONDS_TO_ASK: Final = 10.0  # of a store that is away, before trials start that nobody else can know of


class Coordinator:
    """Runs trials until their source is empty or the context says to end; a failing trial does not stop the others."""

    def __init__(self, context: RunContext, executor: Executor, source: TrialSource) -> None:
        self._context, self._executor, self._source = context, executor, source
        self._running: dict[str, TrialRun] = {}  # by cell
        self._arrivals = Arrivals()
        self._unasked: deque[Sequence[PlannedTrial]] = deque()  # groups that start when the others can be asked
        claims, notice = context.claims, context.listener.notice
        self._claiming = Claiming(claims, notice) if claims else None
        self._elsewhere = Elsewhere(claims, notice) if claims else None
        self._membership = Membership(context.store, context.parent_run_id, notice)
        self._records: list[TrialRecord] = []
        self._backlog = Backlog(context, lambda: self._running.values())
        self._late: dict[int, TrialRun] = {}  # not written when their trial ended, by the index of its record
        self._is_exhausted = False  # whether the source has said that it has no more; only that ends a sweep as done

    def run(self) -> list[TrialRecord]:
        """Run the trials; returns how each of them ended, in that order.

        While the store is away, trials go on and new ones start; what is to be written waits for it.

        Raises:
            TrackingError: the store cannot be written. Running trials are then lost; those that have ended are kept on
                disk.
        """
        with self._context.store.retries.without_waiting():
            try:
                self._run()
            except TrackingError as error:
                self._log_what_is_trained()
                raise self._backlog.with_what_is_kept(error) from error
            except Exception:
                self._log_what_is_trained()
                raise
            finally:
                self._executor.close()
                for cell in list(self._running):
                    self._interrupt(cell)
        return self._records

    def _run(self) -> None:
        self._fill()
        self._settle()
        while self._goes_on():
            self._turn()
        self._log_arrivals()
        if self._running:
            self._put_away()
        self._backlog.write_all()
        self._membership.catch_up()
        for index, run in self._late.items():
            self._correct(index, run.record)

    def _goes_on(self) -> bool:
        """Whether something runs, or may still begin.

        If nothing runs, something may still be left: a worker that has finished its group is not ready for the
        next one at once, so for a moment there may be neither a running trial nor room for another.
        """
        if self._context.must_stop() or not self._context.may_start():
            return False
        waits = self._unasked or (self._elsewhere is not None and self._elsewhere.trials)
        return bool(self._running or waits) or not self._is_exhausted

    def _put_away(self) -> None:
        """Ask the trials that run for their states, and close their runs with them; what is over by then is kept.

        A trial that does not answer in time goes on next time from the state that is kept of it, if there is one.
        """
        self._settle(at_the_end=True)
        self._context.listener.notice("stopping: trials that run are put away, to go on where they are next time")
        for cell in self._running:
            self._executor.stop(cell, keep=True)
        end = time.monotonic() + _SECONDS_TO_PUT_AWAY
        while self._running and (left := end - time.monotonic()) > 0:
            for cell, event in self._executor.events(min(left, _SECONDS_BETWEEN_LOOKS)):
                self._take(cell, event)
            self._log_arrivals()

    def _log_arrivals(self) -> None:
        while self._arrivals:
            self._log(*self._arrivals.next())

    def _log_rest_of(self, running: TrialRun) -> None:
        """Log what has arrived of a trial that ends."""
        for event in self._arrivals.take_all_of(running):
            self._log(running, event)

    def _turn(self) -> None:
        """Take what the workers sent, give them more to do, and only then log one trial that is done, or one picture.

        Logging one takes tens of milliseconds; no worker and no accelerator should wait for it. What waits for a store
        that was away is written in the same way, one trial in each turn.
        """
        for cell, event in self._executor.events(0.0 if self._arrivals else _SECONDS_BETWEEN_LOOKS):
            self._take(cell, event)
        self._fill()
        self._settle()
        if self._arrivals:
            self._log(*self._arrivals.next())
        elif self._backlog.catch_up():
            self._membership.catch_up()

    def _fill(self) -> None:
        """Answer trials from the store and start groups of others, as long as there is room and time."""
        elsewhere = self._elsewhere
        while self._has_room:
            group = self._unasked.popleft() if self._unasked else self._source.next_group()
            if group is None:
                self._is_exhausted = True
            if not group:
                break
            for planned in group:
                if not planned.needs_training:
                    self._answer(planned)
            to_train = [planned for planned in group if planned.needs_training]
            if elsewhere is None:
                self._start(to_train)
            elif to_train and not self._begin(to_train, elsewhere):
                break
        if elsewhere is not None and elsewhere.is_due and self._has_room:
            alone = [[planned] for planned in elsewhere.trials]
            try:
                elsewhere.trials = self._start_what_is_free(alone, elsewhere)
            except StoreAwayError as error:
                self._backlog.note_away(error)
                if not self._running and self._backlog.is_too_long:
                    raise

    def _begin(self, group: Sequence[PlannedTrial], elsewhere: Elsewhere) -> bool:
        """Start what no other process trains of a new group, or all while nobody can be asked; False if not yet."""
        try:
            elsewhere.trials += self._start_what_is_free([group], elsewhere)
        except StoreAwayError as error:
            self._backlog.note_away(error)
            if self._backlog.seconds_away < _SECONDS_TO_ASK:
                self._unasked.append(group)
                return False
            self._start(group)
        return True

    @property
    def _has_room(self) -> bool:
        return self._executor.has_room and not self._context.must_stop() and self._context.may_start()

    def _start_what_is_free(self, groups: Sequence[Sequence[PlannedTrial]], elsewhere: Elsewhere) -> list[PlannedTrial]:
        """Start trials that no other process trains, answer those that one has finished, and return the rest.

        Raises:
            StoreAwayError: nobody can be asked; none is started.
        """
        left: list[PlannedTrial] = []
        trials = list(itertools.chain(*groups))
        others = elsewhere.look(trials)
        going_on = self._what_is_left(trials)
        for group in groups:
            open_ones = [planned for planned in group if planned.cell not in others.ended]
            free = [planned for planned in open_ones if self._is_free(planned.cell, others)]
            left += [planned for planned in open_ones if planned not in free]
            if free and self._has_room:
                tickets = elsewhere.claims.tickets([planned.cell for planned in free if planned.cell in going_on])
                left += [planned for planned in free if planned.cell in going_on and planned.cell not in tickets]
                self._start([planned for planned in free if planned not in left], going_on)
                elsewhere.claims.give_back(tickets)
            else:
                left += free
        self._backlog.note_back()
        for planned in trials:
            if planned.cell in others.finished:
                self._answer(dataclasses.replace(planned, done=others.finished[planned.cell]))
            elif planned.cell in others.failed:
                self._end(planned.cell, failed_elsewhere(planned, *others.failed[planned.cell]))
                self._source.ended(planned, None)
        elsewhere.name(left, others)
        return left

    def _is_free(self, cell: str, others: Others) -> bool:
        """Whether a trial of that cell may begin to train here."""
        is_leaving = self._claiming is not None and self._claiming.is_leaving(cell)
        return cell not in others.training and cell not in self._running and not is_leaving

    def _settle(self, *, at_the_end: bool = False) -> None:
        """Let those trials count whose cells are clearly this process's, and end those whose cells are another's.

        Args:
            at_the_end: let those count as well of which it is not clear.
        """
        claiming = self._claiming
        if claiming is None:
            return
        for running in claiming.given_up(self._running.values()):
            self._leave(running)
        if not claiming.is_asking:
            return

        def hold(running: TrialRun, events: Sequence[Event]) -> None:
            self._context.listener.trial_started(running.planned)
            for event in events:
                self._take(running.planned.cell, event)

        try:
            claiming.settle(hold, self._leave)
        except StoreAwayError as error:
            self._backlog.note_away(error)
            claiming.settle_alone(hold)
        if at_the_end:
            claiming.settle_alone(hold)

    def _leave(self, running: TrialRun) -> None:
        """End a trial here as if it had not begun, because another process trains it."""
        planned = running.planned
        self._executor.stop(planned.cell)
        del self._running[planned.cell]
        if self._elsewhere is not None:
            self._elsewhere.trials.append(planned)

    def _answer(self, planned: PlannedTrial) -> None:
        """End a trial with what the store has of it: the results of its finished run, or that it was stopped."""
        done, stopped = planned.done, planned.stopped
        if done is not None:
            self._membership.add(done)
            record = TrialRecord(planned=planned, outcome=Outcome.REUSED, run_id=done.run_id, summary=done.summary)
        else:
            assert stopped is not None
            record = stopped_record(planned, stopped.run_id, stopped.stop)
        self._end(planned.cell, record)
        self._source.ended(planned, record.summary)

    def _what_is_left(self, trials: Iterable[PlannedTrial]) -> Mapping[str, GoingOn]:
        left = self._context.left
        return {} if left is None else left.find(trials)

    def _start(
        self, group: Sequence[PlannedTrial], going_on: Mapping[str, GoingOn] = types.MappingProxyType({})
    ) -> None:
        if not group:
            return
        # Submitted first: the workers train while the runs are opened.
        self._executor.submit([self._job(planned, going_on.get(planned.cell)) for planned in group])
        for planned in group:
            left = going_on.get(planned.cell)
            replicas = len(left.state.group) if left else len(group)
            run = TrialRun(planned, replicas, self._context, self._executor.hardware, left)
            self._running[planned.cell] = run
            if self._claiming is not None and run.run_id and left is None:
                self._claiming.ask(run)  # `_settle` lets it count
                continue
            self._context.listener.trial_started(planned)
            if left is not None:
                self._context.listener.notice(f"{planned.name} goes on at step {left.state.step:,}")

    def _job(self, planned: PlannedTrial, left: GoingOn | None) -> Job:
        return Job(
            key=planned.cell,
            trial=planned.trial,
            label=planned.label,
            watches_attention=self._context.watches_attention,
            state=left.data if left else None,
        )

    def _take(self, cell: str, event: Event) -> None:
        listener = self._context.listener
        if isinstance(event, Notice):  # about a group, of which the trial that it names may have ended
            listener.notice(event.text)
            return
        if self._claiming is not None and self._claiming.keeps(cell, event):
            return
        running = self._running[cell]
        match event:
            case Placed():
                running.note_placed(event)
            case Progress():
                listener.trial_progress(running.planned, event)
            case Evaluation():
                running.log_evaluation(event)
                listener.trial_evaluated(running.planned, event)
                stop = self._source.evaluated(running.planned, event)
                if stop is not None:
                    running.must_stop = stop
                    self._executor.stop(cell)
            case Usage():
                running.log_usage(event)
            case Trained(summary=summary, replicas=replicas):
                self._arrivals.drop_state_of(running)
                # First, so that an adaptive method knows it before it suggests what trains next.
                self._source.ended(running.planned, summary)
                running.note_trained(replicas)
            case Saved() | Picture() | JobDone():
                self._arrivals.add(running, event)
            case JobStopped() if running.must_stop is None:
                self._interrupt(cell, event)
            case JobStopped():
                self._end_run(running, running.stop())
                self._source.ended(running.planned, None)
            case JobFailed() if self._context.must_stop():
                self._interrupt(cell)  # what stops this process may have ended the worker too
            case JobFailed():
                self._log_rest_of(running)
                self._end_run(running, running.fail(event))
                if not running.is_trained:
                    self._source.ended(running.planned, None)

    def _log(self, running: TrialRun, event: Arrival) -> None:
        if isinstance(event, Picture):
            running.log_picture(event)
        elif isinstance(event, Saved):
            running.keep_state(event)
        else:
            self._end_run(running, running.finish(event))

    def _log_what_is_trained(self) -> None:
        """Log the results that are waiting, as far as the store accepts them."""
        while self._arrivals:
            try:
                self._log(*self._arrivals.next())
            except TrackingError as error:
                self._context.listener.notice(f"the result of a trained trial could not be stored: {error}")

    def _interrupt(self, cell: str, stopped: JobStopped | None = None) -> None:
        running = self._running[cell]
        try:
            if stopped is not None:
                self._arrivals.drop_state_of(running)
            self._log_rest_of(running)
            running.interrupt(stopped)
        except TrackingError as error:
            self._context.listener.notice(f"run {running.run_id} stays RUNNING until a sweep closes it: {error}")
        self._end(cell, running.interrupted())

    def _end_run(self, running: TrialRun, record: TrialRecord) -> None:
        if running.is_behind:
            self._backlog.ended.append(running)
            self._late[len(self._records)] = running
        else:
            self._backlog.note_back()
        self._end(running.planned.cell, record)

    def _correct(self, index: int, record: TrialRecord) -> None:
        """Take the record of a trial that is written now, with its run, in place of what was known when it ended."""
        if record.outcome != self._records[index].outcome:
            what = record.reason or f"run {record.run_id} of another process has its result"
            self._context.listener.notice(f"{record.planned.name}: {what}")
        self._records[index] = record

    def _end(self, cell: str, record: TrialRecord) -> None:
        self._running.pop(cell, None)  # a trial that was answered from the store has not been running
        self._records.append(record)
        self._context.listener.trial_ended(record)
