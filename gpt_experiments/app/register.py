"""`register`: the best model of a sweep to the model registry."""

from __future__ import annotations

from gpt_experiments.app.stores import existing_store
from gpt_experiments.models.registration import Registration, register_model


def register_best(
    reference: str | None, name: str, *, tracking_uri: str | None, experiment: str, force: bool = False
) -> Registration:
    """Register the best model of a sweep that is in a store, or the model of one run. See `register_model`.

    Raises:
        TrackingError: there is no such store, experiment, sweep or run.
    """
    return register_model(reference, existing_store(tracking_uri, experiment, "register"), name, force=force)
