"""What a page on the difference of two trials, or of two sweeps, shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import pandas as pd

from gpt_experiments import names
from gpt_experiments.analysis.comparison import Difference, FactsComparison, HeadDifference, TrialDiff
from gpt_experiments.analysis.comparison_words import alike, fact, number, sweep_lead, trial_lead
from gpt_experiments.analysis.results import TrialResults
from gpt_experiments.analysis.sweep_comparison import SweepDiff, VariantPair
from gpt_experiments.figures import effect_plot, head_score_maps, pair_curves, pair_panels
from gpt_experiments.report.document import (
    Block,
    Bullets,
    Document,
    Heading,
    Paragraph,
    Picture,
    Section,
    SideBySide,
    Table,
    Verbatim,
)
from gpt_experiments.rounding import rounded_interval

MOST_HEADS: Final = 10
_MOST_ROWS: Final = 40
_MOST_PANELS: Final = 6
_MOST_BESIDE: Final = 4  # heads of a layer; maps of more are too wide to stand side by side
_MOST_SAMPLES: Final = 6  # pairs
_LONGEST_SAMPLE: Final = 2000  # characters
_MISSING_SAMPLE: Final = "(not to be read)"


def trials_document(diff: TrialDiff) -> Document:
    """The page on two trials."""
    sections = [
        _facts_section(diff.facts),
        Section(anchor="losses", title="Losses", blocks=_losses(diff)),
        Section(anchor="samples", title="Samples", blocks=[_samples([("A", diff.a.sample), ("B", diff.b.sample)])]),
        Section(anchor="heads", title="Attention heads", blocks=_heads(diff)),
        *_left_out(diff.left_out),
    ]
    return Document(
        title=f"{diff.a.name} and {diff.b.name}: what differs",
        subtitle=f"A is run {diff.a.run_id}{_of(diff.a)}, B is run {diff.b.run_id}{_of(diff.b)}",
        lead=trial_lead(diff),
        sections=sections,
        left_out=diff.left_out,
    )


def sweeps_document(diff: SweepDiff) -> Document:
    """The page on two sweeps."""
    sections = [
        Section(anchor="variants", title="Variants of both", blocks=_variants(diff)),
        _facts_section(diff.facts),
        Section(anchor="samples", title="Samples", blocks=_sweep_samples(diff)),
        Section(anchor="heads", title="Attention heads", blocks=_sweep_heads(diff)),
        *_left_out(diff.left_out),
    ]
    return Document(
        title=f"Sweeps {diff.a.name} and {diff.b.name}: what differs",
        subtitle=f"A is run {diff.a.run_id}, B is run {diff.b.run_id}",
        lead=sweep_lead(diff),
        sections=sections,
        left_out=diff.left_out,
    )


def _of(trial: TrialResults) -> str:
    return f" of sweep {trial.sweep}" if trial.sweep else ""


def _facts_section(facts: FactsComparison) -> Section:
    blocks: list[Block] = [_facts_table(facts.differing)] if facts.differing else []
    return Section(
        anchor="facts",
        title="What the results depend on",
        blocks=[*blocks, Paragraph(text=f"Of parameters, code, versions, hardware and corpus, {_lower(alike(facts))}")],
    )


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]


def _facts_table(differing: Sequence[Difference]) -> Table:
    shown = pd.DataFrame({"about": d.group, "what": d.name, "A": fact(d.a), "B": fact(d.b)} for d in differing)
    return Table(name="facts", caption="What differs.", shown=shown, left=list(shown.columns))


def _losses(diff: TrialDiff) -> list[Block]:
    shown = pd.DataFrame(
        {
            "": metric.name.replace("_", " "),
            "A": number(metric.a),
            "B": number(metric.b),
            "B minus A": number(metric.difference, sign=True),
        }
        for metric in diff.metrics
    )
    blocks: list[Block] = []
    if len(shown):
        caption = "After the last step; losses in nats per character, times in seconds."
        blocks.append(Table(name="ends", caption=caption, shown=shown, left=[""]))
    curve = pd.DataFrame(
        {"side": side, "step": e.step, "train_loss": e.train_loss, "val_loss": e.val_loss}
        for side, trial in (("a", diff.a), ("b", diff.b))
        for e in trial.evaluations
    )
    if len(curve):
        blocks.append(
            Picture(
                name="curves",
                caption=f"Above, the losses of A, {diff.a.label}, and of B, {diff.b.label}. "
                "Below, how far B lies above A.",
                alt=f"Training and validation loss of {diff.a.name} and {diff.b.name} over steps, and their difference",
                figure=pair_curves(curve),
            )
        )
    return blocks or [Paragraph(text="Neither run has losses.")]


def _samples(sides: Sequence[tuple[str, str | None]]) -> Verbatim:
    return Verbatim(texts=[(title, _MISSING_SAMPLE if text is None else _cut(text)) for title, text in sides])


def _cut(sample: str) -> str:
    return sample if len(sample) <= _LONGEST_SAMPLE else sample[:_LONGEST_SAMPLE] + " ..."


def _heads(diff: TrialDiff) -> list[Block]:
    maps = [_map(side, trial) for side, trial in (("A", diff.a), ("B", diff.b)) if len(trial.heads)]
    blocks: list[Block] = []
    if diff.heads:
        blocks.append(_heads_table([("", head) for head in diff.heads[:MOST_HEADS]]))
    widest = max((int(trial.heads["head"].max()) for trial in (diff.a, diff.b) if len(trial.heads)), default=0)
    if maps:
        blocks += [SideBySide(pictures=maps)] if widest <= _MOST_BESIDE else maps
    return blocks or [Paragraph(text="The scores of the heads are not recorded.")]


def _map(side: str, trial: TrialResults) -> Picture:
    frame = trial.heads.drop_duplicates(["layer", "head"])
    scores = {
        score: frame.pivot(index="layer", columns="head", values=score).to_numpy(dtype=float)
        for score in names.HEAD_SCORES
    }
    return Picture(
        name=f"heads-{side.lower()}",
        caption=f"{side}, {trial.name}: what each head does; n/a could not be measured.",
        alt=f"Maps of six scores of the attention heads of {trial.name}, layers down, heads across",
        figure=head_score_maps(scores, title=f"{side}: {trial.label}"),
        as_image=True,
    )


def _heads_table(heads: Sequence[tuple[str, HeadDifference]]) -> Table:
    shown = pd.DataFrame(
        {
            "variant": label,
            "layer": str(head.layer),
            "head": str(head.head),
            "score": head.score.replace("_", " "),
            "A": f"{head.a:.2f}",
            "B": f"{head.b:.2f}",
            "A does": head.what_a,
            "B does": head.what_b,
        }
        for label, head in heads
    )
    if not any(label for label, _ in heads):
        shown = shown.drop(columns=["variant"])
    return Table(
        name="heads",
        caption="The scores that differ most. Same character and induction are multiples of what uniform attention "
        "would give, and are ordered by their relative difference; entropy is 1 for uniform attention; the others are "
        "shares of weight.",
        shown=shown,
        left=[column for column in ("variant", "score", "A does", "B does") if column in shown],
    )


def _variants(diff: SweepDiff) -> list[Block]:
    pairs = diff.trials.variants
    if not pairs:
        return [Paragraph(text="There are none with a common seed.")]
    some = pairs[:_MOST_ROWS]
    cut = f" The {_MOST_ROWS} largest of {len(pairs)}." if len(pairs) > _MOST_ROWS else ""
    table = Table(
        name="variants",
        caption="Validation loss after the last step, nats per character, means over common seeds; the difference is "
        f"paired by seed, its interval Student's t. Verdicts on B are corrected by Holm's procedure.{cut}",
        shown=pd.DataFrame(variant_row(pair) for pair in some),
        left=["variant", "verdict"],
    )
    frame = pd.DataFrame(
        {
            "name": pair.label,
            "mean": pair.difference.mean,
            "low": pair.difference.low,
            "high": pair.difference.high,
            "verdict": pair.verdict,
        }
        for pair in some
    )
    picture = Picture(
        name="differences",
        caption="Mean difference of the validation loss, paired by seed, with its 95 % interval.",
        alt="Differences of the validation loss, B minus A: "
        + ", ".join(f"{pair.label} {pair.difference.mean:+.3f}" for pair in some[:10]),
        figure=effect_plot(frame, title="Validation loss in B minus that in A"),
    )
    return [table, picture, *_panels(diff)]


def variant_row(pair: VariantPair) -> dict[str, str]:
    """A row of the table of variants."""
    found = pair.difference
    return {
        "variant": pair.label,
        "seeds": str(len(pair.seeds)),
        "A": f"{pair.mean_a:.4f}",
        "B": f"{pair.mean_b:.4f}",
        "B minus A": number(found.mean, sign=True),
        "95 % interval": rounded_interval(found.low, found.high),
        "p, corrected": "" if math.isnan(pair.p_adjusted) else f"{pair.p_adjusted:.2g}",
        "verdict": "the same runs" if pair.is_one_run else pair.verdict,
    }


def _panels(diff: SweepDiff) -> list[Block]:
    """Curves of the variants that differ most."""
    chosen = [pair for pair in diff.trials.variants if not pair.is_one_run][:_MOST_PANELS]
    frames = [
        results.curves[results.curves["run_id"] == run_id].assign(variant=pair.label, side=side, seed=seeds.seed)
        for pair in chosen
        for seeds in pair.seeds
        for side, results, run_id in (("a", diff.a, seeds.run_a), ("b", diff.b, seeds.run_b))
    ]
    curves = pd.concat(frames) if frames else pd.DataFrame()
    if curves.empty:
        return []
    return [
        Picture(
            name="curves",
            caption=f"Means over common seeds; the {len(chosen)} variants that differ most.",
            alt="Validation loss over steps in both sweeps: " + ", ".join(pair.label for pair in chosen),
            figure=pair_panels(curves),
        )
    ]


def _sweep_samples(diff: SweepDiff) -> list[Block]:
    pairs = [pair for pair in diff.trials.variants if not pair.is_one_run][:_MOST_SAMPLES]
    if not pairs:
        return [Paragraph(text="There are no two models of one variant to compare.")]
    blocks: list[Block] = [Paragraph(text="Of the variants that differ most, the first common seed.")]
    for pair in pairs:
        a, b = diff.samples(pair)
        blocks += [Heading(text=f"{pair.label} (seed {pair.seeds[0].seed})"), _samples([("A", a), ("B", b)])]
    return blocks


def _sweep_heads(diff: SweepDiff) -> list[Block]:
    if not diff.heads:
        return [Paragraph(text="There are no two models of one variant whose heads could be compared.")]
    heads = [(f"{each.label} (seed {each.seed})", each.head) for each in diff.heads[:MOST_HEADS]]
    return [_heads_table(heads)]


def _left_out(sentences: Sequence[str]) -> list[Section]:
    if not sentences:
        return []
    return [Section(anchor="left-out", title="Could not be read", blocks=[Bullets(items=sentences)])]
