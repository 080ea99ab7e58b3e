"""The levels of one parameter, as a list or a range, and which of them can meet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from gpt_experiments.errors import ConfigError, shown
from gpt_experiments.parameters import PARAMETERS, check_value, is_finite_number

Level = int | float
MOST_LEVELS: Final = 1_000
_MOST_LISTED: Final = 8  # numbers in a message


@dataclass(frozen=True, kw_only=True)
class Range:
    """Levels from `low` to `high`, both included: every `step`, or anywhere between, evenly on a log scale if `log`.

    Raises:
        ConfigError: the bounds are in the wrong order, or step and log do not fit them.
    """

    low: Level
    high: Level
    step: Level | None = None
    log: bool = False

    def __post_init__(self) -> None:
        for name in ("low", "high", "step"):
            value = getattr(self, name)
            if not is_finite_number(value) and not (name == "step" and value is None):
                raise ConfigError(f"{name} must be a finite number, but got {shown(value)}")
        if not isinstance(self.log, bool):
            raise ConfigError(f"log must be true or false, but got {shown(self.log)}")
        if self.low >= self.high:
            raise ConfigError(
                f"low must be below high, but got low={shown(self.low)} and high={shown(self.high)}; for one level "
                "write a list"
            )
        if self.step is not None and not 0 < self.step <= self.high - self.low:
            rule = "positive" if self.step <= 0 else "at most high - low"
            raise ConfigError(f"step must be {rule}, but got {shown(self.step)}")
        if self.log and (self.step is not None or self.low <= 0):
            raise ConfigError("log needs a positive low and no step")

    def whole_numbers(self) -> range:
        """The values of a parameter that is a whole number."""
        return range(int(self.low), int(self.high) + 1, int(self.step or 1))


def check_levels(name: str, levels: tuple[Level, ...] | Range) -> None:
    """Raise a ConfigError for a level that no variant can have, a repeated one, or a range that does not fit."""
    if isinstance(levels, Range):
        for bound in ("low", "high", "step"):
            if PARAMETERS[name].kind is int and isinstance(getattr(levels, bound), float):
                raise ConfigError(f"{bound} must be a whole number, but got {shown(getattr(levels, bound))}")
        tried: tuple[Level, ...] = (levels.low, levels.high)
    else:
        tried = levels
    if not tried:
        raise ConfigError("has no levels; list at least one, or leave it out")
    if len(tried) > MOST_LEVELS:
        raise ConfigError(f"has {len(tried):,} levels, but may have at most {MOST_LEVELS:,}; list fewer")
    seen: set[Level] = set()
    for level in tried:
        check_value(name, level)
        if level in seen:
            raise ConfigError(f"level {shown(level)} is listed twice; keep one")
        seen.add(level)


def check_divisible(heads: Sequence[int], widths: Sequence[int], method: str, *, may_skip: bool) -> None:
    """Raise a ConfigError that says which widths cannot be split over which numbers of heads, if any of them meet.

    Args:
        may_skip: whether the user can have such pairs left out.
    """
    common = math.lcm(*heads)
    wrong = []
    for width in widths:
        if width % common:
            wrong.append(f"n_embed={width} is not divisible by n_head={_listed(h for h in heads if width % h)}")
        if len(wrong) == 2:  # enough to see what is wrong
            break
    if not wrong:
        return
    fitting = [h for h in heads if math.gcd(*widths) % h == 0]
    remedy = f"keep n_head={_listed(fitting)}" if fitting else "change one of the two"
    skip = ", or set skip_indivisible: true to leave such pairs out" if may_skip else ""
    raise ConfigError(f"{', '.join(wrong)}, and {method} combines them; {remedy}{skip}", field="levels")


def dividing_pairs(heads: Sequence[int], widths: Sequence[int]) -> int:
    """How many pairs have a width that is divisible by the number of heads."""
    return sum(width % n_head == 0 for n_head in heads for width in widths)


def _listed(numbers: Iterable[int]) -> str:
    given = [str(number) for number in numbers]
    return ", ".join(given[:_MOST_LISTED] + ["..."] * (len(given) > _MOST_LISTED))
