"""The seeds of a sweep: a number of them, or a list."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Final

from gpt_experiments import names
from gpt_experiments.errors import ConfigError, shown
from gpt_experiments.parameters import check_value

MOST_SEEDS: Final = 1_000
MOST_SEEDS_LOOKED_AT: Final = 12
"""The most seeds of a sweep that trains until it is decided, if nobody says another number."""


def first_seeds(count: int) -> tuple[int, ...]:
    """The first `count` seeds: 1337, 1338, ...

    Raises:
        ConfigError: the count is not a whole number from 1 to 1,000.
    """
    return so_many_seeds((), count)


def so_many_seeds(given: Sequence[int], count: int) -> tuple[int, ...]:
    """The first `count` of the given seeds, then as many others from 1337 on as are missing."""
    check_count("seeds", count, MOST_SEEDS)
    others = (seed for seed in itertools.count(names.DEFAULT_SEED) if seed not in given)
    return tuple(itertools.islice(itertools.chain(given, others), count))


def check_seeds(seeds: Any) -> tuple[int, ...]:
    """The seeds of a list or tuple.

    Raises:
        ConfigError: there is none, one that a trial cannot have, a repeated one, or more than 1,000.
    """
    if not isinstance(seeds, list | tuple) or not seeds:
        raise ConfigError(
            f"seeds must be a number of seeds or a list of them, as [1, 2, 3], but got {shown(seeds)}", field="seeds"
        )
    if len(seeds) > MOST_SEEDS:
        raise ConfigError(f"seeds may be at most {MOST_SEEDS:,}, but are {len(seeds):,}; list fewer", field="seeds")
    seen: set[int] = set()
    for seed in seeds:
        check_value("seed", seed)
        if seed in seen:
            raise ConfigError(f"seed {seed} is listed twice; keep one", field="seeds")
        seen.add(seed)
    return tuple(seeds)


def check_count(name: str, value: Any, most: int) -> None:
    """Raise a ConfigError unless the value of that field is a whole number from 1 to `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} must be a whole number of at least 1, but got {shown(value)}", field=name)
    if value > most:
        raise ConfigError(f"{name} must be at most {most:,}, but got {shown(value)}; give a smaller one", field=name)
