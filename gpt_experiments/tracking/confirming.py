"""Marks in the runs of trials on fresh seeds which sweep's choice they confirm, so that they can be found by it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gpt_experiments import names
from gpt_experiments.tracking.failures import as_tracking_errors
from gpt_experiments.tracking.store import Store

_MOST_MARKS: Final = 100  # run ids in a tag, which holds 5,000 characters in every store


def mark_confirming(store: Store, run_ids: Iterable[str], confirmed: str) -> None:
    """Add the run `confirmed`, of a sweep or a trial, to the marks of runs that may have others already.

    Raises:
        TrackingError: the store fails.
    """
    with as_tracking_errors(store.uri):
        for run_id in run_ids:
            marks = store.client.get_run(run_id).data.tags.get(names.CONFIRMS, "").split()
            if confirmed not in marks:
                store.client.set_tag(run_id, names.CONFIRMS, " ".join([*marks, confirmed][-_MOST_MARKS:]))
