"""Chooses how a sweep is shown: live on a terminal, one plain line an event elsewhere, or nearly nothing."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console

from gpt_experiments.cli.console import standard_console
from gpt_experiments.cli.live import LiveDisplay
from gpt_experiments.cli.messages import NextCommands, print_ending, result, start_lines, summary_line, trial_name
from gpt_experiments.cli.scoreboard import Scoreboard
from gpt_experiments.cli.tables import UNBROKEN, about, literal

if TYPE_CHECKING:
    from gpt_experiments.records import PlannedTrial, SweepStart, SweepSummary, TrialRecord
    from gpt_experiments.training.events import Evaluation, Progress


class QuietDisplay:
    """Prints failures as they happen, and the sweep in one line at its end."""

    def __init__(self, console: Console) -> None:
        self._console = _unbroken(console)

    def __enter__(self) -> QuietDisplay:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nothing to restore."""

    def sweep_started(self, start: SweepStart) -> None:
        """Not worth a line here."""

    def trial_started(self, planned: PlannedTrial) -> None:
        """Not worth a line here."""

    def trial_progress(self, planned: PlannedTrial, progress: Progress) -> None:
        """Not worth a line here."""

    def trial_evaluated(self, planned: PlannedTrial, evaluation: Evaluation) -> None:
        """Not worth a line here."""

    def trial_ended(self, record: TrialRecord) -> None:
        if record.outcome == "failed":
            self._print(f"failed {trial_name(record.planned, with_seed=True)}: {result(record)}")

    def notice(self, text: str) -> None:
        """Not worth a line here."""

    def sweep_ended(self, summary: SweepSummary) -> None:
        self._print(summary_line(summary))

    def _print(self, text: str) -> None:
        self._console.print(literal(text))


class PlainDisplay:
    """Prints every start, evaluation, end and notice in one line, for a log or another program to read."""

    def __init__(self, console: Console, next_commands: NextCommands) -> None:
        self._console, self._next_commands = _unbroken(console), next_commands
        self._board: Scoreboard | None = None

    def __enter__(self) -> PlainDisplay:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nothing to restore."""

    def sweep_started(self, start: SweepStart) -> None:
        self._board = Scoreboard(start, self._console.get_time)
        for word, text in start_lines(start):
            self._print(f"{word} {text}")

    def trial_started(self, planned: PlannedTrial) -> None:
        self._known.trial_started(planned)
        self._print(f"started {trial_name(planned, with_seed=True)}: {planned.n_params:,} parameters")

    def trial_progress(self, planned: PlannedTrial, progress: Progress) -> None:
        self._known.trial_progress(planned, progress)

    def trial_evaluated(self, planned: PlannedTrial, evaluation: Evaluation) -> None:
        self._known.trial_evaluated(planned, evaluation)
        name, steps = trial_name(planned, with_seed=True), planned.trial.training.steps
        losses = f"train loss {evaluation.train_loss:.4f}, val loss {evaluation.val_loss:.4f}"
        self._print(f"evaluated {name}: step {evaluation.step:,} of {steps:,}, {losses}")

    def trial_ended(self, record: TrialRecord) -> None:
        trial = self._known.trial_ended(record)
        ending = result(record, trial)
        left = "" if record.outcome == "interrupted" else about(self._known.seconds_left())
        ahead = f", {left} left" if left else ""
        name = trial_name(record.planned, with_seed=True)
        self._print(f"{record.outcome} {name}: {ending} [{self._known.ended} of {self._known.total}{ahead}]")

    def notice(self, text: str) -> None:
        self._print(f"notice: {text}")

    def sweep_ended(self, summary: SweepSummary) -> None:
        print_ending(self._console, summary, self._next_commands)

    @property
    def _known(self) -> Scoreboard:
        assert self._board is not None, "a sweep reports its start before anything else"
        return self._board

    def _print(self, text: str) -> None:
        self._console.print(literal(text))


Display = LiveDisplay | PlainDisplay | QuietDisplay


def make_display(
    *,
    quiet: bool,
    next_commands: NextCommands = lambda summary: (),
    console: Console | None = None,
) -> Display:
    """The display that fits where the output goes; a sweep listener, to be used as a context manager.

    Args:
        quiet: only failures and the final line.
        next_commands: returns the commands to type next after a sweep, each with its purpose.
        console: where to print; None takes standard output.
    """
    screen = console or standard_console()
    if quiet:
        return QuietDisplay(screen)
    return LiveDisplay(screen, next_commands) if screen.is_interactive else PlainDisplay(screen, next_commands)


def _unbroken(console: Console) -> Console:
    """The same stream without colours and without a right margin."""
    return Console(
        file=console.file, width=UNBROKEN, force_terminal=False, color_system=None, get_time=console.get_time
    )
