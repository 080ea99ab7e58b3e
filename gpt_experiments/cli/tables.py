"""Tables for the screen, of a plan and of results, and how numbers are written in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeVar

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import pandas as pd

    from gpt_experiments.records import TrialRecord
    from gpt_experiments.sweep.dry_run import PlannedRow

OUTCOME_STYLES: Final = {
    "finished": "green",
    "reused": "cyan",
    "stopped": "blue",
    "failed": "red",
    "interrupted": "yellow",
}

UNBROKEN: Final = 10_000  # characters; a file has no right margin
_GAP: Final = 2  # blank cells between columns
_WIDEST_LABEL: Final = 32  # if a table lacks room, a longer label wraps between two parameters

_Row = TypeVar("_Row")


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column that may be left out: where there is no room, the one with the highest `expendable` goes first.

    Attributes:
        header: of one line or more.
        expendable: 0 for a column that always stays.
        at_least: the least width, cells on the screen.
    """

    header: str
    cells: Sequence[str]
    expendable: int = 0
    left: bool = False
    style: str = ""
    at_least: int = 0

    @cached_property
    def width(self) -> int:
        """Cells on the screen that the widest line takes."""
        return max([self.at_least, *map(cell_len, [*self.header.splitlines(), *self.cells])])


def format_seconds(seconds: float) -> str:
    """A duration as a person would say it: '0.4 s', '45 s', '12 min', '1 h 05 min'."""
    if seconds < 0.95:
        return f"{max(seconds, 0):.1f} s"
    if round(seconds) < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def about(seconds: float | None) -> str:
    """An estimate of a duration, as '~12 min'; nothing when it is unknown."""
    return "" if seconds is None else f"~{format_seconds(max(1.0, seconds))}"


def literal(text: str, style: str = "") -> Text:
    """The text as it is: markup has no effect, and control characters become question marks."""
    safe = text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
    return Text(safe, style)


def number_column(header: str, values: Sequence[float | None], spec: str, *, expendable: int = 0) -> Column:
    """A column of numbers in the given format, blank where there is none."""
    cells = ["" if value is None else format(value, spec) for value in values]
    return Column(header=header, cells=cells, expendable=expendable)


def fitting(columns: Sequence[Column], width: int) -> list[Column]:
    """The columns that fit into `width` cells side by side; those that always stay are kept even if they do not."""
    kept = list(columns)
    while _total_width(kept) > width and any(column.expendable for column in kept):
        kept.remove(max(kept, key=lambda column: column.expendable))
    return kept


def aligned(columns: Sequence[Column], width: int) -> Text:
    """The columns side by side, one line a row, for what is drawn four times a second.

    Columns of less importance are left out where `width` cells are too few, and then the first column is cut.

    Rich's own Table and Progress leave out no column, and take longer. A redraw of the live view takes 1.4 ms with
    these lines and 5 to 6 ms with either of Rich's where 4 trials run, 5 ms and 35 ms where 32 run (processor time on
    one core of an AMD EPYC, Rich 15): 0.6 % of a core against 2 %, and 2 % against 14 %.
    """
    kept = fitting(columns, width)
    excess = max(0, _total_width(kept) - width)
    widths = [column.width - (excess if column is kept[0] else 0) for column in kept]
    lines = [_aligned_line([column.header for column in kept], kept, widths, "dim")]
    lines += [_aligned_line(cells, kept, widths, "") for cells in zip(*(column.cells for column in kept), strict=True)]
    return Text("\n", no_wrap=True).join(lines)


def _aligned_line(cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int], style: str) -> Text:
    line = Text(no_wrap=True)
    for cell, column, width in zip(cells, columns, widths, strict=True):
        piece = literal(cell, style or column.style)
        piece.truncate(max(1, width), overflow="ellipsis")
        blank = " " * (width - piece.cell_len)
        gap = " " * _GAP if line else ""
        line.append(gap if column.left else gap + blank).append_text(piece).append(blank if column.left else "")
    return line


def _total_width(columns: Sequence[Column]) -> int:
    return sum(column.width for column in columns) + _GAP * (len(columns) - 1)


def plain_table(columns: Sequence[Column]) -> Table:
    """The columns side by side; one of words wraps where there is no room."""
    table = _empty_table(columns)
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(literal, cells))
    return table


def _empty_table(columns: Sequence[Column]) -> Table:
    # The box puts one blank between columns, the padding another.
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0))
    for column in columns:
        header = Text("\n").join(literal(line) for line in column.header.splitlines())
        table.add_column(header, justify="left" if column.left else "right", no_wrap=not column.left)
    return table


def _make_table(columns: Sequence[Column], row_styles: Sequence[str], gaps: Mapping[int, int]) -> Table:
    """The columns side by side, one style a row; `gaps` says in front of which row how many were left out."""
    table = _empty_table(columns)
    rows = list(zip(*(column.cells for column in columns), strict=True))
    labels = [column.header for column in columns].index("variant")
    for position in range(len(rows) + 1):
        if left_out := gaps.get(position):
            table.add_row(*[""] * labels, f"... {left_out} more", style="dim")
        if position < len(rows):
            table.add_row(*map(literal, rows[position]), style=row_styles[position])
    return table


def plan_table(rows: Sequence[PlannedRow]) -> Table:
    """The trials of a plan in their order; of more than 60, the first 25 and the last 5.

    Groups are shown where a trial shares one.
    """
    first, left_out, last = _shortened(rows, most=60, first=25, last=5)
    shown = [*first, *last]
    columns = [
        Column(header="variant", cells=[row.planned.label for row in shown], left=True),
        Column(header="seed", cells=[str(row.planned.trial.seed) for row in shown]),
        Column(header="params", cells=[f"{row.planned.n_params:,}" for row in shown]),
        Column(header="status", cells=[_status(row) for row in shown], left=True),
        Column(header="time", cells=[about(row.seconds) for row in shown]),
    ]
    groups = [row.group for row in rows if row.group is not None]
    if len(groups) > len(set(groups)):
        columns.insert(4, Column(header="group", cells=["" if r.group is None else str(r.group) for r in shown]))
    styles = ["" if row.planned.needs_training else "dim" for row in shown]
    return _make_table(columns, styles, {len(first): left_out})


def power_table(needs: pd.DataFrame) -> Table:
    """The seeds that each comparison needs; see `analysis.power_table`."""
    from gpt_experiments.analysis.power import COLUMNS

    named = {column: f"for {size:g}" for column, size in COLUMNS.items()} | {"seeds_for_equivalence": "for equivalence"}
    columns = [
        Column(header="level", cells=list(needs["level"]), left=True),
        Column(header="noise", cells=[f"{sd:.2g}" for sd in needs["sd"]]),
        *(
            Column(header=header, cells=["over 1,000" if count != count else f"{count:,.0f}" for count in needs[name]])
            for name, header in named.items()
        ),
    ]
    return plain_table(columns)


def _status(row: PlannedRow) -> str:
    if row.planned.needs_training:
        return "to train"
    return "stopped" if row.planned.done is None else "done"


def best_first(records: Sequence[TrialRecord]) -> list[tuple[TrialRecord, float]]:
    """The trials that have a result, each with the best validation loss that it reached, the lowest first.

    Those that only tuned a variant do not compete.
    """
    compared = [record for record in records if not record.planned.is_tuning]
    scored = [(record, record.summary.best_val_loss) for record in compared if record.summary is not None]
    return sorted(scored, key=lambda pair: pair[1])


def several_seeds(records: Sequence[TrialRecord]) -> bool:
    return len({record.planned.trial.seed for record in records}) > 1


def results_table(records: Sequence[TrialRecord], width: int) -> Table:
    """Trials by their best validation loss, the failed, the stopped and the interrupted below.

    Of more than 30, the best 20 and the worst 3 of those that have a loss, and the first 5 of the others.

    Args:
        width: cells that the table may take; if they are few, less important columns are left out.
    """
    scored = [record for record, _ in best_first(records)]
    others = sorted((r for r in records if r.summary is None), key=lambda r: r.outcome != "failed")
    many = len(records) > 30
    best, scored_out, worst = _shortened(
        list(enumerate(scored, start=1)), most=23 if many else len(scored), first=20, last=3
    )
    unscored, unscored_out, _ = _shortened(others, most=5 if many else len(others), first=5, last=0)
    ranked = [*best, *worst]
    shown = [*(record for _, record in ranked), *unscored]
    ranks = [*(str(rank) for rank, _ in ranked), *("" for _ in unscored)]
    styles = ["" if record.summary is not None else OUTCOME_STYLES[record.outcome] for record in shown]
    if scored:
        styles[0] = "bold green"
    columns = _result_columns(
        shown,
        ranks,
        with_seed=several_seeds(records),
        with_outcome=any(record.outcome != "finished" for record in records),
    )
    label_width = next(column.width for column in columns if column.left)
    room = width + max(0, label_width - _WIDEST_LABEL)
    return _make_table(fitting(columns, room), styles, {len(best): scored_out, len(shown): unscored_out})


def _result_columns(
    shown: Sequence[TrialRecord], ranks: Sequence[str], *, with_seed: bool, with_outcome: bool
) -> list[Column]:

    def of_each(name: str) -> list[float | None]:
        return [None if r.summary is None else getattr(r.summary, name) for r in shown]

    columns = [
        Column(header="#", cells=ranks),
        Column(header="variant", cells=[r.planned.label for r in shown], left=True),
    ]
    if with_seed:
        columns.append(Column(header="seed", cells=[str(r.planned.trial.seed) for r in shown]))
    columns += [
        number_column("params", [r.planned.n_params for r in shown], ",", expendable=1),
        number_column("train loss\nnats/char", of_each("final_train_loss"), ".4f", expendable=3),
        number_column("val loss\nnats/char", of_each("final_val_loss"), ".4f", expendable=2),
        number_column("best val\nnats/char", of_each("best_val_loss"), ".4f"),
        number_column("time\ns", of_each("train_seconds"), ",.1f", expendable=4),
        number_column("tokens/s", of_each("tokens_per_second"), ",.0f", expendable=5),
    ]
    if with_outcome:
        columns.append(Column(header="outcome", cells=[r.outcome for r in shown], left=True))
    return columns


def _shortened(rows: Sequence[_Row], *, most: int, first: int, last: int) -> tuple[list[_Row], int, list[_Row]]:
    """The first rows, how many are left out, the last rows; up to `most` rows are all among the first."""
    if len(rows) <= most:
        return list(rows), 0, []
    return list(rows[:first]), len(rows) - first - last, list(rows[len(rows) - last :])
