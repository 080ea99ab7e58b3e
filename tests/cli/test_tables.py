"""Tables and how numbers are written in them."""

from __future__ import annotations

import dataclasses
import io
import itertools

import pytest
from rich.console import Console
from rich.table import Table

from gpt_experiments.app.sweep import can_be_reported
from gpt_experiments.cli.messages import describe_groups, summary_line
from gpt_experiments.cli.tables import format_seconds, plan_table, results_table
from gpt_experiments.records import FinishedTrial
from gpt_experiments.sweep.dry_run import PlannedRow
from tests.support.made_up import ended, failed, finished, interrupted, planned
from tests.support.variants import make_variant

GRID = [
    make_variant(n_head=h, n_layer=n, n_embed=e, dropout=d, block_size=b).label(make_variant())
    for h, n, e, d, b in itertools.product((8, 4, 1), (8, 4, 1), (128, 64, 32), (0.3, 0.1, 0.0), (256, 128, 32))
]


def lines(table: Table, width: int = 120) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(table)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def plan_row(
    *, label: str, seed: int, n_params: int, status: str, seconds: float | None, group: int | None = None
) -> PlannedRow:
    trial = planned(1, label, seed=seed, n_params=n_params)
    if status == "done":
        done = FinishedTrial(
            run_id="r",
            parent_run_id=None,
            cell=trial.cell,
            variant=trial.variant,
            seed=seed,
            summary=finished(trial, 2.0).summary,  # type: ignore[arg-type]
        )
        trial = dataclasses.replace(trial, done=done)
    return PlannedRow(planned=trial, seconds=seconds, group=group)


def plan(n: int) -> list[PlannedRow]:
    return [
        plan_row(label=f"n_layer={i}", seed=1337, n_params=1000 * i, status="to train", seconds=60.0 * i)
        for i in range(1, n + 1)
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (0.42, "0.4 s"),
        (0.97, "1 s"),
        (45.4, "45 s"),
        (119.4, "119 s"),
        (119.6, "2 min"),
        (720, "12 min"),
        (3569, "59 min"),
        (3571, "1 h 00 min"),
        (3900, "1 h 05 min"),
        (100 * 3600, "100 h 00 min"),
    ],
)
def test_a_duration_reads_as_a_person_would_say_it(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_a_plan_shows_each_trial_with_its_size_its_state_and_its_time() -> None:
    rows = [
        plan_row(label="baseline", seed=1337, n_params=215_873, status="done", seconds=None),
        plan_row(label="n_embed=128", seed=1338, n_params=1_824_897, status="to train", seconds=720),
        plan_row(label="n_head=8", seed=1337, n_params=215_873, status="to train", seconds=None),
    ]
    header, _, *body = lines(plan_table(rows))
    assert header.split() == ["variant", "seed", "params", "status", "time"]
    assert [line.split() for line in body] == [
        ["baseline", "1337", "215,873", "done"],
        ["n_embed=128", "1338", "1,824,897", "to", "train", "~12", "min"],
        ["n_head=8", "1337", "215,873", "to", "train"],
    ]


def test_a_plan_of_sixty_is_whole_and_a_longer_one_shows_its_first_and_last_trials() -> None:
    assert len(lines(plan_table(plan(60)))) == 62
    body = lines(plan_table(plan(61)))[2:]
    assert len(body) == 25 + 1 + 5
    assert body[24].startswith("n_layer=25 ")
    assert body[25] == "... 31 more"
    assert body[26].startswith("n_layer=57 ")
    assert body[30].startswith("n_layer=61 ")


def test_a_plan_shows_groups_where_trials_share_one() -> None:
    rows = [
        plan_row(label="baseline", seed=1, n_params=9, status="done", seconds=None),
        *(
            plan_row(label="baseline", seed=seed, n_params=9, status="to train", seconds=60, group=1 + seed // 4)
            for seed in (2, 3, 4)
        ),
    ]
    header, _, *body = lines(plan_table(rows))
    assert header.split() == ["variant", "seed", "params", "status", "group", "time"]
    assert [line.split()[5:6] for line in body] == [[], ["1"], ["1"], ["2"]]
    alone = [dataclasses.replace(row, group=None if row.group is None else row.planned.trial.seed) for row in rows]
    assert "group" not in lines(plan_table(alone))[0]


def test_groups_are_reported_by_size_the_largest_first() -> None:
    assert describe_groups([1, 5, 1, 5, 1]) == "5 groups, each training as one model: 2 of 5 trials, 3 of 1 trial"


def test_an_empty_plan_is_only_a_header() -> None:
    assert len(lines(plan_table([]))) == 2


def test_long_labels_wrap_between_settings_and_lose_nothing() -> None:
    rows = [plan_row(label=GRID[0], seed=1337, n_params=1_632_833, status="to train", seconds=7500)]
    text = " ".join(" ".join(lines(plan_table(rows), width=80)).split())
    for setting in GRID[0].split():
        assert setting in text
    assert "1,632,833 to train ~2 h 05 min" in text


def test_results_are_ranked_by_the_best_validation_loss_with_units_in_the_headers() -> None:
    reports = [
        failed(planned(1, "n_head=1")),
        finished(planned(2, "n_head=8"), 1.95),
        interrupted(planned(3, "n_layer=8")),
        finished(planned(4, "n_embed=128", n_params=824_897), 1.8),
        finished(planned(5, "baseline"), 1.9, outcome="reused"),
        failed(planned(6, "n_layer=1")),
    ]
    first, second, _, *body = lines(results_table(reports, 120))
    assert first.split() == ["train", "loss", "val", "loss", "best", "val", "time"]
    assert second.split() == ["#", "variant", "params", *["nats/char"] * 3, "s", "tokens/s", "outcome"]
    assert [line.split() for line in body] == [
        ["1", "n_embed=128", "824,897", "1.7000", "1.8100", "1.8000", "231.4", "17,346", "finished"],
        ["2", "baseline", "215,873", "1.8000", "1.9100", "1.9000", "231.4", "17,346", "reused"],
        ["3", "n_head=8", "215,873", "1.8500", "1.9600", "1.9500", "231.4", "17,346", "finished"],
        ["n_head=1", "215,873", "failed"],
        ["n_layer=1", "215,873", "failed"],
        ["n_layer=8", "215,873", "interrupted"],
    ]


def test_the_outcome_is_a_column_only_where_it_says_something() -> None:
    assert "outcome" not in lines(results_table([finished(planned(1), 1.9)], 120))[1]
    assert "outcome" in lines(results_table([finished(planned(1), 1.9, outcome="reused")], 120))[1]


def test_the_seed_is_a_column_only_where_there_are_several() -> None:
    one = [finished(planned(1, seed=7), 1.9), finished(planned(2, seed=7), 1.8)]
    two = [finished(planned(1, seed=7), 1.9), finished(planned(1, seed=8), 1.8)]
    assert "seed" not in lines(results_table(one, 120))[1]
    assert "seed" in lines(results_table(two, 120))[1]
    assert lines(results_table(two, 120))[3].split()[:3] == ["1", "n_layer=1", "8"]


def test_thirty_results_are_shown_whole_and_of_more_the_best_and_the_worst() -> None:
    reports = [finished(planned(i), 1 + i / 100) for i in range(1, 32)]
    assert len(lines(results_table(reports[:30], 120))) == 3 + 30
    body = [line.split() for line in lines(results_table(reports, 120))[3:]]
    assert [row[0] for row in body] == [*map(str, range(1, 21)), "...", "29", "30", "31"]
    assert body[20] == ["...", "8", "more"]


def test_of_many_results_some_that_failed_are_shown_below_the_worst() -> None:
    reports = [finished(planned(i), 1 + i / 100) for i in range(30)] + [failed(planned(i)) for i in range(30, 42)]
    body = [line.split() for line in lines(results_table(reports, 120))[3:]]
    assert [row[0] for row in body[20:24]] == ["...", "28", "29", "30"]
    assert [row[-1] for row in body[24:29]] == ["failed"] * 5
    assert body[29:] == [["...", "7", "more"]]


def test_a_sweep_of_failures_alone_has_a_table_too() -> None:
    assert lines(results_table([failed(planned(1))], 120))[-1].split() == ["n_layer=1", "215,873", "failed"]


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_results_fit_the_screen_and_keep_what_matters(width: int) -> None:
    reports = [finished(planned(i, label, n_params=1_632_833), 1 + i / 100) for i, label in enumerate(GRID[:9])]
    reports += [failed(planned(9, GRID[9]))]
    shown = lines(results_table(reports, width), width)
    assert max(map(len, shown)) <= width
    text = "\n".join(shown)
    assert "…" not in text
    for report in reports:
        assert report.summary is None or f"{report.summary.best_val_loss:.4f}" in text
    assert text.count("finished") == 9


def test_narrow_results_drop_the_speed_first_and_never_the_best_loss() -> None:
    reports = [finished(planned(1), 1.9)]
    headers = {width: " ".join(lines(results_table(reports, width), width)[1].split()) for width in (90, 70, 40)}
    assert headers[90].endswith("s tokens/s")
    assert headers[70] == "# variant params nats/char nats/char nats/char s"
    assert headers[40] == "# variant params nats/char"


def test_the_best_row_stands_out_and_failures_are_red() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system="standard", _environ={})
    console.print(results_table([failed(planned(1, "bad")), finished(planned(2, "good"), 1.9)], 120))
    best, worst = console.file.getvalue().splitlines()[3:5]  # type: ignore[attr-defined]
    assert "\x1b[1;32mgood" in best
    assert "\x1b[31mbad" in worst


def test_markup_and_control_characters_in_a_label_are_shown_not_obeyed() -> None:
    label = "[bold]x[/bold]\x1b[31m\nend"
    shown = "[bold]x[/bold]?[31m?end"
    rows = [plan_row(label=label, seed=1, n_params=1, status="done", seconds=None)]
    assert shown in lines(plan_table(rows))[2]
    assert shown in lines(results_table([finished(planned(1, label), 1.9)], 120))[3]


def test_trials_that_only_tuned_are_not_ranked_and_are_no_reason_for_a_report() -> None:
    tuning = dataclasses.replace(planned(1), is_tuning=True)
    trials = [finished(tuning, 1.5), finished(planned(2), 1.9)]
    assert [line.split()[:2] for line in lines(results_table(trials, 120))[3:]] == [["1", "n_layer=2"]]
    summary = ended(trials)
    assert "best val loss 1.9000" in summary_line(summary)
    assert can_be_reported(summary)
    assert not can_be_reported(ended(trials[:1]))
