"""A sweep listener that keeps what it receives."""

from __future__ import annotations

from gpt_experiments.records import PlannedTrial, SweepStart, SweepSummary, TrialRecord
from gpt_experiments.training import Evaluation, Progress


class Recorder:
    """A listener that keeps what it receives."""

    def __init__(self) -> None:
        self.started: list[SweepStart] = []
        self.trials: list[PlannedTrial] = []
        self.evaluations: list[tuple[str, int]] = []
        self.ended: list[TrialRecord] = []
        self.notices: list[str] = []
        self.summaries: list[SweepSummary] = []

    def sweep_started(self, start: SweepStart) -> None:
        self.started.append(start)

    def trial_started(self, planned: PlannedTrial) -> None:
        self.trials.append(planned)

    def trial_progress(self, planned: PlannedTrial, progress: Progress) -> None:
        assert progress.step <= planned.trial.training.steps

    def trial_evaluated(self, planned: PlannedTrial, evaluation: Evaluation) -> None:
        self.evaluations.append((planned.label, evaluation.step))

    def trial_ended(self, record: TrialRecord) -> None:
        self.ended.append(record)

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def sweep_ended(self, summary: SweepSummary) -> None:
        self.summaries.append(summary)
