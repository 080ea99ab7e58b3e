"""The fields of the JSON object of `register`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpt_experiments.cli.json_output import Fields

if TYPE_CHECKING:
    from gpt_experiments.models.confirmation import Confirmation
    from gpt_experiments.models.registration import Registration


def registered_fields(done: Registration, commands: list[dict[str, str]]) -> Fields:
    """What was registered, and why."""
    return {
        "name": done.name,
        "model_version": int(done.version.version),
        "model_uri": done.model_uri,
        "is_new": done.is_new,
        "is_champion": done.is_champion,
        "run_id": done.version.run_id,
        "label": done.version.label,
        "final_val_loss": done.version.val_loss,
        "corpus": done.version.corpus,
        "corpus_digest": done.version.corpus_digest,
        "confirmation": None if done.confirmation is None else _confirmation(done.confirmation),
        "champion": _champion(done),
        "messages": done.messages,
        "left_out": done.left_out,
        "next_commands": commands,
    }


def _confirmation(of: Confirmation) -> dict[str, Any]:
    measured, lead, median = of.measured, of.lead, of.median
    return {
        "seeds": sorted(of.losses),
        "losses": [of.losses[seed] for seed in sorted(of.losses)],
        "mean": measured.mean,
        "low": measured.low,
        "high": measured.high,
        "median_seed": median.seed,
        "sweep_mean": of.candidate.mean if of.is_choice else None,
        "optimism": of.optimism if of.is_choice else None,
        "contenders": [
            {
                "label": one.label,
                "n_params": one.n_params,
                "sweep_mean": one.sweep_mean,
                "fresh_seeds": sorted(one.fresh),
                "fresh_losses": [one.fresh[seed] for seed in sorted(one.fresh)],
                "mean": one.mean,
            }
            for one in of.contenders
        ],
        "contenders_left_out": of.left_out,
        "noise_sd": None if of.noise is None else of.noise.sd,
        "noise_source": None if of.noise is None else of.noise.source,
        "lead": None if lead is None else -lead.difference,
        "lead_half_width": None if lead is None else lead.half_width,
        "smaller_equivalent": None if of.smaller is None else of.smaller.label,
        "margin": of.margin,
        "trained": of.trained,
    }


def _champion(done: Registration) -> dict[str, Any] | None:
    """The champion before, and the test against it."""
    if done.rival is None:
        return None
    between = done.between
    return {
        "model_version": int(done.rival.version),
        "label": done.rival.label,
        "final_val_loss": done.rival.val_loss,
        "difference": None if between is None else between.difference,
        "low": None if between is None else between.low,
        "high": None if between is None else between.high,
        "p_value": None if between is None else between.p_value,
        "paired": None if between is None else between.is_paired,
        "verdict": None if between is None else between.verdict,
    }
