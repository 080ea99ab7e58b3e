"""The store that a command reads from."""

from __future__ import annotations

from gpt_experiments.errors import TrackingError
from gpt_experiments.tracking import Store


def existing_store(tracking_uri: str | None, experiment: str, purpose: str) -> Store:
    """Open the store, which must have the experiment already.

    Args:
        purpose: the verb in the error message, such as `report`.

    Raises:
        TrackingError: there is no such store, or no such experiment in it.
    """
    store = Store.if_present(tracking_uri, experiment, repair=True)
    if store is None:
        raise TrackingError(
            f"there is nothing to {purpose}: no experiment {experiment!r} in {tracking_uri or 'the tracking store'}; "
            "run a sweep first, or correct --experiment, --tracking-uri or MLFLOW_TRACKING_URI"
        )
    return store
