"""The fields of the JSON objects of `sweep` and `train`: a sweep that has ended, and one that is planned."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gpt_experiments import names
from gpt_experiments.cli.ending import command_fields
from gpt_experiments.cli.json_output import Fields
from gpt_experiments.cli.tables import best_first
from gpt_experiments.errors import without_secrets
from gpt_experiments.tracking import schema

if TYPE_CHECKING:
    from gpt_experiments.app.sweep import LeftReport
    from gpt_experiments.corpus import Corpus
    from gpt_experiments.records import PlannedTrial, SweepSummary, TrialRecord
    from gpt_experiments.sweep.definition import SweepDefinition
    from gpt_experiments.sweep.dry_run import DryRun
    from gpt_experiments.tracking import Store


def ended_fields(
    summary: SweepSummary,
    corpus: Corpus,
    store: Store,
    *,
    report: LeftReport | None,
    notices: Sequence[str],
    commands: Sequence[tuple[str, str]],
) -> Fields:
    """What is known of a sweep, or of a trial on its own, that has ended.

    Args:
        report: None where none was tried.
        commands: to type next, each with its purpose.
    """
    scored = best_first(summary.trials)
    return {
        "dry_run": False,
        "name": summary.name,
        "run_id": summary.parent_run_id,
        "experiment": store.experiment.name,
        "tracking_uri": without_secrets(store.uri),
        "corpus": corpus.name,
        "corpus_digest": corpus.digest,
        "total": summary.total,
        "counts": {**summary.counts, "not_started": summary.not_started},
        "complete": summary.is_complete,
        "interrupted": summary.interrupted,
        "timed_out": summary.timed_out,
        "seconds": summary.seconds,
        "best": _ended_trial(scored[0][0]) if scored else None,
        "trials": [_ended_trial(record) for record in summary.trials],
        "report": None if report is None else _report(report),
        "notices": notices,
        "next_commands": command_fields(commands),
    }


def planned_fields(plan: DryRun, definition: SweepDefinition, corpus: Corpus) -> Fields:
    """What a sweep would do."""
    return {
        "dry_run": True,
        "name": definition.name,
        "method": definition.method,
        "budget": definition.budget,
        "steps": definition.training.steps,
        "corpus": corpus.name,
        "corpus_digest": corpus.digest,
        "total": len(plan.rows) + plan.to_choose,
        "pruner": definition.pruner,
        "done": plan.done,
        "stopped": plan.stopped,
        "to_train": plan.to_train,
        "to_choose": plan.to_choose,
        "trials": [
            {
                **_trial(row.planned),
                "n_params": row.planned.n_params,
                "done": row.planned.done is not None,
                "stopped": row.planned.stopped is not None,
                "run_id": _stored_run(row.planned),
                "group": row.group,
                "seconds": row.seconds,
            }
            for row in plan.rows
        ],
        "groups": plan.groups,
        "seconds": plan.seconds,
        "device": plan.hardware.device,
        "hardware": plan.hardware.name,
        "workers": plan.hardware.workers,
        "threads": plan.hardware.threads,
        "notices": plan.notices,
    }


def _stored_run(planned: PlannedTrial) -> str | None:
    stored = planned.done or planned.stopped
    return None if stored is None else stored.run_id


def _trial(planned: PlannedTrial) -> Fields:
    return {
        "label": planned.label,
        "seed": planned.trial.seed,
        "cell": planned.cell,
        "parameters": planned.trial.variant.values(),
        "tuning": planned.is_tuning,
    }


def _ended_trial(record: TrialRecord) -> Fields:
    """How a trial ended; the metrics of one without a result are null, but for its size."""
    summary = record.summary
    metrics = dict.fromkeys(schema.SUMMARY_METRICS) if summary is None else schema.summary_metrics(summary)
    return {
        **_trial(record.planned),
        "outcome": record.outcome,
        "reason": record.reason,
        "stop": None if record.stop is None else dataclasses.asdict(record.stop) | {"excess": record.stop.excess},
        "run_id": record.run_id,
        **metrics,
        "n_params": record.planned.n_params,
    }


def _report(report: LeftReport) -> Fields:
    is_there = report.problem is None
    return {
        "artifact": names.REPORT_PAGE if is_there else None,
        "problem": report.problem,
        "left_out": report.left_out,
    }
