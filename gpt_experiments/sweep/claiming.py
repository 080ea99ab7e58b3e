"""The trials that train here while it is not clear yet whether their cells are this process's own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gpt_experiments.errors import RunDeletedError
from gpt_experiments.execution.protocol import Event, JobDone, JobFailed, JobStopped
from gpt_experiments.sweep.trial_run import TrialRun
from gpt_experiments.tracking import Claims
from gpt_experiments.tracking.agreement import Answer


@dataclass
class _Asking:
    run: TrialRun
    events: list[Event] = field(default_factory=list)


class Claiming:
    """Asks for cells, and keeps what their workers send until it is clear who holds them.

    No worker waits for that: a trial begins to train, its run asks for the cell, and as a rule holds it some
    milliseconds later. Where another process has it, the trial ends here as if it had never begun.
    """

    def __init__(self, claims: Claims, notice: Callable[[str], None]) -> None:
        self._claims, self._notice = claims, notice
        self._asking: dict[str, _Asking] = {}  # by cell
        self._leaving: set[str] = set()  # cells of others whose trials still end here

    def ask(self, run: TrialRun) -> None:
        """Ask for the cell of a trial whose run is open."""
        self._asking[run.planned.cell] = _Asking(run)

    @property
    def is_asking(self) -> bool:
        return bool(self._asking)

    def is_leaving(self, cell: str) -> bool:
        """Whether a worker still trains the trial, which is no longer this process's."""
        return cell in self._leaving

    def keeps(self, cell: str, event: Event) -> bool:
        """Take an event of a trial of which it is not clear whether it counts, or clear that it does not."""
        if cell in self._leaving:
            if isinstance(event, JobDone):
                with event.files.folder():
                    pass  # which removes them
            if isinstance(event, JobDone | JobStopped | JobFailed):
                self._leaving.discard(cell)
            return True
        if cell in self._asking:
            self._asking[cell].events.append(event)
            return True
        return False

    def given_up(self, running: Iterable[TrialRun]) -> list[TrialRun]:
        """Those of the running trials that others have taken over while this process was silent for too long."""
        lost = self._claims.lost
        taken = [one for one in running if one.run_id in lost and not one.is_trained]
        for one in taken:
            self._claims.forget(one.run_id)
            self._asking.pop(one.planned.cell, None)
            self._leaving.add(one.planned.cell)
            self._notice(
                f"run {one.run_id} of {one.planned.name} was taken by another process, because this one was silent for "
                "more than five minutes; it is not trained here any more"
            )
        return taken

    def settle(self, held: Callable[[TrialRun, list[Event]], None], lost: Callable[[TrialRun], None]) -> None:
        """Look at the others, and call `held` or `lost` for each trial for which that makes it clear who trains it.

        Args:
            held: takes the trial, and what its worker has sent meanwhile.

        Raises:
            TrackingError: the store fails; what is not clear stays so.
        """
        answers, _ = self._claims.answers({cell: one.run.run_id for cell, one in self._asking.items()})
        for cell, answer in answers.items():
            one = self._asking[cell]
            if answer is Answer.HOLD:
                with contextlib.suppress(RunDeletedError):  # by a person: whoever writes to it next fails the trial
                    self._claims.hold(one.run.run_id)
                del self._asking[cell]
                held(one.run, one.events)
            elif answer is Answer.WITHDRAW:
                self._claims.withdraw(one.run.run_id)
                events = self._asking.pop(cell).events
                self._leaving.add(cell)
                lost(one.run)
                for event in events:
                    self.keeps(cell, event)

    def settle_alone(self, held: Callable[[TrialRun, list[Event]], None]) -> None:
        """Let all trials count while nobody can be asked: what is trained must not depend on a store that is away."""
        asking, self._asking = self._asking, {}
        for one in asking.values():
            held(one.run, one.events)
