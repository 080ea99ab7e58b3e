"""A sweep listener that keeps what it is told."""

from __future__ import annotations

from gpt_experiments.sweep.listener import SweepReport, SweepStart, TrialReport, TrialTicket
from gpt_experiments.training import Evaluation, Progress


class Recorder:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.started: list[SweepStart] = []
        self.trials: list[TrialTicket] = []
        self.evaluations: list[tuple[str, int]] = []
        self.ended: list[TrialReport] = []
        self.notices: list[str] = []
        self.reports: list[SweepReport] = []

    def sweep_started(self, start: SweepStart) -> None:
        self.started.append(start)

    def trial_started(self, ticket: TrialTicket) -> None:
        self.trials.append(ticket)

    def trial_progress(self, ticket: TrialTicket, progress: Progress) -> None:
        assert progress.step <= ticket.trial.training.steps

    def trial_evaluated(self, ticket: TrialTicket, evaluation: Evaluation) -> None:
        self.evaluations.append((ticket.label, evaluation.step))

    def trial_ended(self, report: TrialReport) -> None:
        self.ended.append(report)

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def sweep_ended(self, report: SweepReport) -> None:
        self.reports.append(report)
