"""Which values of each parameter a page offers for predictions: levels that were tried, and some between them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd

from gpt_experiments.analysis.prediction import as_level, goes_by_ratio
from gpt_experiments.config import Variant
from gpt_experiments.parameters import PARAMETERS

Level = int | float

MOST_ROWS: Final = 16_000
"""No table has more combinations."""

_MOST_VALUES: Final = 40  # of one parameter, for a reader
_NEAR: Final = 1.2  # a value between may be this many times its middle, or this part of it, to be a rounder number


def offered_values(levels: Mapping[str, Sequence[float]], baseline: Variant) -> dict[str, list[Level]]:
    """The values of each parameter, rising, so that all combinations are at most MOST_ROWS.

    Args:
        levels: that were tried, rising. All are offered where they are few, and of two neighbours the value in the
            middle. Of many, as many are offered as there is room for, evenly from the lowest to the highest.
    """
    most = _room({name: len(given) for name, given in levels.items()})
    heads = [int(level) for level in levels.get("n_head", [baseline.shape.n_head])]
    widths = [int(level) for level in levels.get("n_embed", [baseline.shape.n_embed])]
    offered = {name: _thinned(name, given, most[name]) for name, given in levels.items()}
    for name in sorted(offered, key=lambda name: len(offered[name])):
        fuller = _with_middles(name, offered[name], heads, widths)
        others = math.prod(len(values) for other, values in offered.items() if other != name)
        if len(fuller) * others <= MOST_ROWS and len(fuller) <= _MOST_VALUES:
            offered[name] = fuller
    return offered


def combinations(offered: Mapping[str, Sequence[Level]]) -> pd.DataFrame:
    """Every combination, the last parameter fastest: one row each."""
    return pd.DataFrame(itertools.product(*offered.values()), columns=list(offered))


def is_trainable(values: pd.DataFrame, baseline: Variant) -> pd.Series:
    """Whether the heads divide the width in each row; a parameter without a column is the baseline's."""
    heads = values.get("n_head", baseline.shape.n_head)
    widths = values.get("n_embed", baseline.shape.n_embed)
    return pd.Series(np.asarray(widths) % np.asarray(heads) == 0, index=values.index)


def _room(counts: Mapping[str, int]) -> dict[str, int]:
    """How many values of each parameter fit: the most numerous ones give way first."""
    most = {name: min(count, _MOST_VALUES) for name, count in counts.items()}
    while math.prod(most.values()) > MOST_ROWS:
        fullest = max(most, key=lambda name: most[name])
        most[fullest] -= 1
    return most


def _thinned(name: str, levels: Sequence[float], most: int) -> list[Level]:
    """At most that many of the levels, with the lowest and the highest."""
    places = np.unique(np.linspace(0, len(levels) - 1, min(most, len(levels))).round().astype(int))
    return [as_level(name, levels[place]) for place in places]


def _with_middles(name: str, values: Sequence[Level], heads: Sequence[int], widths: Sequence[int]) -> list[Level]:
    between = [_middle(name, low, high, heads, widths) for low, high in itertools.pairwise(values)]
    return sorted({*values, *(value for value in between if value is not None)})


def _middle(name: str, low: Level, high: Level, heads: Sequence[int], widths: Sequence[int]) -> Level | None:
    """A round value near the middle of two neighbours; None where there is none that can be trained."""
    middle = math.sqrt(low * high) if goes_by_ratio(name, low) else (low + high) / 2
    if PARAMETERS[name].kind is float:
        rounded = float(f"{middle:.2g}")
        return rounded if low < rounded < high else None
    near = range(max(int(low) + 1, math.ceil(middle / _NEAR)), min(int(high) - 1, math.floor(middle * _NEAR)) + 1)
    if name == "n_embed":
        fitting = [value for value in near if value % math.lcm(*heads) == 0]
    elif name == "n_head":
        fitting = [value for value in near if any(width % value == 0 for width in widths)]
    else:
        fitting = list(near)
    return max(fitting, key=lambda value: (value & -value, -abs(value - middle)), default=None)
