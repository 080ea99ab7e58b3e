"""What fresh seeds have shown, in sentences: for the screen, and for the model card."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gpt_experiments.analysis.contest import Contest
from gpt_experiments.errors import shortened
from gpt_experiments.models.challenge import between_text
from gpt_experiments.models.confirmation import Confirmation


@dataclass(frozen=True, kw_only=True)
class Rival:
    """The champion that a model was compared with on fresh seeds; `between` is the model's loss minus the rival's."""

    version: str
    label: str | None
    between: Contest


def bits(nats: float) -> float:
    """Nats as bits."""
    return nats / math.log(2)


def measured_sentences(of: Confirmation) -> list[str]:
    """What the fresh seeds say: how it was chosen, its loss and how far the sweep's was from it."""
    return [*_chosen_sentences(of), *_measured(of)]


def _chosen_sentences(of: Confirmation) -> list[str]:
    if len(of.contenders) < 2 or of.lead is None:
        return []
    chosen, second = of.contenders[:2]
    label, spread = shortened(chosen.label, 100), _plus_minus(of.lead.half_width)
    sentences = [
        f"of {len(of.contenders)} contenders {label} has the lowest mean over the sweep's seeds and "
        f"{_seeds(len(chosen.fresh))} to choose with: {chosen.mean:.4f}, {-of.lead.difference:.4f}{spread} nats below "
        f"the second, {shortened(second.label, 100)}"
    ]
    if of.smaller is not None:
        sentences.append(
            f"a smaller one, {shortened(of.smaller.label, 100)}, is equivalent to it on the fresh seeds that chose, "
            f"within {of.margin:g} nats; it has {of.smaller.n_params:,} parameters instead of {chosen.n_params:,}"
        )
    return sentences


def _plus_minus(half_width: float) -> str:
    return "" if math.isnan(half_width) else f" ± {half_width:.4f}"


def _measured(of: Confirmation) -> list[str]:
    measured = of.measured
    spread = _plus_minus(measured.half_width)
    seeds = ", ".join(map(str, sorted(of.losses)[:10])) + (f" and {len(of.losses) - 10} more" * (len(of.losses) > 10))
    sentences = [
        f"on {_seeds(len(of.losses))} that had no part in the choice ({seeds}) its mean validation loss is "
        f"{measured.mean:.4f}{spread} nats, {bits(measured.mean):.4f} bits per character"
    ]
    if of.is_choice:
        apart = (
            f"which was optimistic by {of.optimism:.4f} nats"
            if of.optimism >= 0
            else f"{-of.optimism:.4f} nats more, so it was not optimistic"
        )
        sentences.append(f"the sweep itself said {of.candidate.mean:.4f}, {apart}")
    return sentences


def _seeds(count: int) -> str:
    return f"{count} fresh seed" + ("s" if count > 1 else "")


def fresh_section(of: Confirmation, rival: Rival | None) -> str:
    """The section on fresh seeds."""
    known = []
    if of.is_choice:
        count, more = len(of.contenders), f" ({of.left_out} more were left out)" if of.left_out else ""
        could_be = f"{count} variants that the sweep could not tell from its best" if count > 1 else "its best alone"
        known.append(f"Contenders: {could_be}{more}.")
    known += [f"{sentence[0].upper()}{sentence[1:]}." for sentence in measured_sentences(of)]
    even = "" if len(of.losses) % 2 else " (of an even number the lower one)"
    known.append(f"These weights are those of the seed with the median loss{even}.")
    if rival is not None:
        between = rival.between
        label = f" ({shortened(rival.label, 100)})" if rival.label else ""
        found = {
            "better": "lower by a test",
            "worse": "higher by a test",
            "undecided": "not lower by a test",
            "equivalent": f"equivalent, within {between.margin:g} nats",
        }[between.verdict]
        known.append(
            f"Against the champion before it, version {rival.version}{label}, its loss is {found}: "
            f"{between_text(between)}."
        )
    return "## Fresh seeds\n\n" + "\n".join(f"- {sentence}" for sentence in known)
