"""How many inputs a fuzzer tries: few in a run of the tests, more where GPT_EXPERIMENTS_FUZZ says how many."""

from __future__ import annotations

import os
from typing import Final

from hypothesis import HealthCheck, settings

LONGEST_MESSAGE: Final = 1_000
"""Characters. Most messages have less than 300; those that list what may be chosen have more."""


def fuzzed(few: int) -> settings:
    """Settings for a fuzzer that tries `few` inputs unless the environment asks for another number."""
    return settings(
        max_examples=int(os.environ.get("GPT_EXPERIMENTS_FUZZ", few)),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
    )
