"""How the loss falls with the number of characters that a model has seen, with its noise, and fair between contexts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from gpt_experiments.analysis.estimate import LEVEL

PART: Final = 20
"""Neighbouring positions are pooled until the standard error of their loss is one in so many parts of its range."""

_FEWEST: Final = 8  # stretches of text; fewer say nothing about the noise
_COLUMNS: Final = ["level", "first", "last", "sees_all", "loss", "low", "high", "difference", "less", "more"]

Losses = NDArray[np.floating]


def same_characters(losses: Mapping[float, Sequence[Losses]], base: float) -> pd.DataFrame:
    """The loss of each context by position, every context on the same characters of the text.

    The text is read in stretches as long as the longest context, as the model with that context reads it. A position is
    that of a character in its stretch, so it says what the longest context has seen. A shorter one that divides it has
    seen as much up to its own length; beyond, it predicts the same characters from fewer before them.

    Neighbouring positions are pooled, in steps of about the square root of 2, until the standard error of each
    context's mean is at most 1/PART of the range of the means, and never across the end of a context. The errors are
    those of Student's t over stretches of text, as neighbouring losses are not independent: another text would move the
    loss by so much. Differences are paired by stretch, so the noise that a hard passage is to both contexts cancels.

    Args:
        losses: for each block_size the losses of all characters in their order, one array a seed; the arrays have one
            length. Their mean over seeds is taken.
        base: the block_size that the others are compared with.

    Returns:
        one row for each block_size (`level`) and pool, whose positions are `first` to `last` (1 has seen one
        character): `sees_all`, whether the level sees all of those characters, `loss` with its 95 % interval from `low`
        to `high`, and `difference` to the base on the same characters, from `less` to `more`, NaN for the base itself.
        No row where the text is too short.
    """
    longest = int(max(losses))
    stretches = min(len(each) for of_level in losses.values() for each in of_level) // longest
    if stretches < _FEWEST:
        return pd.DataFrame(columns=_COLUMNS)
    tables = {
        level: np.mean(
            [each[: stretches * longest].astype(float).reshape(stretches, longest) for each in of_level], axis=0
        )
        for level, of_level in losses.items()
    }  # (stretches, positions)
    fine = _edges(longest, [int(level) for level in losses])
    edges = _pooled(list(tables.values()), fine, {int(level) for level in losses})
    pools = {level: _means(table, edges) for level, table in tables.items()}  # (stretches, pools)
    rows = []
    for level, of_level in pools.items():
        mean, half = _with_interval(of_level)
        difference, spread = (
            _with_interval(of_level - pools[base]) if level != base else (np.full_like(mean, np.nan),) * 2
        )
        for i, (first, end) in enumerate(itertools.pairwise(edges)):
            rows.append(
                {
                    "level": level,
                    "first": first,
                    "last": end - 1,
                    "sees_all": longest % int(level) == 0 and end - 1 <= level,
                    "loss": mean[i],
                    "low": mean[i] - half[i],
                    "high": mean[i] + half[i],
                    "difference": difference[i],
                    "less": difference[i] - spread[i],
                    "more": difference[i] + spread[i],
                }
            )
    return pd.DataFrame(rows, columns=_COLUMNS)


def own_characters(means: Mapping[float, NDArray[np.floating]]) -> pd.DataFrame:
    """What `same_characters` returns, from the means by position alone: each context on windows of its own.

    Its noise is read off the curve: a curve that falls smoothly differs between neighbours by noise alone (Rice 1984,
    "Bandwidth choice for nonparametric regression"); the first quarter, which is steep, is not taken. There are no
    differences: the contexts were not measured on the same characters at a position. No interval below 16 positions.

    Args:
        means: for each block_size the mean loss by position, over windows and seeds.
    """
    known = {level: mean for level, mean in means.items() if len(mean)}
    errors = {level: _error_of_one(mean) for level, mean in known.items()}
    rows = []
    coarse = {level: _means(mean[None], _edges(len(mean), [], finer=1)) for level, mean in known.items()}
    spread = max(float(np.ptp(of_level)) for of_level in coarse.values())
    for level, mean in known.items():
        fine, error = _edges(len(mean), []), errors[level]
        edges, start = [1], 1
        for end in fine[1:]:
            if math.isnan(error) or error / math.sqrt(end - start) <= spread / PART or end == fine[-1]:
                edges.append(end)
                start = end
        for first, end in itertools.pairwise(edges):
            loss = float(mean[first - 1 : end - 1].mean())
            half = float(stats.norm.ppf(1 - LEVEL / 2)) * error / math.sqrt(end - first)
            rows.append((level, first, end - 1, True, loss, loss - half, loss + half, *[math.nan] * 3))
    return pd.DataFrame(rows, columns=_COLUMNS)


def _error_of_one(mean: NDArray[np.floating]) -> float:
    """The standard error of one position's mean, from differences between neighbours."""
    if len(mean) < 16:
        return math.nan
    return float(math.sqrt(np.mean(np.diff(mean[len(mean) // 4 :]) ** 2) / 2))


def _edges(longest: int, levels: Sequence[int], finer: int = 2) -> list[int]:
    """First positions of pools, in `finer` steps for each doubling, and one past the last position.

    A step that would leave less than half of itself before the end is left out.
    """
    powers = range(finer * math.ceil(math.log2(longest + 1)) + 1)
    starts = {round(2 ** (power / finer)) + 1 for power in powers}  # a pool ends at each power of 2
    least = 1 + (2 ** (1 / finer) - 1) / 2
    return sorted({1, longest + 1, *(level + 1 for level in levels), *(s for s in starts if s * least <= longest + 1)})


def _pooled(tables: Sequence[NDArray[np.floating]], fine: Sequence[int], ends: set[int]) -> list[int]:
    """The edges that are left when neighbours are pooled."""
    coarse = _edges(fine[-1] - 1, [], finer=1)
    limit = float(np.ptp(np.concatenate([_means(table, coarse).mean(axis=0) for table in tables]))) / PART
    edges, start = [fine[0]], fine[0]
    for end in fine[1:]:
        error = max(_error(table[:, start - 1 : end - 1].mean(axis=1)) for table in tables)
        if error <= limit or end - 1 in ends:
            edges.append(end)
            start = end
    return edges


def _means(table: NDArray[np.floating], edges: Sequence[int]) -> NDArray[np.floating]:
    """(stretches, positions) to (stretches, pools)."""
    return np.stack([table[:, first - 1 : end - 1].mean(axis=1) for first, end in itertools.pairwise(edges)], axis=1)


def _error(values: NDArray[np.floating]) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values)))


def _with_interval(values: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Means (pools,) of (stretches, pools), and half widths of their intervals."""
    count = len(values)
    quantile = float(stats.t.ppf(1 - LEVEL / 2, count - 1))
    return values.mean(axis=0), quantile * values.std(axis=0, ddof=1) / math.sqrt(count)
