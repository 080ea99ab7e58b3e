"""The contents of a report, and their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gpt_experiments import names
from gpt_experiments.analysis import Effect, Pretrained, SweepResults, beliefs, effects, findings, tuned_findings
from gpt_experiments.analysis.stopped import no_decomposition, stopped_caveats, stopped_lead, stopped_trials
from gpt_experiments.analysis.tuning import nuisance_name
from gpt_experiments.report import pictures, tables
from gpt_experiments.report.beliefs import belief_claims
from gpt_experiments.report.document import (
    Block,
    Bullets,
    Command,
    Document,
    Heading,
    Link,
    Paragraph,
    Picture,
    Section,
    SideBySide,
    Verbatim,
)
from gpt_experiments.report.factorial import factorial_pictures
from gpt_experiments.report.positions import position_picture
from gpt_experiments.report.tuned import tuned_section
from gpt_experiments.sweep.definition_file import shipped_definitions

PREDICTION_FILE = "predict.html"

_LONGEST_SAMPLE = 2000  # characters; one that this program wrote has 300


@dataclass(frozen=True, kw_only=True)
class Extras:
    """What a report shows in addition to the sweep's own numbers.

    Attributes:
        attention: figures of where models look, drawn from their checkpoints.
        pretrained: models that the sweep did not train.
        importances: fANOVA importances by hyperparameter, of an unbalanced sweep.
        prediction: sentences on the page that predicts other variants, or on why there is none.
        has_prediction: whether there is such a page.
        explorers: names of the files with attention explorers, each with the label of its variant.
        left_out: sentences on what could not be read of the sweep's models.
    """

    attention: Sequence[Picture] = ()
    pretrained: Sequence[Pretrained] = ()
    importances: Mapping[str, tables.Importance] | None = None
    prediction: Sequence[str] = ()
    has_prediction: bool = False
    explorers: Mapping[str, str] = field(default_factory=dict)
    left_out: Sequence[str] = ()


def make_document(results: SweepResults, extras: Extras) -> Document:
    """The whole report of a sweep."""
    compared = results.compared
    is_comparable = not compared.finished.empty
    found = effects(compared) if is_comparable else []
    left_out = [*results.left_out, *extras.left_out]
    sections = [_variants(results, extras)]
    if is_comparable:
        sections += [
            _hyperparameters(compared, found),
            *_effects(compared, found),
            *tuned_section(compared),
            *_variance(compared, extras),
            Section(anchor="cost", title="What a loss costs", blocks=pictures.costs(compared)),
            *_prediction(extras),
            *_context(compared),
            _beliefs(compared),
        ]
    shown = compared if is_comparable else results
    sections += [_attention(shown, extras), _samples(shown, extras), _method(results, left_out)]
    nothing = "No variant was trained to its end with every seed, so nothing is compared."
    return Document(
        title=f"Sweep {results.name}: what differed, and how sure we are",
        subtitle=_subtitle(results),
        lead=[
            *(findings.overall(compared, found) if is_comparable else [nothing]),
            *tuned_findings.lead(results),
            *stopped_lead(results),
            *_missing_lead(results),
            *_left_out_lead(left_out),
        ],
        sections=sections,
        left_out=left_out,
    )


def _subtitle(results: SweepResults) -> str:
    """`11 variants, 3 seeds, 33 of 33 trials finished, on tiny_shakespeare`; says how much of the plan is done."""
    done, total = len(results.finished), len(results.trials)
    variants = _of(results.finished["label"].nunique(), results.trials["label"].nunique(), "variant")
    seeds = _of(len(results.finished_seeds), len(results.planned_seeds), "seed")
    tuned = "" if results.tuning is None else f", each tuned over {nuisance_name(results)} beforehand"
    return f"{variants}, {seeds}, {done} of {total} trials finished, on {results.corpus}{tuned}"


def _of(done: int, planned: int, what: str) -> str:
    """`3 seeds`, or `1 of 3 seeds`."""
    return f"{'' if done == planned else f'{done} of '}{planned} {what}{'' if planned == 1 else 's'}"


def conclusions(document: Document, results: SweepResults) -> str:
    """The short form as Markdown, which MLflow shows first on the sweep's run."""
    from gpt_experiments.report.markdown import escape, markdown_table

    parts = [f"**{escape(document.subtitle)}**", *map(escape, document.lead)]
    compared = results.compared
    found = effects(compared) if not compared.finished.empty else []
    if found and len(found) <= 20:
        parts.append(markdown_table(tables.effects_table(found).shown, ["level", "against", "verdict"]))
    parts.append(f"The whole report is the artifact `{names.REPORT_PAGE}`.")
    return "\n\n".join(parts)


def _missing_lead(results: SweepResults) -> list[str]:
    lost = len(results.trials) - len(results.finished) - len(results.stopped)
    return [f"{lost} of {len(results.trials)} trials have no result; they are listed under Method."] if lost else []


def _left_out_lead(left_out: Sequence[str]) -> list[str]:
    if not left_out:
        return []
    more = f" The other {len(left_out) - 1} are listed under Method." if len(left_out) > 1 else ""
    return [f"Could not be read: {left_out[0]}.{more}"]


def _variants(results: SweepResults, extras: Extras) -> Section:
    bars = None if results.compared.finished.empty else pictures.bars(results.compared)
    blocks: list[Block] = [tables.summary(results), *([bars] if bars else [])]
    compared = results.compared
    if findings.needs_more_seeds(results, effects(compared) if not compared.finished.empty else []):
        how = "To add seeds, which turn differences into evidence, run this with the same --data and store:"
        command = findings.more_seeds_command(results, shipped_definitions())
        blocks += [Paragraph(text=how), Command(text=command)]
    if extras.pretrained:
        blocks.append(tables.pretrained_table(extras.pretrained, results))
    return Section(anchor="variants", title="All variants", blocks=blocks)


def _hyperparameters(results: SweepResults, found: Sequence[Effect]) -> Section:
    blocks: list[Block] = []
    for name in results.varied:
        blocks += [Heading(text=name), Bullets(items=findings.of_hyperparameter(results, name, found))]
        picture = pictures.curves(results, name)
        if picture is not None:
            blocks.append(picture)
    return Section(
        anchor="hyperparameters",
        title="Each hyperparameter",
        blocks=blocks or [Paragraph(text="No hyperparameter varies.")],
    )


def _effects(results: SweepResults, found: Sequence[Effect]) -> list[Section]:
    if not found:
        return []
    blocks: list[Block] = [pictures.effect_picture(found), tables.effects_table(found), tables.power(results, found)]
    return [Section(anchor="effects", title="Effects against the baseline", blocks=blocks)]


def _variance(results: SweepResults, extras: Extras) -> list[Section]:
    if results.is_factorial:
        signs = [Bullets(items=found)] if (found := findings.of_interactions(results)) else []
        blocks: list[Block] = [*signs, *factorial_pictures(results), tables.shares_table(results)]
        return [Section(anchor="factorial", title="Main effects and interactions", blocks=blocks)]
    if not results.stopped.empty and results.method == "grid":
        why = Paragraph(text=no_decomposition(results))
        return [Section(anchor="factorial", title="Main effects and interactions", blocks=[why])]
    if extras.importances:
        table = tables.importances_table(dict(extras.importances), some_stopped=not results.stopped.empty)
        return [Section(anchor="importances", title="Importances", blocks=[table])]
    return []


def _prediction(extras: Extras) -> list[Section]:
    if not extras.prediction:
        return []
    first, *rest = extras.prediction
    link = Link(file=PREDICTION_FILE, text=first) if extras.has_prediction else Paragraph(text=first)
    blocks: list[Block] = [link, *(Paragraph(text=sentence) for sentence in rest)]
    return [Section(anchor="prediction", title="Variants that were not trained", blocks=blocks)]


def _context(results: SweepResults) -> list[Section]:
    picture = position_picture(results)
    return [Section(anchor="context", title="Loss by position", blocks=[picture])] if picture else []


def _beliefs(results: SweepResults) -> Section:
    return Section(anchor="beliefs", title="Common beliefs, tested", blocks=[belief_claims(beliefs(results))])


def _attention(results: SweepResults, extras: Extras) -> Section:
    best = str(results.by_variant["label"].iloc[0])
    heads = [
        make(results, label)
        for label in dict.fromkeys(["baseline", best])
        for make in (tables.heads_table, tables.heads_over_seeds)
    ]
    pictures_of = [SideBySide(pictures=extras.attention)] if extras.attention else []
    where = f"To see single heads, open {names.EXPLORER_FILE} of any run."
    if extras.explorers:
        beside = " and ".join(f"{file} ({label})" for file, label in extras.explorers.items())
        where += f" Beside this page {'lie' if len(extras.explorers) > 1 else 'lies'} {beside}."
    blocks: list[Block] = [Paragraph(text=where), *pictures_of, *(table for table in heads if table is not None)]
    return Section(anchor="attention", title="Attention", blocks=blocks)


def _samples(results: SweepResults, extras: Extras) -> Section:
    """One sample for each variant, from its first seed that has one; of many, only the best ten and the baseline."""
    labels = list(results.by_variant["label"])
    if len(labels) > 12:
        labels = list(dict.fromkeys([*labels[:10], *(["baseline"] if "baseline" in labels else [])]))
    texts = []
    for label in labels:
        runs = results.runs_of(label)
        for run in runs[runs["run_id"].isin(list(results.samples))].head(1).to_dict("records"):
            texts.append((f"{label} (loss {run['final_val_loss']:.3f})", _cut(results.samples[run["run_id"]])))
    texts += [(f"{model.label} (loss {model.val_loss:.3f})", _cut(model.sample)) for model in extras.pretrained]
    blocks: list[Block] = [
        Paragraph(text="All samples start from a newline and use their trial's seed."),
        Verbatim(texts=texts),
    ]
    return Section(anchor="samples", title="Samples", blocks=blocks)


def _cut(sample: str) -> str:
    return sample if len(sample) <= _LONGEST_SAMPLE else sample[:_LONGEST_SAMPLE] + " ..."


def _method(results: SweepResults, left_out: Sequence[str]) -> Section:
    lost = findings.missing(results.without_stopped)
    shown = results if results.compared.finished.empty else results.compared
    blocks: list[Block] = [
        Bullets(items=[*findings.caveats(shown), *stopped_caveats(results)]),
        Paragraph(
            text="Losses are exact means over the whole validation split, and over a training subset of the same size. "
            "Comparisons are paired by seed: the same seed gives the same order of data where shapes agree. Intervals "
            "and tests are Student's t over seeds; they say how much another seed would change the result, not another "
            "corpus. A verdict is read off one interval; the intervals of all comparisons together miss the truth in "
            "at most 5 % of sweeps (Bonferroni)."
        ),
        tables.setup(results),
        tables.trials(results),
    ]
    if lost:
        blocks[1:1] = [Paragraph(text="Trials without a result:"), Bullets(items=lost)]
    if not results.stopped.empty:
        blocks[1:1] = [Paragraph(text="Trials that were stopped early:"), Bullets(items=stopped_trials(results))]
    if left_out:
        blocks[1:1] = [Paragraph(text="Could not be read:"), Bullets(items=left_out)]
    return Section(anchor="method", title="Method", blocks=blocks)
