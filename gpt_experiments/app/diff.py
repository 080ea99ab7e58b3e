"""`diff`: what differs between two trials, or between two sweeps."""

from __future__ import annotations

from pathlib import Path

from gpt_experiments.analysis.comparison import TrialDiff, compare_trials
from gpt_experiments.analysis.sweep_comparison import SweepDiff, compare_sweeps
from gpt_experiments.app.stores import existing_store
from gpt_experiments.errors import ConfigError
from gpt_experiments.report.comparison import sweeps_document, trials_document
from gpt_experiments.report.write import write_page
from gpt_experiments.tracking.reader import read_sweep
from gpt_experiments.tracking.references import StoredRun, facts_of_trials, find_trial_or_sweep
from gpt_experiments.tracking.trial_reader import read_trial


def diff_runs(a: str, b: str, *, tracking_uri: str | None, experiment: str) -> TrialDiff | SweepDiff:
    """Compare two trials, or two sweeps, that are in a store.

    Args:
        a, b: a run's id, a sweep's name, or the name of a trial's run.

    Raises:
        ConfigError: one is a trial and the other a sweep.
        TrackingError: there is no such store, experiment, run or sweep, or a sweep has no finished trial.
    """
    store = existing_store(tracking_uri, experiment, "compare")
    one, other = find_trial_or_sweep(store, a), find_trial_or_sweep(store, b)
    if one.kind != other.kind:
        raise ConfigError(
            f"{a} is a {one.kind} and {b} is a {other.kind}; give two trials, or two sweeps, as only those can be "
            "compared"
        )
    if one.kind == "trial":
        return compare_trials(read_trial(one.store, one.run), read_trial(other.store, other.run))
    return _diff_sweeps(one, other)


def _diff_sweeps(one: StoredRun, other: StoredRun) -> SweepDiff:
    a, b = (read_sweep(side.store, side.run.info.run_id).compared for side in (one, other))
    of_a = facts_of_trials(one.store, list(a.finished["run_id"]))
    of_b = facts_of_trials(other.store, list(b.finished["run_id"]))
    return compare_sweeps(a, b, of_a, of_b)


def write_diff(found: TrialDiff | SweepDiff, file: Path) -> None:
    """Write the comparison as one page that refers to nothing outside itself."""
    document = trials_document(found) if isinstance(found, TrialDiff) else sweeps_document(found)
    write_page(document, file)
