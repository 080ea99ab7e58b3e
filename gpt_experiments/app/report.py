"""`report`: what a sweep found, and how sure we are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gpt_experiments.app.stores import existing_store
from gpt_experiments.report import write_report
from gpt_experiments.report.write import ReportFiles


def report_sweep(
    reference: str | None,
    folder: Path | None,
    *,
    tracking_uri: str | None,
    experiment: str,
    attention: Sequence[str] = (),
    pretrained: Sequence[str] = (),
    margin: float | None = None,
) -> ReportFiles:
    """Make the report of a sweep that is in a store. See `write_report`.

    Raises:
        ConfigError: the margin is not positive, or not that with which the sweep was trained until it was decided.
        TrackingError: there is no such store, experiment or sweep, or the sweep has no finished trial.
    """
    store = existing_store(tracking_uri, experiment, "report")
    return write_report(store, reference, folder, attention=attention, pretrained=pretrained, margin=margin)
