"""Finds which cells are finished, by asking the store for those alone that a sweep needs.

MLflow's search knows no list of values, and no index of values: a search by a tag reads every run that has the tag. So
a run has its cell also in a tag that only every 256th run has, see `schema.shelf_of`. What one search costs, and what a
run that it returns, is in `benchmarks/store-size.md`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from mlflow.entities import Run

from gpt_experiments import names
from gpt_experiments.records import FinishedTrial
from gpt_experiments.tracking.schema import shelf_of
from gpt_experiments.tracking.store import FinishedTrials, Store

_RUNS_FOR_A_SEARCH: Final = 2  # which take as long to read as one search by cell
_LEAST_PAGE: Final = 100  # runs
_MOST_IN_A_PAGE: Final = 1000  # runs; a page and no more is in memory at a time
_FINISHED: Final = "attributes.status = 'FINISHED'"  # alone: with a tag the same search takes three times as long


class FinishedRuns:
    """Finds the finished runs of cells, in whichever way takes less: all at once, or by cell."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._all: list[Run] | None = None
        self._has_earlier: bool | None = None  # whether the store has runs of versions that knew no shelves

    def of(self, cells: Collection[str]) -> list[Run]:
        """The finished runs of these cells; those of one cell come newest first."""
        wanted = set(cells)
        if not wanted:
            return []
        if self._all is None:
            at_most = min(_MOST_IN_A_PAGE, max(_LEAST_PAGE, _RUNS_FOR_A_SEARCH * len(wanted)))
            runs, is_all = self._store.first_page(_FINISHED, at_most)
            self._all = runs if is_all else None
        if self._all is not None:
            return [run for run in self._all if run.data.tags.get(names.CELL) in wanted]
        return [run for cell in sorted(wanted) for run in self._of(cell)]

    def _of(self, cell: str) -> list[Run]:
        if self._has_earlier is None:
            oldest = self._store.oldest(_FINISHED)
            self._has_earlier = oldest is not None and names.HEARTBEAT not in oldest.data.tags
        tag = names.CELL if self._has_earlier else shelf_of(cell)
        return self._store.search(f"tags.`{tag}` = '{cell}' and {_FINISHED}")


class FinishedCells:
    """The finished trials of those cells that were asked for.

    Attributes:
        by_cell: what has been found, by cell; it grows with `ask`.

    Args:
        store: where to look; None finds nothing.
    """

    def __init__(self, store: Store | None) -> None:
        self.by_cell: dict[str, FinishedTrial] = {}
        self._store = store
        self._runs = FinishedRuns(store) if store else None
        self._lost: set[str] = set()
        self._known: set[str] = set()

    @property
    def found(self) -> FinishedTrials:
        """What has been found so far."""
        location = self._store.experiment.artifact_location if self._store else ""
        return FinishedTrials(by_cell=self.by_cell, lost=frozenset(self._lost - self.by_cell.keys()), location=location)

    def ask(self, cells: Iterable[str]) -> None:
        """Find the newest finished run of each of the cells, where there is one that has its checkpoint."""
        wanted = set(cells) - self._known
        self._known |= wanted
        if self._runs is not None:
            self._take(self._runs.of(wanted))

    def read_all(self, corpus_digest: str) -> None:
        """Find every finished trial on that corpus, page by page; an adaptive method learns from all of them."""
        if self._store is not None:
            for page in pages(self._store, f"{_FINISHED} and tags.`{names.CORPUS_DIGEST}` = '{corpus_digest}'"):
                self._take(page)
            self._known |= self.by_cell.keys() | self._lost

    def _take(self, runs: Sequence[Run]) -> None:
        if self._store is None or not runs:
            return
        found = self._store.finished_among(runs)
        self._lost |= found.lost
        for cell, trial in found.by_cell.items():
            self.by_cell.setdefault(cell, trial)


def pages(store: Store, condition: str, most: int = _MOST_IN_A_PAGE) -> Iterator[list[Run]]:
    """The active runs of the experiment that meet `condition`, newest first, at most so many at a time."""
    token: str | None = None
    while True:
        runs, token = store.page(condition, most, token)
        yield runs
        if not token:
            return
