"""What a sweep would do and how long it would take, without doing it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import ConfigError
from gpt_experiments.execution.protocol import Hardware
from gpt_experiments.records import PlannedTrial
from gpt_experiments.sweep.cost import estimate_seconds
from gpt_experiments.sweep.definition import SweepDefinition
from gpt_experiments.sweep.grouping import form_groups
from gpt_experiments.sweep.plan import lost_notice, make_schedule, sweep_key
from gpt_experiments.sweep.resources import RunOptions, find_hardware, group_limit
from gpt_experiments.tracking import Store
from gpt_experiments.tracking.finished import FinishedCells
from gpt_experiments.training import prepare_process


@dataclass(frozen=True, kw_only=True)
class PlannedRow:
    """A planned trial with its time and group, which are None if it is done, or was stopped before.

    Attributes:
        seconds: its share of the time that its group takes by itself.
        group: which of the groups it trains in, counted from 1 in the order of starting.
    """

    planned: PlannedTrial
    seconds: float | None
    group: int | None


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """The planned trials, and what the whole sweep takes.

    Attributes:
        rows: the trials that are known in advance.
        to_choose: how many more follow from results, at most: the method chooses them, or a further stage trains them.
        seconds: time of the whole sweep, with all workers.
        groups: how many trials train as one, for each group.
        notices: what the table cannot show, a sentence each.
    """

    rows: tuple[PlannedRow, ...]
    to_choose: int
    seconds: float
    groups: tuple[int, ...]
    hardware: Hardware
    notices: tuple[str, ...]

    @property
    def done(self) -> int:
        """How many of the known trials have a result."""
        return sum(row.planned.done is not None for row in self.rows)

    @property
    def stopped(self) -> int:
        """How many of them the sweep's pruner has stopped before."""
        return sum(row.planned.stopped is not None for row in self.rows)

    @property
    def to_train(self) -> int:
        """How many of them are neither."""
        return len(self.rows) - self.done - self.stopped


def dry_run(
    definition: SweepDefinition, corpus: Corpus, options: RunOptions, tracking_uri: str | None, experiment: str
) -> DryRun:
    """Plan the sweep and time a few steps of it on this machine; neither store nor disk is written.

    Raises:
        ExperimentError: the device, the corpus or the store cannot be used for the sweep.
    """
    if options.address is not None:
        raise ConfigError("--dry-run times a few steps on this machine, so it cannot tell of a cluster; omit --address")
    corpus.require_context(definition.longest_context)
    definition.require_steps(corpus.vocab_size)
    store = Store.if_present(tracking_uri, experiment)
    finished = FinishedCells(None if options.force else store)
    if definition.rules.is_adaptive:
        finished.read_all(corpus.digest)
    key = sweep_key(definition, corpus)
    earlier_plan = store.earlier_plan(key) if store and definition.rules.is_adaptive else None
    pruner = None if options.force else definition.pruner
    stopped = store.stopped_trials(key, pruner) if store and pruner else {}
    schedule = make_schedule(definition, corpus, finished.by_cell, earlier_plan, stopped=stopped, look_up=finished.ask)
    unknown = schedule.total - len(schedule.planned)  # trials that the method will choose
    to_train = unknown + sum(p.needs_training for p in schedule.planned)
    hardware = find_hardware(options, max(1, to_train))
    limit = group_limit(options, hardware, corpus.vocab_size)
    schedule.form_groups(limit, hardware.workers)
    planned = [group for group in schedule.groups if group[0].needs_training]
    timed, notices = [tuple(p.trial for p in group) for group in planned], lost_notice(schedule.planned, finished.found)
    if unknown and definition.rules.is_adaptive:
        timed += _groups_of_adaptive(definition, unknown, limit)
        more = "more " if schedule.planned else ""
        chooses = f"{definition.method} chooses up to {unknown} {more}trials as results come in"
        notices += [f"{chooses}; the estimate takes the baseline's time for each"]
    elif unknown:
        timed += _groups_of_later_stages(schedule.planned, unknown, limit)
        notices += [f"up to {unknown} more trials follow from the results of these; the estimate takes their times"]
    device = torch.device(hardware.device)
    prepare_process(device, hardware.threads)
    seconds = estimate_seconds(timed, corpus, device)
    in_group = {p.cell: number for number, group in enumerate(planned, start=1) for p in group}
    shares = {p.cell: s / len(group) for group, s in zip(planned, seconds, strict=False) for p in group}
    return DryRun(
        rows=tuple(
            PlannedRow(planned=p, seconds=shares.get(p.cell), group=in_group.get(p.cell)) for p in schedule.planned
        ),
        to_choose=unknown,
        seconds=max(sum(seconds) / hardware.workers, max(seconds, default=0.0)),
        groups=tuple(len(group) for group in timed),
        hardware=hardware,
        notices=tuple(notices),
    )


def _groups_of_adaptive(
    definition: SweepDefinition, trials: int, limit: Callable[[Trial], int]
) -> list[tuple[Trial, ...]]:
    """Stand-ins for the groups of an adaptive method: the baseline's seeds, once for each variant to try."""
    seeds = [Trial(shape=definition.baseline, seed=seed, training=definition.training) for seed in definition.seeds]
    return form_groups(seeds, limit) * (trials // len(seeds))


def _groups_of_later_stages(
    planned: Sequence[PlannedTrial], trials: int, limit: Callable[[Trial], int]
) -> list[tuple[Trial, ...]]:
    """Stand-ins for the groups of further stages: so many of the known trials, taken evenly."""
    return form_groups([planned[number * len(planned) // trials].trial for number in range(trials)], limit)
