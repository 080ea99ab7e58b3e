"""What a sweep looks like on a terminal, in a log, and with --quiet."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable

import pytest
from rich.console import Console

from gpt_experiments.cli.display import Display, make_display
from gpt_experiments.records import SweepListener, SweepSummary
from tests.support.made_up import (
    REASON,
    STEPS,
    ended,
    evaluation,
    failed,
    finished,
    interrupted,
    planned,
    progress,
    start,
)

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
COMMANDS = [
    ("python -m gpt_experiments ui parent", "compare the trials in MLflow's pages"),
    ("python -m gpt_experiments attention 0123456789abcdef0123456789abcdef", "where its heads look"),
]


class Screen:
    """A display on a console of the given size, and what it has written."""

    def __init__(
        self, *, terminal: bool, quiet: bool = False, width: int = 80, height: int = 24, commands: bool = True
    ) -> None:
        self.now = 0.0
        self.file = io.StringIO()
        self.console = Console(
            file=self.file,
            force_terminal=terminal,
            color_system="standard" if terminal else None,
            width=width,
            height=height,
            get_time=lambda: self.now,
            _environ={},
        )
        self.display: Display = make_display(
            quiet=quiet, next_commands=lambda report: COMMANDS if commands else [], console=self.console
        )

    @property
    def text(self) -> str:
        """All that was written, without escape codes."""
        return _CONTROL.sub("", self.file.getvalue())

    def fresh(self, act: Callable[[], None]) -> list[str]:
        """The lines that are written while `act` runs, without escape codes and without blanks at the right."""
        before = len(self.file.getvalue())
        act()
        return [line.rstrip() for line in _CONTROL.sub("", self.file.getvalue()[before:]).splitlines()]

    def frame(self) -> list[str]:
        """The live part as it is drawn below a new line."""
        lines = self.fresh(lambda: self.display.notice("a notice"))
        return [line for line in lines[lines.index("a notice") + 1 :] if line]


def run_small_sweep(listener: SweepListener) -> SweepSummary:
    """Four trials: one reused, one finished, one failed, one interrupted."""
    reports = [
        finished(planned(1, "baseline"), 1.95, outcome="reused"),
        finished(planned(2, "n_embed=128", n_params=824_897), 1.8),
        failed(planned(3, "n_head=8")),
        interrupted(planned(4, "dropout=0.3")),
    ]
    listener.notice("closed 2 runs as KILLED")
    listener.sweep_started(start(6, to_train=5))
    listener.trial_ended(reports[0])
    for report in reports[1:]:
        listener.trial_started(report.planned)
        listener.trial_evaluated(report.planned, evaluation(0))
        listener.trial_progress(report.planned, progress(250))
    for report in reports[1:]:
        listener.trial_ended(report)
    report = ended(reports, total=6, interrupted=True)
    listener.sweep_ended(report)
    return report


# On a terminal


@pytest.mark.parametrize(("workers", "shown"), [(1, 1), (2, 2), (16, 16), (17, 16), (64, 16)])
def test_each_running_trial_has_a_row_as_far_as_the_screen_reaches(workers: int, shown: int) -> None:
    screen = Screen(terminal=True)
    with screen.display as display:
        display.sweep_started(start(100))
        for number in range(1, workers + 1):
            display.trial_started(planned(number))
            display.trial_progress(planned(number), progress(number))
        frame = screen.frame()
        rows = [line for line in frame if line.startswith("n_layer=")]
        assert len(rows) == shown
        assert [row.split()[0] for row in rows] == [f"n_layer={n}" for n in range(1, shown + 1)]
        assert (frame[-1] == f"... {workers - shown} more running") == (workers > shown)
        assert max(map(len, frame)) <= 80
        assert len(frame) < 24


def test_a_row_says_how_far_how_good_how_fast_and_how_long() -> None:
    screen = Screen(terminal=True)
    with screen.display as display:
        display.sweep_started(start(3))
        display.trial_started(planned(1, "n_head=8"))
        _, header, row = screen.frame()
        assert header.split() == ["running", "step", "batch", "train", "val", "tokens/s", "left"]
        assert row.split() == ["n_head=8", "─" * 10, "0/1,000", "starting"]

        display.trial_evaluated(planned(1, "n_head=8"), evaluation(0, train_loss=4.1875, val_loss=4.25))
        display.trial_progress(planned(1, "n_head=8"), progress(0))
        screen.now += 60
        display.trial_progress(planned(1, "n_head=8"), progress(250, batch_loss=2.5))
        assert screen.frame()[-1].split() == [
            *["n_head=8", "━━────────", "250/1,000", "2.500", "4.188", "4.250", "17,346", "~3", "min"]
        ]

        display.trial_evaluated(planned(1, "n_head=8"), evaluation(STEPS))
        assert screen.frame()[-1].split()[-1] == "saving"


def test_the_bar_counts_what_has_ended_and_predicts_the_rest() -> None:
    screen = Screen(terminal=True)
    with screen.display as display:
        display.sweep_started(start(8, to_train=6))
        assert screen.frame()[-1].split()[1:] == ["0/8", "0.0", "s"]
        for number in (1, 2):
            display.trial_ended(finished(planned(number), 1.9, outcome="reused"))
        for number in (3, 4):
            display.trial_started(planned(number))
            display.trial_progress(planned(number), progress(0))
        screen.now += 240
        display.trial_progress(planned(3), progress(500))
        display.trial_progress(planned(4), progress(500))
        display.trial_ended(failed(planned(4)))
        # Half of trial 3 and four trials of eight minutes, for two workers.
        bar, counts = screen.frame()[0].split(maxsplit=1)
        assert counts == "3/8 (2 reused, 1 failed)  4 min, ~18 min left"
        assert bar.count("━") == int(len(bar) * 3.5 / 8)
        assert len(screen.frame()[0]) == 80


def test_seeds_are_shown_once_there_are_several() -> None:
    screen = Screen(terminal=True)
    with screen.display as display:
        display.sweep_started(start(3))
        display.trial_started(planned(1, "n_head=8", seed=7))
        assert "seed" not in screen.frame()[1]
        display.trial_started(planned(2, "n_head=8", seed=8))
        frame = screen.frame()
        assert "seed" in frame[1]
        assert [row.split()[1] for row in frame[2:]] == ["7", "8"]
        display.trial_progress(planned(1, "n_head=8", seed=7), progress(STEPS))
        lines = screen.fresh(lambda: display.trial_ended(finished(planned(1, "n_head=8", seed=7), 1.9)))
        assert any(line.startswith("finished") and line.endswith("n_head=8 (seed 7)") for line in lines)


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (120, "running step batch train val tokens/s left"),
        (66, "running step batch train val tokens/s left"),
        (60, "running step batch train val left"),
        (44, "running step val left"),
        (38, "running step val"),
        (28, "running step"),
    ],
)
def test_a_narrow_terminal_drops_the_less_important_columns(width: int, columns: str) -> None:
    screen = Screen(terminal=True, width=width)
    with screen.display as display:
        display.sweep_started(start(3))
        display.trial_started(planned(1, "n_head=8"))
        display.trial_evaluated(planned(1, "n_head=8"), evaluation(0))
        display.trial_progress(planned(1, "n_head=8"), progress(0))
        screen.now += 30
        display.trial_progress(planned(1, "n_head=8"), progress(250))
        frame = screen.frame()
        assert frame[-2].split() == columns.split()
        assert max(map(len, frame[-2:])) <= width


def test_the_label_is_cut_last_of_all() -> None:
    label = "n_head=8 n_layer=8 n_embed=128 dropout=0.3 block_size=256"
    for width, shown in ((80, label), (60, label[:48] + "…")):
        screen = Screen(terminal=True, width=width)
        with screen.display as display:
            display.sweep_started(start(3))
            display.trial_started(planned(1, label))
            display.trial_progress(planned(1, label), progress(250))
            row = screen.frame()[-1]
            assert row.startswith(shown)
            assert "250/1,000" in row
            assert len(row) <= width


def test_trials_that_end_scroll_up_as_one_line_each() -> None:
    screen = Screen(terminal=True)
    with screen.display as display:
        display.sweep_started(start(6))
        for number, label in enumerate(["n_head=8", "n_head=1", "dropout=0.3"], start=1):
            display.trial_started(planned(number, label))
            display.trial_progress(planned(number, label), progress(250))
        first = screen.fresh(lambda: display.trial_ended(finished(planned(1, "n_head=8"), 1.8)))
        second = screen.fresh(lambda: display.trial_ended(failed(planned(2, "n_head=1"))))
        third = screen.fresh(lambda: display.trial_ended(interrupted(planned(3, "dropout=0.3"))))
    assert "finished  best val 1.8000   4 min  n_head=8" in first
    (line,) = [line for line in second if line.startswith("failed")]
    assert line.startswith("failed    n_head=1: diverged: the loss is nan at step 12;")
    assert line.endswith("…")
    assert len(line) == 80
    assert "interrupted  dropout=0.3: at step 250 of 1,000" in third
    assert "\x1b[31mn_head=1: diverged" in screen.file.getvalue()


def test_reused_trials_are_counted_not_listed() -> None:
    screen = Screen(terminal=True)
    with screen.display as display:
        display.sweep_started(start(2))
        lines = screen.fresh(lambda: display.trial_ended(finished(planned(1), 1.8, outcome="reused")))
        assert lines == []
        assert "1/2 (1 reused)" in screen.frame()[0]


def test_the_head_says_what_will_run_where_on_what_and_where_it_is_kept() -> None:
    screen = Screen(terminal=True, width=100)
    with screen.display as display:
        display.sweep_started(start(11, to_train=9))
    text = screen.text
    assert "sweep     one-at-a-time: 11 trials of 1,000 steps, 9 to train, 2 already done" in text
    assert "device    cpu, Some Processor (2 cores)" in text
    assert "workers   2 with 1 thread each" in text
    assert "corpus    tiny-shakespeare" in text
    assert "tracking  gpt-experiments in sqlite:////home/somebody/mlflow.db" in text


def test_the_head_says_how_many_train_as_one_and_who_writes_the_files() -> None:
    screen = Screen(terminal=True, width=120)
    with screen.display as display:
        display.sweep_started(start(11, workers=1, replicas=5, writers=8))
    expected = "workers   1 with 1 thread each, training up to 5 trials as one; each with 8 file writers"
    assert expected in screen.text


def test_of_a_large_group_what_trains_is_shown_before_what_is_being_saved() -> None:
    screen = Screen(terminal=True)
    with screen.display as display:
        display.sweep_started(start(100, replicas=16))
        for number in range(1, 19):
            display.trial_started(planned(number))
            display.trial_progress(planned(number), progress(STEPS if number <= 15 else 1))
            if number <= 15:
                display.trial_evaluated(planned(number), evaluation(STEPS))
        frame = screen.frame()
        rows = [line.split()[0] for line in frame if line.startswith("n_layer=")]
        assert rows[:4] == ["n_layer=16", "n_layer=17", "n_layer=18", "n_layer=1"]
        assert frame[-1] == "... 2 more running, 2 of them saving"


def test_the_terminal_is_restored_whatever_happens() -> None:
    screen = Screen(terminal=True)
    before = sys.stdout, sys.stderr

    def sweep_that_is_interrupted() -> None:
        with screen.display as display:
            display.sweep_started(start(2))
            display.trial_started(planned(1))
            assert screen.file.getvalue().count("\x1b[?25l") == 1  # the cursor is hidden
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep_that_is_interrupted()
    assert screen.file.getvalue().rindex("\x1b[?25h") > screen.file.getvalue().rindex("\x1b[?25l")
    assert (sys.stdout, sys.stderr) == before
    assert screen.fresh(lambda: screen.console.print("later")) == ["later"]  # nothing is drawn any more


def test_leaving_before_the_sweep_starts_changes_nothing() -> None:
    screen = Screen(terminal=True)
    with screen.display as display:
        display.notice("a notice")
    assert screen.text == "a notice\n"


def test_the_ending_has_the_table_the_failures_the_summary_and_the_commands() -> None:
    screen = Screen(terminal=True, width=160)
    with screen.display as display:
        report = run_small_sweep(display)
        lines = screen.fresh(lambda: display.sweep_ended(report))
    ranked = [line.split() for line in lines[4:8]]
    assert [row[:2] for row in ranked[:2]] == [["1", "n_embed=128"], ["2", "baseline"]]
    assert [row[-1] for row in ranked] == ["finished", "reused", "failed", "interrupted"]
    assert lines[9:] == [
        "Failed:",
        f"  n_head=8: {REASON}",
        "",
        "one-at-a-time: interrupted after 13 min: 1 trained, 1 reused, 1 failed, 1 interrupted, 2 not started; "
        "best val loss 1.8000 nats/char: n_embed=128",
        "",
        "Next:",
        "  python -m gpt_experiments ui parent                                    compare the trials in MLflow's pages",
        "  python -m gpt_experiments attention 0123456789abcdef0123456789abcdef   where its heads look",
    ]


def test_commands_too_long_for_the_screen_stay_on_one_line_each() -> None:
    screen = Screen(terminal=True, width=60)
    with screen.display as display:
        run_small_sweep(display)
    lines = screen.text.splitlines()
    assert lines[-4:] == [line for command, purpose in COMMANDS for line in (f"  {purpose}", f"    {command}")]


def test_many_failures_are_cut_short() -> None:
    screen = Screen(terminal=True)
    with screen.display as display:
        display.sweep_started(start(13))
        display.sweep_ended(ended([failed(planned(n), f"reason {n}") for n in range(13)]))
    assert "n_layer=9: reason 9" in screen.text
    assert "reason 10" not in screen.text
    assert "... 3 more; the tag gpt.failure of each MLflow run has its reason" in screen.text


# Anywhere


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("quiet", [True, False])
def test_markup_and_escape_codes_in_names_are_shown_not_obeyed(terminal: bool, quiet: bool) -> None:
    screen = Screen(terminal=terminal, quiet=quiet, width=160)
    strange = planned(1, "[bold]x[/bold][/]")
    with screen.display as display:
        display.notice("[red]a notice[/red]")
        display.sweep_started(start(2, corpus="[blink]\x1b[2Jtext.txt", tracking_uri="file:///[link=x]/y"))
        display.trial_started(strange)
        display.trial_evaluated(strange, evaluation(0))
        if terminal and not quiet:
            assert "[bold]x[/bold][/]" in screen.frame()[-1]
        report = failed(strange, "OSError: [/] [bold]no such file[/bold] \x1b[2J")
        display.trial_ended(report)
        display.sweep_ended(ended([report, finished(strange, 1.9)]))
    assert "[bold]x[/bold][/]" in screen.text
    assert "OSError: [/] [bold]no such file[/bold] ?[2J" in screen.text
    assert "\x1b[2J" not in screen.file.getvalue()
    if not quiet:
        assert "[red]a notice[/red]" in screen.text
        assert "[blink]?[2Jtext.txt" in screen.text
        assert "file:///[link=x]/y" in screen.text


@pytest.mark.parametrize("terminal", [True, False])
def test_a_sweep_that_is_all_reused(terminal: bool) -> None:
    screen = Screen(terminal=terminal, width=120)
    reports = [finished(planned(n), 1 + n / 10, outcome="reused") for n in range(1, 12)]
    with screen.display as display:
        display.sweep_started(start(11, to_train=0))
        for report in reports:
            display.trial_ended(report)
        display.sweep_ended(ended(reports, seconds=0.31))
    assert "11 trials of 1,000 steps, 11 already done" in screen.text
    assert "one-at-a-time: 11 reused in 0.3 s; best val loss 1.1000 nats/char: n_layer=1" in screen.text
    assert " left" not in screen.text


@pytest.mark.parametrize("terminal", [True, False])
def test_a_sweep_that_is_interrupted_before_anything_ran(terminal: bool) -> None:
    screen = Screen(terminal=terminal, commands=False)
    with screen.display as display:
        display.sweep_started(start(11))
        display.sweep_ended(ended([], seconds=2, total=11, interrupted=True))
    assert screen.text.rstrip().endswith("one-at-a-time: interrupted after 2 s: 11 not started")


def test_a_sweep_out_of_time_says_what_was_not_started() -> None:
    screen = Screen(terminal=False, quiet=True)
    with screen.display as display:
        display.sweep_started(start(11))
        display.sweep_ended(ended([finished(planned(1), 1.9)], total=11, timed_out=True))
    assert screen.text == (
        "one-at-a-time: out of time after 13 min: 1 trained, 10 not started; "
        "best val loss 1.9000 nats/char: n_layer=1\n"
    )


def test_unknown_times_and_losses_leave_blanks() -> None:
    screen = Screen(terminal=True)
    with screen.display as display:
        display.sweep_started(start(3))
        display.trial_started(planned(1))
        display.trial_progress(planned(1), progress(0))
        assert screen.frame()[-1].split() == ["n_layer=1", "─" * 10, "0/1,000", "2.500", "17,346"]
        assert "left" not in screen.frame()[0]


# Without a terminal


def test_a_log_has_one_plain_line_for_each_event() -> None:
    screen = Screen(terminal=False)
    with screen.display as display:
        run_small_sweep(display)
    assert "\x1b" not in screen.file.getvalue()
    lines = screen.text.splitlines()
    assert lines[: lines.index("")] == [
        "notice: closed 2 runs as KILLED",
        "sweep one-at-a-time: 6 trials of 1,000 steps, 5 to train, 1 already done",
        "device cpu, Some Processor (2 cores)",
        "workers 2 with 1 thread each",
        "corpus tiny-shakespeare",
        "tracking gpt-experiments in sqlite:////home/somebody/mlflow.db",
        "reused baseline (seed 1337): best val loss 1.9500 [1 of 6]",
        "started n_embed=128 (seed 1337): 824,897 parameters",
        "evaluated n_embed=128 (seed 1337): step 0 of 1,000, train loss 2.2500, val loss 2.3750",
        "started n_head=8 (seed 1337): 215,873 parameters",
        "evaluated n_head=8 (seed 1337): step 0 of 1,000, train loss 2.2500, val loss 2.3750",
        "started dropout=0.3 (seed 1337): 215,873 parameters",
        "evaluated dropout=0.3 (seed 1337): step 0 of 1,000, train loss 2.2500, val loss 2.3750",
        "finished n_embed=128 (seed 1337): best val loss 1.8000, 4 min [2 of 6, ~1 s left]",
        f"failed n_head=8 (seed 1337): {REASON} [3 of 6, ~1 s left]",
        "interrupted dropout=0.3 (seed 1337): at step 250 of 1,000 [4 of 6]",
    ]


def test_a_log_says_how_long_the_rest_may_take() -> None:
    screen = Screen(terminal=False)
    with screen.display as display:
        display.sweep_started(start(4))
        display.trial_started(planned(1))
        display.trial_evaluated(planned(1), evaluation(0))
        screen.now += 240
        display.trial_progress(planned(1), progress(STEPS))
        lines = screen.fresh(lambda: display.trial_ended(finished(planned(1), 1.9)))
    assert lines[0].endswith("[1 of 4, ~6 min left]")


def test_the_ending_in_a_log_is_not_wrapped() -> None:
    screen = Screen(terminal=False, width=80)
    with screen.display as display:
        run_small_sweep(display)
    lines = screen.text.splitlines()
    assert f"  n_head=8: {REASON}" in lines
    assert any(line.startswith("1  n_embed=128  824,897") and line.rstrip().endswith("finished") for line in lines)
    assert lines[-1] == f"  {COMMANDS[1][0]}   {COMMANDS[1][1]}"


def test_standard_output_that_is_no_terminal_gets_plain_lines_even_where_colours_are_forced(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with make_display(quiet=False) as display:
        run_small_sweep(display)
    output = capsys.readouterr().out
    assert "evaluated n_head=8 (seed 1337): step 0 of 1,000" in output
    assert "\x1b" not in output


# With --quiet


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_tells_of_failures_and_the_result_alone(terminal: bool) -> None:
    screen = Screen(terminal=terminal, quiet=True)
    with screen.display as display:
        run_small_sweep(display)
    assert screen.file.getvalue().splitlines() == [
        f"failed n_head=8 (seed 1337): {REASON}",
        "one-at-a-time: interrupted after 13 min: 1 trained, 1 reused, 1 failed, 1 interrupted, 2 not started; "
        "best val loss 1.8000 nats/char: n_embed=128",
    ]
