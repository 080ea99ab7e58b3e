"""Registers the best model of a sweep, or that of one run, and makes it champion if it is better."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpt_experiments import names
from gpt_experiments.artifacts import SPEAKER_TEXT
from gpt_experiments.errors import CheckpointError, MissingError, TrackingError
from gpt_experiments.model import load_checkpoint
from gpt_experiments.models.card import ChosenFrom, bits, model_card
from gpt_experiments.models.selection import Choice, choose_best
from gpt_experiments.records import FinishedTrial
from gpt_experiments.scratch import scratch_folder
from gpt_experiments.tracking import ModelRun, Store, model_folder
from gpt_experiments.tracking.reader import SweepTrials, read_sweep_trials
from gpt_experiments.tracking.registry import ModelRegistry, RegisteredVersion
from gpt_experiments.tracking.run_files import UnreadableError, read_text
from gpt_experiments.tracking.runs import find_model_run, get_run, kind_of_run

_LONGEST_EXAMPLE: Final = 20  # characters


@dataclass(frozen=True, kw_only=True)
class Registration:
    """What was registered, and why.

    Attributes:
        name: of the registered model.
        is_new: False where that run was registered before.
        is_champion: whether the alias `champion` is now the version's.
        messages: what was done and why, a sentence each, in the order in which it was done.
        left_out: what could not be read, a sentence each.
        example_prompt: a prompt of characters that the model knows.
    """

    name: str
    version: RegisteredVersion
    is_new: bool
    is_champion: bool
    messages: tuple[str, ...]
    left_out: tuple[str, ...]
    example_prompt: str

    @property
    def model_uri(self) -> str:
        """The address of this version, whichever is the champion later."""
        return f"models:/{self.name}/{self.version.version}"


def register_model(reference: str | None, store: Store, name: str, *, force: bool = False) -> Registration:
    """Register the best model of a sweep, or the model of one run, under `name`.

    A trial of a sweep whose checkpoint cannot be read is skipped, and a message says so.

    Args:
        reference: a sweep's name, or the id of a sweep's parent run, of a trial or of a pre-trained model; None takes
            the sweep last worked on.
        force: make it champion even where it is not better than the present one.

    Raises:
        ConfigError: the registry does not accept the name.
        CheckpointError: the run's checkpoint is damaged.
        TrackingError: there is no such sweep or run, it has no finished trial that can be read, or the store fails.
    """
    registry = ModelRegistry(store.uri, name)
    with scratch_folder() as folder:
        found = _find(reference, store, folder)
        run, messages, left_out = found.run, [*found.messages], [*found.left_out]
        sample = _sample(run, store, left_out)
        example = _example_prompt(found.vocabulary, sample)
        version = registry.of_run(run.run_id)
        is_new = version is None
        if version is None:
            card = model_card(run, vocabulary=found.vocabulary, sample=sample, origin=found.origin)
            version = registry.add(run, found.checkpoint, card=card, example_prompt=example)
            messages.append(f"registered it as version {version.version} of {name}")
        else:
            messages.append(f"it is version {version.version} of {name} already; one run makes one version")
    champion = registry.champion()
    wins, why = challenge(version, champion, force=force)
    if wins and (champion is None or champion.version != version.version):
        registry.set_champion(version)
    return Registration(
        name=name,
        version=version,
        is_new=is_new,
        is_champion=wins,
        messages=(*messages, why),
        left_out=tuple(left_out),
        example_prompt=example,
    )


def challenge(version: RegisteredVersion, champion: RegisteredVersion | None, *, force: bool) -> tuple[bool, str]:
    """Whether the version gets the alias `champion`, and why.

    Without `force` it needs a lower validation loss than the champion's, on the same corpus.
    """
    if champion is None:
        return True, f"version {version.version} is the champion: there was none"
    if champion.version == version.version:
        return True, f"version {version.version} is the champion already"
    better = version.val_loss is not None and champion.val_loss is not None and version.val_loss < champion.val_loss
    if None in (champion.corpus_digest, champion.val_loss):
        why = f"the loss or the corpus of version {champion.version}, the champion, is not recorded"
    elif champion.corpus_digest != version.corpus_digest:
        why = (
            f"version {champion.version}, the champion, was trained on another text, {champion.corpus}, "
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
        return True, f"version {version.version} is now the champion because of --force, although {why}"
    remedy = f"use --force to make version {version.version} the champion"
    return False, f"version {champion.version} stays the champion: {why}; {remedy}"


@dataclass(frozen=True, kw_only=True)
class _Found:
    """The run to register with its checkpoint, the sweep that it is the best of, and messages on the choice."""

    run: ModelRun
    checkpoint: Path
    vocabulary: str
    origin: ChosenFrom | None
    messages: tuple[str, ...]
    left_out: tuple[str, ...]


def _find(reference: str | None, store: Store, folder: Path) -> _Found:
    """Find the run that `reference` means; its checkpoint goes below `folder`."""
    is_run_id = reference is not None and re.fullmatch("[0-9a-f]{32}", reference)
    if reference is not None and is_run_id and kind_of_run(store, reference) != "sweep":
        run = find_model_run(store, reference)
        checkpoint, vocabulary = _read_checkpoint(run, store, folder)
        messages = (f"run {run.run_id} ({run.label}): {_loss_of(run)}",)
        return _Found(
            run=run, checkpoint=checkpoint, vocabulary=vocabulary, origin=None, messages=messages, left_out=()
        )
    sweep = read_sweep_trials(store, reference)
    unreadable: dict[str, str] = {}
    while True:
        choice = _choose(sweep, unreadable)
        for trial in choice.trials:
            try:
                run = find_model_run(store, trial.run_id)
                checkpoint, vocabulary = _read_checkpoint(run, store, folder)
            except (CheckpointError, MissingError) as error:
                unreadable[trial.run_id] = str(error)
                continue
            run = dataclasses.replace(run, sweep=sweep.name, label=choice.label)
            return _Found(
                run=run,
                checkpoint=checkpoint,
                vocabulary=vocabulary,
                origin=ChosenFrom(sweep=sweep.name, run_id=sweep.run_id, choice=choice),
                messages=(*_about(sweep, choice), _best_of(choice, trial, run), *_state_of(sweep), *choice.notices),
                left_out=(*sweep.left_out, *(f"run {run_id}: {why}" for run_id, why in unreadable.items())),
            )


def _choose(sweep: SweepTrials, unreadable: Mapping[str, str]) -> Choice:
    """The best variant among the trials whose models can be read, as far as that is known."""
    trials = [
        dataclasses.replace(trial, finished=None, reason="its model cannot be read")
        if trial.run_id in unreadable
        else trial
        for trial in sweep.trials
    ]
    if unreadable and not any(trial.finished for trial in trials):
        raise TrackingError(
            f"sweep {sweep.name!r} has no model to register: of its {len(unreadable)} finished trials, no model can be "
            "read; put the artifacts back, or run the sweep again, which trains those trials anew. The first problem: "
            + next(iter(unreadable.values()))
        )
    try:
        return choose_best(trials)
    except TrackingError as error:
        known = [*sweep.left_out[:1], *[f"run {run_id}: {why}" for run_id, why in unreadable.items()][:1]]
        raise TrackingError("; ".join([f"sweep {sweep.name!r} has no model to register: {error}", *known])) from error


def _about(sweep: SweepTrials, choice: Choice) -> list[str]:
    seeds = f" over {choice.n_seeds} seeds" if choice.n_seeds > 1 else ""
    return [
        f"sweep {sweep.name}: the best of {choice.n_variants} variants is {choice.label}, "
        f"mean validation loss {choice.mean_val_loss:.4f} nats per character{seeds}"
    ]


def _best_of(choice: Choice, trial: FinishedTrial, run: ModelRun) -> str:
    which = "best trial" if trial is choice.trial else "best trial whose model can be read"
    return f"its {which} is seed {trial.seed}, run {run.run_id}: {_loss_of(run)}"


def _read_checkpoint(run: ModelRun, store: Store, folder: Path) -> tuple[Path, str]:
    """The run's checkpoint, in a folder of its own below `folder`, and its vocabulary."""
    into = folder / run.run_id
    into.mkdir()
    checkpoint = model_folder(run.run_id, store.uri, into=into, retries=store.retries)
    return checkpoint, load_checkpoint(checkpoint).tokenizer.vocabulary


def _sample(run: ModelRun, store: Store, left_out: list[str]) -> str:
    """The text that the model wrote; empty if it cannot be read."""
    try:
        return read_text(get_run(store, run.run_id), names.SAMPLE_FILE, store.uri)
    except UnreadableError as error:
        left_out.append(f"{names.SAMPLE_FILE} of run {run.run_id} {error}")
        return ""


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
