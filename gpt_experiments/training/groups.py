"""Which trials may train together as one batched model."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final

from gpt_experiments.config import Trial
from gpt_experiments.errors import ConfigError
from gpt_experiments.parameters import PARAMETERS

_MAY_DIFFER: Final = ("seed", *(name for name, declared in PARAMETERS.items() if declared.may_differ))


def group_key(trial: Trial) -> Hashable:
    """The values that trials that train together share: everything but seed, dropout and learning_rate."""
    return tuple(sorted(_shared(trial).items()))


def require_one_group(trials: Sequence[Trial]) -> None:
    """Raise a ConfigError unless there is a trial, and all of them have one key."""
    if not trials:
        raise ConfigError("a group has no trials; it needs at least one")
    first = _shared(trials[0])
    for trial in trials[1:]:
        for name, value in _shared(trial).items():
            if value != first[name]:
                raise ConfigError(
                    f"trials with {name}={first[name]} and {name}={value} cannot train in one group; "
                    f"only {', '.join(_MAY_DIFFER)} may differ; group them by group_key"
                )


def _shared(trial: Trial) -> dict[str, object]:
    return {name: value for name, value in trial.variant.values().items() if name not in _MAY_DIFFER}
