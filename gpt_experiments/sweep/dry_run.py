"""What a sweep would do and how long it would take, without doing it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.sweep.cost import estimate_seconds
from gpt_experiments.sweep.definition import SweepDefinition
from gpt_experiments.sweep.plan import PlannedTrial, Schedule
from gpt_experiments.sweep.runner import RunOptions, Staffing, staff
from gpt_experiments.sweep.search import make_search
from gpt_experiments.tracking import Store
from gpt_experiments.training import prepare_process


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """The planned trials, each with the seconds that it would take by itself (None when done), and the whole.

    Attributes:
        seconds: of the whole sweep, all workers at work.
        note: what the table cannot show; empty when there is nothing.
    """

    rows: tuple[tuple[PlannedTrial, float | None], ...]
    seconds: float
    staffing: Staffing
    note: str


def dry_run(
    definition: SweepDefinition, corpus: Corpus, options: RunOptions, tracking_uri: str | None, experiment: str
) -> DryRun:
    """Plan the sweep and time a few steps of it on this machine; neither store nor disk is written.

    Raises:
        ExperimentError: the device, the corpus or the store cannot serve the sweep.
    """
    corpus.require_context(definition.longest_context)
    store = None if options.force else Store.if_present(tracking_uri, experiment)
    finished = store.finished_trials() if store else {}
    schedule = Schedule(definition, corpus, finished, make_search(definition, {}))
    to_train = [p for p in schedule.planned if p.done is None]
    timed = [p.trial for p in to_train]
    note = ""
    if definition.learns:
        timed = [Trial(variant=definition.baseline, training=definition.training)] * schedule.total
        note = f"tpe chooses up to {schedule.total} trials as results come in; the baseline's time stands for each"
    staffing = staff(options, max(1, len(timed)))
    device = torch.device(staffing.device)
    prepare_process(device, staffing.threads)
    seconds = estimate_seconds(timed, corpus, device)
    by_cell = {p.cell: s for p, s in zip(to_train, seconds, strict=False)}
    return DryRun(
        rows=tuple((p, by_cell.get(p.cell)) for p in schedule.planned),
        seconds=max(sum(seconds) / staffing.workers, max(seconds, default=0.0)),
        staffing=staffing,
        note=note,
    )
