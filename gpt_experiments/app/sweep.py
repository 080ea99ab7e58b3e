"""`sweep` and `train`: what is kept of a sweep while it runs, and the report that it leaves in its run."""

from __future__ import annotations

from dataclasses import dataclass

from gpt_experiments.errors import ExperimentError
from gpt_experiments.records import SweepListener, SweepSummary
from gpt_experiments.report import write_report
from gpt_experiments.scratch import scratch_folder
from gpt_experiments.tracking import Store


class KeptNotices:
    """A listener that passes everything on to another one, and keeps the notices."""

    def __init__(self, listener: SweepListener) -> None:
        self.notices: list[str] = []
        self._listener = listener
        self.sweep_started = listener.sweep_started
        self.trial_started = listener.trial_started
        self.trial_progress = listener.trial_progress
        self.trial_evaluated = listener.trial_evaluated
        self.trial_ended = listener.trial_ended
        self.sweep_ended = listener.sweep_ended

    def notice(self, text: str) -> None:
        self.notices.append(text)
        self._listener.notice(text)


@dataclass(frozen=True, kw_only=True)
class LeftReport:
    """Whether the sweep's run has a report now.

    Attributes:
        problem: why there is none; None where there is one.
        left_out: what the report could not read, a sentence each.
    """

    problem: str | None = None
    left_out: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        return self.problem is None and not self.left_out


def can_be_reported(summary: SweepSummary) -> bool:
    """Whether there is something to report, and time for it; while others work at the sweep, the last one reports."""
    compared = [record for record in summary.trials if not record.planned.is_tuning]
    return not summary.interrupted and not summary.others and any(record.summary is not None for record in compared)


def leave_report(store: Store, summary: SweepSummary) -> LeftReport:
    """Make the sweep's report from the store, as artifacts of its run."""
    assert summary.parent_run_id is not None
    with scratch_folder() as folder:
        try:
            written = write_report(store, summary.parent_run_id, folder)
        except ExperimentError as error:
            return LeftReport(problem=str(error))
    return LeftReport(left_out=written.left_out)
