"""The model card: the Markdown text on a registered model's page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from gpt_experiments import names
from gpt_experiments.models.confirmation import Confirmation
from gpt_experiments.models.fresh_words import Rival, bits, fresh_section
from gpt_experiments.models.selection import Choice
from gpt_experiments.parameters import HYPERPARAMETERS, TRAINING
from gpt_experiments.tracking import ModelRun


@dataclass(frozen=True, kw_only=True)
class ChosenFrom:
    """The sweep whose best model this is, or the trial whose variant it is, and how it was chosen.

    Attributes:
        sweep: its name; None of a trial on its own.
        run_id: the sweep's, or the trial's.
        choice: what the sweep's losses chose; None where one trial was named.
        confirmation: what fresh seeds say; None where there were none.
    """

    sweep: str | None
    run_id: str
    choice: Choice | None
    confirmation: Confirmation | None = None


def model_card(
    run: ModelRun, *, vocabulary: str, sample: str, origin: ChosenFrom | None, rival: Rival | None = None
) -> str:
    """The card: data, configuration, losses, a sample, limits, origin; always below 5,000 characters.

    Args:
        vocabulary: every character that the model knows.
        sample: text that the model wrote; empty where none is known.
        origin: None if the user named the run, so that nothing was chosen or measured.
        rival: None where there was no champion to test it against.
    """
    confirmation = origin.confirmation if origin else None
    sections = [
        f"# {_cut(run.label, 200)}",
        f"A character-level GPT of {run.n_params:,} parameters. It continues a text, one character at a time.",
        _data(run, len(vocabulary)),
        "## Configuration\n\n" + _table(run.params),
        _losses(run, len(vocabulary)),
        *([fresh_section(confirmation, rival)] if confirmation else []),
        "## Sample\n\n" + _sample(sample, 200 if confirmation else 400),
        _limits(run, len(vocabulary), origin),
        _origin(run, origin),
    ]
    return "\n\n".join(sections) + "\n"


def _data(run: ModelRun, vocab_size: int) -> str:
    split = (
        "The first 90 % of it were trained on, the rest is the validation split."
        if run.kind == "trial"
        else "It was evaluated on this text; what its weights were trained on, and for how long, is not recorded."
    )
    return (
        f"## Data\n\n{_cut(run.corpus, 200)}: {vocab_size} distinct characters, SHA-256 `{run.corpus_digest}`. {split}"
    )


def _table(params: Mapping[str, str]) -> str:
    rows = [
        f"| {name} | {_cut(params[name], 40)} |" for name in (*HYPERPARAMETERS, names.SEED, *TRAINING) if name in params
    ]
    return "\n".join(["| parameter | value |", "| --- | --- |", *rows])


def _losses(run: ModelRun, vocab_size: int) -> str:
    losses = [("training", run.train_loss), ("validation", run.val_loss), ("guessing at random", math.log(vocab_size))]
    rows = [f"| {name} | {nats:.4f} | {bits(nats):.4f} |" for name, nats in losses]
    table = "\n".join(["| loss | nats per character | bits per character |", "| --- | --- | --- |", *rows])
    note = "The losses are exact, over the whole validation split and a training subset of the same size."
    if run.kind == "trial":
        note += f" The weights are those after the last step; the lowest validation loss was {run.best_val_loss:.4f}."
    return f"## Losses\n\n{table}\n\n{note}"


def _sample(sample: str, length: int) -> str:
    return "\n".join(f"    {line}" for line in _cut(sample, length).splitlines()) or "None could be read."


def _limits(run: ModelRun, vocab_size: int, origin: ChosenFrom | None) -> str:
    block_size = _cut(run.params.get("block_size", "?"), 40)
    limits = [
        f"It knows {vocab_size} characters and refuses a prompt with any other.",
        f"It sees only the last {block_size} characters.",
        "It imitates the style of one text. What it writes is made up, and nothing filters it.",
    ]
    if origin and origin.confirmation:
        limits.append("All losses are on one validation split; there is no separate test split.")
    elif origin and origin.choice and origin.choice.n_variants > 1:
        limits.append(
            f"It was selected by its validation loss among {origin.choice.n_variants} variants, and the same trials "
            "measured it, so that figure is optimistic; there is no separate test split."
        )
    elif run.kind == "trial":
        limits.append("Its loss is that of one seed; other seeds of the same variant differ.")
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits)


def _origin(run: ModelRun, origin: ChosenFrom | None) -> str:
    lines = [f"- run `{run.run_id}`" + (f", cell `{run.cell}`" if run.cell else "")]
    if origin and origin.confirmation:
        of_sweep = f"sweep {_cut(origin.sweep or '', 200)}, " if origin.choice else ""
        lines.append(f"- a trial on a fresh seed, which confirms {of_sweep}run `{origin.run_id}`")
    elif origin and origin.choice:
        choice = origin.choice
        seeds = "1 seed" if choice.n_seeds == 1 else f"{choice.n_seeds} seeds"
        is_best = run.run_id == choice.trial.run_id
        lines.append(
            f"- best of sweep {_cut(origin.sweep or '', 200)} (run `{origin.run_id}`): the lowest mean validation "
            f"loss, {choice.mean_val_loss:.4f} over {seeds}; of its trials "
            + ("the one with the lowest" if is_best else "the best one whose model can be read")
        )
    elif run.sweep:
        lines.append(f"- a trial of sweep {_cut(run.sweep, 200)}")
    details = [("trained on", run.hardware), ("with", run.versions), ("git commit", run.commit)]
    if run.kind == "pretrained":
        details[0] = ("evaluated on", run.hardware)
    lines += [f"- {name} {_cut(value, 300)}" for name, value in details if value]
    return "## Origin\n\n" + "\n".join(lines)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."
