"""A running sweep on a terminal: a bar, a row for each running trial, and what has ended above them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gpt_experiments.cli.messages import NextCommands, print_ending, result, start_lines, trial_name
from gpt_experiments.cli.scoreboard import RunningTrial, Scoreboard
from gpt_experiments.cli.tables import OUTCOME_STYLES, Column, about, aligned, format_seconds, literal, number_column

if TYPE_CHECKING:
    from gpt_experiments.records import PlannedTrial, SweepStart, SweepSummary, TrialRecord
    from gpt_experiments.training.events import Evaluation, Progress

_REFRESHES_PER_SECOND: Final = 4
_BAR_WIDTH: Final = 10
_BAR_STYLE: Final = "cyan"
_LINES_KEPT: Final = 8  # lines left for the sweep's bar, headers, and the newest trials that have ended


class LiveDisplay:
    """Keeps the lower end of the terminal up to date, four times a second; leaving the block restores the terminal.

    Rich draws from a thread of its own: `_lock` guards the scoreboard, and is not held while anything is printed.
    """

    def __init__(self, console: Console, next_commands: NextCommands) -> None:
        self._console, self._next_commands = console, next_commands
        self._lock = threading.Lock()
        self._board: Scoreboard | None = None
        self._drawing = ExitStack()

    def __enter__(self) -> LiveDisplay:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._drawing.close()

    def sweep_started(self, start: SweepStart) -> None:
        head = Table.grid(padding=(0, 2, 0, 0))
        head.add_column(style="dim")
        head.add_column(overflow="fold")
        for word, text in start_lines(start):
            head.add_row(word, literal(text, "bold" if word == "sweep" else ""))
        self._console.print(head)
        self._console.print()
        self._board = Scoreboard(start, self._console.get_time)
        self._drawing.enter_context(
            Live(self, console=self._console, refresh_per_second=_REFRESHES_PER_SECOND, transient=True)
        )

    def trial_started(self, planned: PlannedTrial) -> None:
        with self._lock:
            self._known.trial_started(planned)

    def trial_progress(self, planned: PlannedTrial, progress: Progress) -> None:
        with self._lock:
            self._known.trial_progress(planned, progress)

    def trial_evaluated(self, planned: PlannedTrial, evaluation: Evaluation) -> None:
        with self._lock:
            self._known.trial_evaluated(planned, evaluation)

    def trial_ended(self, record: TrialRecord) -> None:
        with self._lock:
            trial = self._known.trial_ended(record)
        if record.outcome == "reused" or (record.outcome == "stopped" and trial is None):
            return  # that was before; the bar counts it
        name = trial_name(record.planned, with_seed=len(self._known.seeds) > 1)
        line = literal(f"{record.outcome:{len('finished')}}  ", OUTCOME_STYLES[record.outcome])
        if record.summary is None:
            line.append_text(literal(f"{name}: {result(record, trial)}", OUTCOME_STYLES[record.outcome]))
            self._console.print(line, no_wrap=True, overflow="ellipsis")  # the ending has the whole reason
            return
        time = format_seconds(record.summary.train_seconds)
        # The label comes last: it may be long, and the numbers stay below one another.
        line.append_text(literal(f"best val {record.summary.best_val_loss:.4f}  {time:>6}  {name}"))
        self._console.print(line)

    def notice(self, text: str) -> None:
        self._console.print(literal(text, "yellow"))

    def sweep_ended(self, summary: SweepSummary) -> None:
        self._drawing.close()
        print_ending(self._console, summary, self._next_commands)

    @property
    def _known(self) -> Scoreboard:
        assert self._board is not None, "a sweep reports its start before anything else"
        return self._board

    def __rich__(self) -> RenderableType:
        """Return what Rich draws at the lower end of the terminal."""
        width, height = self._console.size
        with self._lock:
            board = self._known
            above = [Text()] if board.ended > board.outcomes["reused"] else []  # lines that have scrolled up
            return Group(*above, _sweep_bar(board, width), *_rows(board, width, height))


def _sweep_bar(board: Scoreboard, width: int) -> Text:
    named = ("reused", "stopped", "failed")
    counts = [f"{board.outcomes[outcome]} {outcome}" for outcome in named if board.outcomes[outcome]]
    text = f"  {board.ended}/{board.total}" + (f" ({', '.join(counts)})" if counts else "")
    text += f"  {format_seconds(board.seconds)}"
    if left := about(board.seconds_left()):
        text += f", {left} left"
    return literal(_bar(board.part_done, max(0, width - len(text))), _BAR_STYLE) + literal(text)


def _rows(board: Scoreboard, width: int, height: int) -> list[Text]:
    """Rows of the running trials that fit on the screen, and a line that counts the others.

    Trials that are only being saved come last; those of a large group would otherwise hide the trials in training.
    """
    trials = sorted(board.running.values(), key=lambda trial: trial.phase == "saving")
    shown = trials[: max(1, height - _LINES_KEPT)]
    if not shown:
        return []
    hidden = len(trials) - len(shown)
    saving = sum(trial.phase == "saving" for trial in trials[len(shown) :])
    text = f"... {hidden} more running" + (f", {saving} of them saving" if saving else "")
    more = [literal(text, "dim")] if hidden else []
    return [aligned(_columns(board, shown), width), *more]


def _columns(board: Scoreboard, trials: Sequence[RunningTrial]) -> list[Column]:
    """Columns in the order of the screen; those that identify a trial are never left out."""
    labels = [trial.planned.label for trial in trials]
    columns = [Column(header="running", cells=labels, at_least=board.label_width, left=True)]
    if len(board.seeds) > 1:
        columns.append(Column(header="seed", cells=[str(trial.planned.trial.seed) for trial in trials]))
    bars = [_bar(trial.step / trial.steps, _BAR_WIDTH) for trial in trials]
    return [
        *columns,
        Column(header="", cells=bars, expendable=6, style=_BAR_STYLE),
        Column(header="step", cells=[f"{trial.step:,}/{trial.steps:,}" for trial in trials]),
        number_column("batch", [trial.batch_loss for trial in trials], ".3f", expendable=3),
        number_column("train", [trial.train_loss for trial in trials], ".3f", expendable=4),
        number_column("val", [trial.val_loss for trial in trials], ".3f", expendable=1),
        number_column("tokens/s", [trial.tokens_per_second for trial in trials], ",.0f", expendable=5),
        Column(header="left", cells=[_state(board, trial) for trial in trials], expendable=2),
    ]


def _bar(part: float, width: int) -> str:
    """Heavy for the part that is done, light for the rest, so that it reads without colours too."""
    done = int(min(part, 1.0) * width)
    return "━" * done + "─" * (width - done)


def _state(board: Scoreboard, trial: RunningTrial) -> str:
    return about(trial.seconds_left(board.now)) if trial.phase == "training" else trial.phase
