"""The exit status of a command that trained."""

from __future__ import annotations

import pytest

from gpt_experiments.cli.ending import exit_status
from gpt_experiments.sweep.listener import SweepReport
from tests.cli.made_up import ended, failed, finished, interrupted, ticket


@pytest.mark.parametrize(
    ("report", "status"),
    [
        (ended([finished(ticket(1), 1.9), finished(ticket(2), 1.9, outcome="reused")]), 0),
        (ended([finished(ticket(1), 1.9), failed(ticket(2))]), 1),
        (ended([finished(ticket(1), 1.9)], total=2, timed_out=True), 1),
        (ended([finished(ticket(1), 1.9)], total=2), 1),
        (ended([]), 0),
        (ended([finished(ticket(1), 1.9), interrupted(ticket(2))], interrupted=True), 130),
    ],
)
def test_only_a_sweep_with_every_result_ends_with_status_0(report: SweepReport, status: int) -> None:
    assert exit_status(report) == status
