"""Tables for the screen that set two runs or two sweeps side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from rich.table import Table

from gpt_experiments.analysis.comparison_words import fact, number
from gpt_experiments.cli.tables import Column, plain_table
from gpt_experiments.errors import shortened
from gpt_experiments.report.comparison import variant_row

if TYPE_CHECKING:
    from gpt_experiments.analysis.comparison import CurveComparison, Difference, HeadDifference, MetricDifference
    from gpt_experiments.analysis.sweep_comparison import VariantPair

_MOST_STEPS: Final = 14
_LINES: Final = 6  # of a sample
_WIDEST_LINE: Final = 56

_Row = TypeVar("_Row")


def facts_table(differing: Sequence[Difference], a: str, b: str) -> Table:
    """One row a difference; `a` and `b` name the two sides."""
    groups = [difference.group for difference in differing]
    shown = [group if i == 0 or groups[i - 1] != group else "" for i, group in enumerate(groups)]
    return plain_table(
        [
            Column(header="", cells=shown, left=True),
            Column(header="", cells=[difference.name for difference in differing], left=True),
            Column(header=a, cells=[shortened(fact(difference.a)) for difference in differing], left=True),
            Column(header=b, cells=[shortened(fact(difference.b)) for difference in differing], left=True),
        ]
    )


def losses_table(curves: CurveComparison, a: str, b: str) -> Table:
    """Losses at common steps, nats per character; of many, those around the step at which they part, and the last."""
    pairs = around(curves.pairs, next((i for i, pair in enumerate(curves.pairs) if not pair.is_identical), 0))
    return plain_table(
        [
            Column(header="step", cells=[f"{pair.step:,}" for pair in pairs]),
            Column(header=f"train loss\n{a}", cells=[loss(pair.a.train_loss) for pair in pairs]),
            Column(header=f"\n{b}", cells=[loss(pair.b.train_loss) for pair in pairs]),
            Column(header="\ndifference", cells=[signed(pair.train_difference) for pair in pairs]),
            Column(header=f"val loss\n{a}", cells=[loss(pair.a.val_loss) for pair in pairs]),
            Column(header=f"\n{b}", cells=[loss(pair.b.val_loss) for pair in pairs]),
            Column(header="\ndifference", cells=[signed(pair.val_difference) for pair in pairs]),
        ]
    )


def around(rows: Sequence[_Row], place: int) -> list[_Row]:
    """Up to 14 of the rows: those around a place, and then the last ones, evenly thinned out in between."""
    if len(rows) <= _MOST_STEPS:
        return list(rows)
    begin = max(0, min(place - 2, len(rows) - _MOST_STEPS))
    later = len(rows) - 1 - begin
    chosen = [begin + round(i * later / (_MOST_STEPS - 1)) for i in range(_MOST_STEPS)]
    return [rows[i] for i in dict.fromkeys([*chosen[:1], begin + 1, begin + 2, *chosen[3:]])]


def loss(value: float) -> str:
    """A loss with so many digits that a small difference can be seen."""
    return "n/a" if math.isnan(value) else f"{value:.6f}"


def signed(value: float) -> str:
    """A difference: 0 if there is none at all."""
    if math.isnan(value):
        return "n/a"
    if value == 0:
        return "0"
    return f"{value:+.6f}" if abs(value) >= 1e-4 else f"{value:+.2e}"


def metrics_table(metrics: Sequence[MetricDifference]) -> Table:
    """The numbers at the ends of two trials."""
    return plain_table(
        [
            Column(header="", cells=[metric.name.replace("_", " ") for metric in metrics], left=True),
            Column(header="A", cells=[number(metric.a) for metric in metrics]),
            Column(header="B", cells=[number(metric.b) for metric in metrics]),
            Column(header="B minus A", cells=[number(metric.difference, sign=True) for metric in metrics]),
        ]
    )


def variants_table(pairs: Sequence[VariantPair]) -> Table:
    """One row a variant that both sweeps have, with its validation losses and their paired difference."""
    rows = [variant_row(pair) for pair in pairs]
    columns = [
        Column(header=name, cells=[row[name] for row in rows], left=name in ("variant", "verdict")) for name in rows[0]
    ]
    return plain_table(columns)


def heads_table(heads: Sequence[tuple[str, HeadDifference]]) -> Table:
    """One row a score of a head, each with the variant whose heads they are; empty where that is clear."""
    columns = [
        Column(header="layer", cells=[str(head.layer) for _, head in heads]),
        Column(header="head", cells=[str(head.head) for _, head in heads]),
        Column(header="score", cells=[head.score.replace("_", " ") for _, head in heads], left=True),
        Column(header="A", cells=[f"{head.a:.2f}" for _, head in heads]),
        Column(header="B", cells=[f"{head.b:.2f}" for _, head in heads]),
    ]
    if any(label for label, _ in heads):
        columns.insert(0, Column(header="variant", cells=[label for label, _ in heads], left=True))
    return plain_table(columns)


def samples_table(a: str | None, b: str | None) -> Table:
    """The first lines of two samples side by side; a line that is empty stays empty."""
    sides = [_first_lines(sample) for sample in (a, b)]
    length = max(map(len, sides))
    padded = [side + [""] * (length - len(side)) for side in sides]
    return plain_table(
        [
            Column(header="A wrote", cells=padded[0], left=True),
            Column(header="B wrote", cells=padded[1], left=True),
        ]
    )


def _first_lines(sample: str | None) -> list[str]:
    if sample is None:
        return ["(not to be read)"]
    lines = [
        line if len(line) <= _WIDEST_LINE else f"{line[:_WIDEST_LINE]} ..." for line in sample.strip().splitlines()
    ]
    return lines if len(lines) <= _LINES else [*lines[:_LINES], "..."]
