"""The fields of the JSON objects of `rerun` and `diff`; `docs/json.md` explains them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from gpt_experiments.analysis.comparison import CurveComparison, FactsComparison, TrialDiff
    from gpt_experiments.analysis.estimate import Estimate
    from gpt_experiments.analysis.results import SweepResults, TrialResults
    from gpt_experiments.analysis.sweep_comparison import SweepDiff, VariantPair
    from gpt_experiments.app.rerun import Rerun
    from gpt_experiments.cli.json_output import Fields


def rerun_fields(done: Rerun) -> Fields:
    """What came out when a trial was trained again."""
    return {
        "run_id": done.run_id,
        "label": done.label,
        "seed": done.seed,
        "device": done.device,
        "threads": done.threads,
        "kernels": done.kernels,
        "identical": done.is_identical,
        **_curves(done.curves),
        "weights": None if done.weights is None else asdict(done.weights),
        "problem": done.problem,
        **_facts(done.facts),
        "notes": done.notes,
    }


def trials_fields(found: TrialDiff, page: Path | None) -> Fields:
    """What differs between two trials; `page` is where it was written."""
    return {
        "kind": "trials",
        "a": _trial(found.a),
        "b": _trial(found.b),
        **_facts(found.facts),
        **_curves(found.curves),
        "metrics": [{**asdict(metric), "difference": metric.difference} for metric in found.metrics],
        "heads": [asdict(head) for head in found.heads],
        "sample_a": found.a.sample,
        "sample_b": found.b.sample,
        "notes": found.notes,
        "page": page,
        "left_out": found.left_out,
    }


def sweeps_fields(found: SweepDiff, page: Path | None) -> Fields:
    """What differs between two sweeps; `page` is where it was written."""
    trials = found.trials
    return {
        "kind": "sweeps",
        "a": _sweep(found.a),
        "b": _sweep(found.b),
        **_facts(found.facts),
        "variants": [_variant(found, pair) for pair in trials.variants],
        "overall": None if trials.overall is None else _estimate(trials.overall),
        "only_a": trials.only_a,
        "only_b": trials.only_b,
        "unpaired": trials.unpaired,
        "heads": [{"label": each.label, "seed": each.seed, **asdict(each.head)} for each in found.heads],
        "notes": found.notes,
        "page": page,
        "left_out": found.left_out,
    }


def _facts(facts: FactsComparison) -> dict[str, Any]:
    differing = [asdict(difference) for difference in facts.differing]
    return {"differing": differing, "alike": facts.alike, "unknown": facts.unknown}


def _curves(curves: CurveComparison) -> dict[str, Any]:
    return {
        "losses": [
            {
                "step": pair.step,
                "train_loss_a": pair.a.train_loss,
                "train_loss_b": pair.b.train_loss,
                "val_loss_a": pair.a.val_loss,
                "val_loss_b": pair.b.val_loss,
            }
            for pair in curves.pairs
        ],
        "parted_at": None if curves.parted is None else curves.parted.step,
        "steps_of_a": curves.only_a,
        "steps_of_b": curves.only_b,
    }


def _trial(trial: TrialResults) -> dict[str, Any]:
    return {"run_id": trial.run_id, "name": trial.name, "status": trial.status, "sweep": trial.sweep}


def _sweep(sweep: SweepResults) -> dict[str, Any]:
    return {"run_id": sweep.run_id, "name": sweep.name, "finished": len(sweep.finished)}


def _variant(found: SweepDiff, pair: VariantPair) -> dict[str, Any]:
    sample_a, sample_b = found.samples(pair)
    return {
        "label": pair.label_a,
        "label_b": pair.label_b,
        "val_loss_a": pair.mean_a,
        "val_loss_b": pair.mean_b,
        "difference": _estimate(pair.difference),
        "p_adjusted": pair.p_adjusted,
        "verdict": pair.verdict,
        "pairs": [asdict(seed) for seed in pair.seeds],
        "sample_a": sample_a,
        "sample_b": sample_b,
    }


def _estimate(found: Estimate) -> dict[str, Any]:
    return {"mean": found.mean, "low": found.low, "high": found.high, "p_value": found.p_value, "n": found.n}
