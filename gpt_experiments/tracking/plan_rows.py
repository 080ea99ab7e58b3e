"""The plan of a sweep as its run keeps it: one row for each trial."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gpt_experiments.config import Variant
from gpt_experiments.parameters import PARAMETERS, SHAPE, TrainingSetup
from gpt_experiments.records import Outcome, PlannedTrial, TrialRecord, trial_name


@dataclass(frozen=True, kw_only=True)
class PlanRow:
    """One trial as a sweep's plan has it; `run_id` and `outcome` are None until the sweep has ended."""

    cell: str
    variant: Variant
    label: str
    seed: int
    run_id: str | None = None
    outcome: str | None = None
    is_tuning: bool = False

    @property
    def name(self) -> str:
        return trial_name(self.label, self.seed)

    def as_json(self) -> dict[str, Any]:
        return {
            "cell": self.cell,
            "label": self.label,
            "seed": self.seed,
            **self.variant.values(),
            "run_id": self.run_id,
            "outcome": self.outcome,
            **({"is_tuning": True} if self.is_tuning else {}),
        }

    @classmethod
    def from_json(cls, row: Any, training: TrainingSetup) -> PlanRow:
        """The planned trial; how it trains is `training`, as far as the row does not say.

        Raises:
            KeyError, TypeError, ValueError (as a ConfigError is): it is no planned trial.
        """
        texts, optional, seed = (row["cell"], row["label"]), (row.get("run_id"), row.get("outcome")), row["seed"]
        if not all(isinstance(text, str) for text in texts) or isinstance(seed, bool) or not isinstance(seed, int):
            raise TypeError("a text and a whole number are needed")
        if not all(value is None or isinstance(value, str) for value in optional):
            raise TypeError("run_id and outcome are texts")
        required = [name for name, declared in SHAPE.items() if not declared.is_younger]
        values = {name: row[name] for name in PARAMETERS if name in row or name in required}
        variant = Variant(training=training).with_values(values)
        return cls(
            cell=texts[0],
            variant=variant,
            label=texts[1],
            seed=seed,
            run_id=optional[0],
            outcome=optional[1],
            is_tuning=row.get("is_tuning") is True,
        )


def plan_rows(planned: Iterable[PlannedTrial], records: Iterable[TrialRecord] = ()) -> list[PlanRow]:
    """The plan of a sweep, with the outcome of each trial as far as `records` and earlier runs say."""
    ended = {record.planned.cell: record for record in records}
    rows = []
    for p in planned:
        run_id, outcome = (p.done.run_id, Outcome.REUSED) if p.done else (None, None)
        if p.stopped is not None:
            run_id, outcome = p.stopped.run_id, Outcome.STOPPED
        if p.cell in ended:
            run_id, outcome = ended[p.cell].run_id, ended[p.cell].outcome
        rows.append(
            PlanRow(
                cell=p.cell,
                variant=p.variant,
                label=p.label,
                seed=p.trial.seed,
                run_id=run_id,
                outcome=outcome,
                is_tuning=p.is_tuning,
            )
        )
    return rows
