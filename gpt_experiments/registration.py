"""Takes the best model of a sweep, or one run's, to the model registry, and makes it champion if it deserves it."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Final

from gpt_experiments.artifacts import SPEAKER_TEXT
from gpt_experiments.errors import TrackingError
from gpt_experiments.model import load_checkpoint
from gpt_experiments.model_card import ChosenFrom, bits, model_card
from gpt_experiments.scratch import scratch_folder
from gpt_experiments.selection import choose_best
from gpt_experiments.tracking import ModelRun, Store, model_folder, names, run_text
from gpt_experiments.tracking.model_run import find_model_run, kind_of_run
from gpt_experiments.tracking.registry import ModelRegistry, RegisteredVersion
from gpt_experiments.tracking.sweep_cells import SweepTrials, read_sweep_trials

_LONGEST_EXAMPLE: Final = 20  # characters


@dataclass(frozen=True, kw_only=True)
class Registration:
    """What was registered, and why.

    Attributes:
        is_new: False where that run was registered before.
        is_champion: whether the alias `champion` is now the version's.
        told: what was done and why, a sentence each, in the order in which it was done.
        example_prompt: a prompt of characters that the model knows.
    """

    version: RegisteredVersion
    is_new: bool
    is_champion: bool
    told: tuple[str, ...]
    example_prompt: str


def register_model(reference: str | None, store: Store, name: str, *, force: bool = False) -> Registration:
    """Register the best model of a sweep, or the model of one run, under `name`.

    Args:
        reference: a sweep's name, or the id of a sweep's parent run, of a trial or of a baseline; None takes the
            sweep last worked on.
        force: make it champion even where it is not better than the present one.

    Raises:
        ConfigError: the registry takes no such name.
        CheckpointError: the run's checkpoint is damaged.
        TrackingError: there is no such sweep or run, it has no finished trial, or the store fails.
    """
    registry = ModelRegistry(store.uri, name)
    run, origin, told = _find(reference, store)
    sample = run_text(run.run_id, names.SAMPLE_FILE, store.uri)
    with scratch_folder() as folder:
        checkpoint = model_folder(run.run_id, store.uri, into=folder)
        vocabulary = load_checkpoint(checkpoint).tokenizer.vocabulary
        example = _example_prompt(vocabulary, sample)
        version = registry.of_run(run.run_id)
        is_new = version is None
        if version is None:
            card = model_card(run, vocabulary=vocabulary, sample=sample, origin=origin)
            version = registry.add(run, checkpoint, card=card, example_prompt=example)
            told.append(f"registered it as version {version.version} of {name}")
        else:
            told.append(f"it is version {version.version} of {name} already; one run makes one version")
    champion = registry.champion()
    wins, why = challenge(version, champion, force=force)
    if wins and (champion is None or champion.version != version.version):
        registry.crown(version)
    return Registration(version=version, is_new=is_new, is_champion=wins, told=(*told, why), example_prompt=example)


def challenge(version: RegisteredVersion, champion: RegisteredVersion | None, *, force: bool) -> tuple[bool, str]:
    """Whether the version is to have the alias `champion`, and why.

    Without `force` it takes a lower validation loss than the champion's, on the same corpus.
    """
    if champion is None:
        return True, f"version {version.version} is the champion: there was none"
    if champion.version == version.version:
        return True, f"version {version.version} is the champion already"
    better = version.val_loss is not None and champion.val_loss is not None and version.val_loss < champion.val_loss
    if None in (champion.corpus_digest, champion.val_loss):
        why = f"version {champion.version}, the champion, does not say what it scored on which corpus"
    elif champion.corpus_digest != version.corpus_digest:
        why = (
            f"version {champion.version}, the champion, learned another text, {champion.corpus}, "
            f"so its loss cannot be compared with one on {version.corpus}"
        )
    else:
        relation = "is lower than" if better else "is not lower than"
        why = (
            f"its validation loss, {version.val_loss:.4f}, {relation} that of version {champion.version}, "
            f"the champion so far, {champion.val_loss:.4f}"
        )
        if better:
            return True, f"version {version.version} is now the champion: {why}"
    if force:
        return True, f"version {version.version} is now the champion, as --force says, although {why}"
    return False, f"version {champion.version} stays the champion: {why}; --force makes version {version.version} it"


def _find(reference: str | None, store: Store) -> tuple[ModelRun, ChosenFrom | None, list[str]]:
    """The run to register, the sweep that it is the best of, and what is to be told of the choice."""
    is_run_id = reference is not None and re.fullmatch("[0-9a-f]{32}", reference)
    if reference is not None and is_run_id and kind_of_run(store, reference) != "sweep":
        run = find_model_run(store, reference)
        return run, None, [f"run {run.run_id} ({run.label}): {_loss_of(run)}"]
    sweep = read_sweep_trials(store, reference)
    try:
        choice = choose_best(sweep.cells)
    except TrackingError as error:
        raise TrackingError(f"sweep {sweep.name!r} has no model to register: {error}") from error
    run = dataclasses.replace(find_model_run(store, choice.trial.run_id), sweep=sweep.name, label=choice.label)
    seeds = f" over {choice.n_seeds} seeds" if choice.n_seeds > 1 else ""
    told = [
        f"sweep {sweep.name}: the best of {choice.n_variants} variants is {choice.label}, "
        f"mean validation loss {choice.mean_val_loss:.4f} nats per character{seeds}",
        f"its best trial is seed {choice.trial.seed}, run {run.run_id}: {_loss_of(run)}",
        *_state_of(sweep),
        *choice.noticed,
    ]
    return run, ChosenFrom(sweep=sweep.name, run_id=sweep.run_id, choice=choice), told


def _state_of(sweep: SweepTrials) -> list[str]:
    return [f"sweep {sweep.name} is still running: this is the best so far"] if sweep.running else []


def _loss_of(run: ModelRun) -> str:
    return f"validation loss {run.val_loss:.4f} nats, {bits(run.val_loss):.4f} bits per character"


def _example_prompt(vocabulary: str, sample: str) -> str:
    """The study's prompt where the model knows its characters, else the beginning of what the model wrote."""
    if set(SPEAKER_TEXT) <= set(vocabulary):
        return SPEAKER_TEXT
    lines = [line.strip() for line in sample.splitlines() if line.strip()]
    return lines[0][:_LONGEST_EXAMPLE] if lines else vocabulary[-1]
