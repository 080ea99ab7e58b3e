"""Finds what is left of trials that have not finished, so that they go on where they were, in the same runs."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import torch

from gpt_experiments import names
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import CheckpointError
from gpt_experiments.execution.protocol import Hardware
from gpt_experiments.records import PlannedTrial
from gpt_experiments.tracking import Store, provenance
from gpt_experiments.tracking.left_trials import LeftTrial, Logged, left_trials, logged_in, read_state
from gpt_experiments.training import TrialState, require_usable

_MOST_PAUSES: Final = 20  # in a tag, which holds 5,000 characters in every store
_MOST_SWEEPS: Final = 100


@dataclass(frozen=True, kw_only=True)
class GoingOn:
    """What a trial goes on from.

    Attributes:
        data: its state as a job has it.
        logged: what its run has already.
    """

    left: LeftTrial
    state: TrialState
    data: bytes
    logged: Logged

    def tags(self, hardware: str, parent_run_id: str | None) -> dict[str, str]:
        """What its run is marked with now that it goes on, on that hardware and for the sweep of that run, if any."""
        commit = provenance.git_commit()
        here = {"step": self.state.step, "host": platform.node(), "hardware": hardware, "commit": commit}
        pauses = json.dumps([*self.left.pauses, here][-_MOST_PAUSES:])
        sweeps = self.left.sweeps or tuple(filter(None, [self.left.parent_run_id]))
        if parent_run_id is None or parent_run_id in sweeps:
            return {names.CONTINUED: pauses}
        return {names.CONTINUED: pauses, names.SWEEPS: " ".join([*sweeps, parent_run_id][-_MOST_SWEEPS:])}


class LeftTrials:
    """The trials of a store that have not finished and are not under way.

    Args:
        notice: gets a sentence about each whose state is of no use; it begins anew.
    """

    def __init__(self, store: Store, corpus: Corpus, hardware: Hardware, notice: Callable[[str], None]) -> None:
        self._store, self._corpus, self._notice = store, corpus, notice
        self._device = torch.device(hardware.device)

    def find(self, trials: Iterable[PlannedTrial]) -> dict[str, GoingOn]:
        """Those of the trials that go on, by cell.

        Raises:
            TrackingError: the store fails.
        """
        left = left_trials(self._store)
        found: dict[str, GoingOn] = {}
        for planned in trials:
            if planned.cell not in left:
                continue
            try:
                found[planned.cell] = self._read(planned, left[planned.cell])
            except CheckpointError as error:
                self._notice(f"{planned.name}: {error}")
        return found

    def _read(self, planned: PlannedTrial, left: LeftTrial) -> GoingOn:
        data = read_state(self._store, left)
        if data is None:
            raise CheckpointError("its saved state is gone; the trial begins anew")
        state = TrialState.from_bytes(data)
        require_usable(state, planned.trial, self._corpus.vocab_size, self._device)
        return GoingOn(left=left, state=state, data=data, logged=logged_in(self._store, left.run_id))
