"""`ui`: MLflow's pages, open on the comparison."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gpt_experiments.app.stores import existing_store
from gpt_experiments.tracking import Store
from gpt_experiments.tracking.pages import keep_views, page_address
from gpt_experiments.tracking.server import PageServer, served_address
from gpt_experiments.tracking.sweep_record import find_sweep

_BETWEEN_LOOKS: Final = 0.3  # seconds


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is to be shown, and where.

    Attributes:
        run_id: that of the sweep; None for the whole experiment.
        served_at: the server that shows it already; None where the store is a database.
    """

    store: Store
    run_id: str | None
    served_at: str | None

    def address(self, server: str) -> str:
        """The address of the comparison on that server's pages."""
        return page_address(server, self.store.experiment, self.run_id)


def find_comparison(
    reference: str | None, *, tracking_uri: str | None, experiment: str, notice: Callable[[str], None]
) -> Comparison:
    """Find what is to be shown, and write the saved views that are missing.

    Args:
        reference: a sweep's name or run id; None shows the whole experiment.
        notice: gets a sentence where the views cannot be written.

    Raises:
        TrackingError: there is no such store, experiment or sweep, or MLflow cannot show the store.
    """
    store = existing_store(tracking_uri, experiment, "show")
    run_id = find_sweep(store, reference).info.run_id if reference else None
    served_at = served_address(store.uri)
    keep_views(store, run_id, notice=notice)
    return Comparison(store=store, run_id=run_id, served_at=served_at)


def serve(
    comparison: Comparison,
    *,
    host: str,
    port: int,
    when_ready: Callable[[str], None],
    must_stop: Callable[[], bool],
) -> bool:
    """Run MLflow's server until `must_stop` says so; returns whether its pages could be opened by then.

    Args:
        when_ready: gets the comparison's address once it can be opened.

    Raises:
        TrackingError: nothing can listen there, or the server does not start, or ends by itself.
    """
    with PageServer(comparison.store.uri, host, port) as server:
        if not server.wait_until_it_answers(must_stop):
            return False
        when_ready(comparison.address(server.address))
        while not must_stop():
            server.require_alive()
            time.sleep(_BETWEEN_LOOKS)
    return True
