"""The rule by which processes of all hosts agree, through the store alone and without a lock, on who has a thing.

The thing is a cell or a sweep. Who wants it first opens a run that asks for it, and only then looks who else has a run
of it. It withdraws where another one holds the thing, or asks and has a smaller rank. It waits while others ask that
have a larger rank: each of them will withdraw, or has looked before this one asked, and holds it. Where there is
nobody else, it holds it. Of two that ask, the one that wrote later sees the other, so that never both hold it.

This is safe in a store that shows what has been written to whoever looks afterwards, as databases do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from mlflow import MlflowClient
from mlflow.entities import Run

from gpt_experiments import names


class Answer(Enum):
    """What follows for who asks."""

    HOLD = "hold"
    WAIT = "wait"  # until each of the others has withdrawn or holds
    WITHDRAW = "withdraw"


@dataclass(frozen=True, kw_only=True)
class Asker:
    """A run that asks for a cell or a sweep, or holds it.

    Attributes:
        asked_at: when it began, milliseconds since 1970; who asked first comes first.
    """

    run_id: str
    asked_at: int
    holds: bool
    owner: str = ""

    @property
    def rank(self) -> tuple[int, str]:
        return self.asked_at, self.run_id


def answer(mine: Asker, others: Iterable[Asker]) -> Answer:
    """What the run `mine` does, which asks, after it has seen the others; see the module."""
    waits = False
    for other in others:
        if other.holds or other.rank < mine.rank:
            return Answer.WITHDRAW
        waits = True
    return Answer.WAIT if waits else Answer.HOLD


def asker_of(run: Run) -> Asker:
    """The run as one that asks, or holds; a run of an earlier version, which did not ask, holds."""
    tags = run.data.tags
    return Asker(
        run_id=run.info.run_id,
        asked_at=run.info.start_time,
        holds=tags.get(names.CLAIM) != names.ASKED,
        owner=tags.get(names.OWNER, ""),
    )


def withdraw(client: MlflowClient, run_id: str) -> None:
    """End and delete a run that has asked in vain; it has held nothing, so nothing is lost."""
    client.set_terminated(run_id, "KILLED")
    client.delete_run(run_id)
