"""How a process leaves a sweep: it closes the sweep's run, unless other processes go on with it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable

from gpt_experiments import names
from gpt_experiments.errors import TrackingError
from gpt_experiments.records import PlannedTrial, SweepListener, SweepSummary, TrialRecord
from gpt_experiments.tracking import RunRecorder, Store
from gpt_experiments.tracking.parent_run import leave_sweep
from gpt_experiments.tracking.plan_rows import plan_rows


def leave(
    store: Store,
    parent: RunRecorder,
    planned: Iterable[PlannedTrial],
    summary: SweepSummary,
    listener: SweepListener,
) -> SweepSummary:
    """Close the sweep's run, unless something is left to do and other processes do it; returns the summary with them.

    What is complete is closed in any case: the others may die before they see that nothing is left.
    """
    others = len(leave_sweep(store, parent))
    if not others or summary.is_complete:
        store.close_abandoned()
        write_plan(parent, planned, summary.trials)
        _close_parent(parent, summary)
    else:
        who = "another process goes" if others == 1 else f"{others} other processes go"
        listener.notice(f"{who} on with this sweep")
    return dataclasses.replace(summary, others=others)


def end_alone(store: Store, parent: RunRecorder, end: Callable[[], None]) -> None:
    """End the sweep's run, unless other processes go on with it."""
    if not leave_sweep(store, parent):
        end()


def end_despite_errors(end: Callable[[], None], listener: SweepListener) -> None:
    """End the sweep's run after an error; if the store fails too, that must not hide the first error."""
    try:
        end()
    except TrackingError as error:
        listener.notice(f"the sweep's run stays RUNNING until the sweep is run again: {error}")


def write_plan(parent: RunRecorder, planned: Iterable[PlannedTrial], records: Iterable[TrialRecord]) -> None:
    """Write the sweep's trials, and the run of each, as an artifact of its parent run."""
    rows = [row.as_json() for row in plan_rows(planned, records)]
    parent.log_text(json.dumps(rows, indent=1), names.PLAN_FILE)


def _close_parent(parent: RunRecorder, summary: SweepSummary) -> None:
    """End the sweep's run: FINISHED only if every trial has a result; else with a tag that says what is missing."""
    compared = [record for record in summary.trials if not record.planned.is_tuning]
    losses = [record.summary.best_val_loss for record in compared if record.summary is not None]
    if losses:
        parent.log_metrics({names.BEST_VAL_LOSS: min(losses)})
    if summary.is_complete:
        parent.finish()
    elif summary.interrupted:
        parent.kill(f"interrupted with {summary.done} of {summary.total} trials done")
    elif summary.timed_out:
        parent.kill(f"out of time with {summary.done} of {summary.total} trials done")
    elif summary.failed:
        parent.fail(f"{len(summary.failed)} of {summary.total} trials failed")
    else:
        parent.fail(f"only {summary.done} of {summary.total} trials have a result; run the sweep again")
