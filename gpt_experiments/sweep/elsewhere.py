"""The trials of a sweep that other processes train: looked at now and then, and named to the user once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from gpt_experiments.records import PlannedTrial
from gpt_experiments.tracking import Claims, Others

_PAUSE_FOR_A_LOOK: Final = 20  # times as long as the look took
_SECONDS_BETWEEN_LOOKS: Final = 2.0


class Elsewhere:
    """Waits for trials that other processes train.

    Attributes:
        trials: those that are waited for.
        claims: what the store says of the others.
    """

    def __init__(self, claims: Claims, notice: Callable[[str], None]) -> None:
        self.trials: list[PlannedTrial] = []
        self.claims, self._notice = claims, notice
        self._look_at = 0.0
        self._named: set[str] = set()  # processes

    @property
    def is_due(self) -> bool:
        """Whether the others should be looked at again."""
        return bool(self.trials) and time.monotonic() > self._look_at

    def look(self, trials: Sequence[PlannedTrial]) -> Others:
        """What the others do with these trials.

        Raises:
            StoreAwayError: they cannot be asked.
        """
        began = time.monotonic()
        self._look_at = began + _SECONDS_BETWEEN_LOOKS
        others = self.claims.look([planned.cell for planned in trials])
        self._look_at += _PAUSE_FOR_A_LOOK * (time.monotonic() - began)  # many that wait must not keep a store busy
        return others

    def name(self, trials: Iterable[PlannedTrial], others: Others) -> None:
        """Say, once for each process, that this sweep waits for its results."""
        for planned in trials:
            process = others.training.get(planned.cell)
            if process is not None and process not in self._named:
                self._named.add(process)
                self._notice(
                    f"{process} also trains trials of this sweep, such as {planned.name}; "
                    "they are not trained twice: this sweep waits for their results"
                )
