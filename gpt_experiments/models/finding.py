"""Finds the model that is to be registered: that of a run, of a sweep's best trial, or of a fresh seed."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpt_experiments.config import MARGIN
from gpt_experiments.errors import CheckpointError, ConfigError, MissingError, TrackingError
from gpt_experiments.model import load_checkpoint
from gpt_experiments.models.card import ChosenFrom
from gpt_experiments.models.confirmation import Subject, confirm
from gpt_experiments.models.fresh_seeds import ConfirmOptions, WantedCorpus
from gpt_experiments.models.fresh_words import bits, measured_sentences
from gpt_experiments.models.selection import Candidate, Choice, choose_best
from gpt_experiments.records import FinishedTrial
from gpt_experiments.tracking import ModelRun, Store, model_folder
from gpt_experiments.tracking.reader import SweepTrials, read_sweep_trials
from gpt_experiments.tracking.registry import Measured, RegisteredVersion
from gpt_experiments.tracking.repeatable import corpus_source
from gpt_experiments.tracking.runs import find_model_run, get_run, kind_of_run
from gpt_experiments.tracking.schema import finished_trial, kind_of

_OPTIMISTIC: Final = (
    "its loss is optimistic, because the same trials chose and measured it; --confirm measures it with fresh seeds"
)


@dataclass(frozen=True, kw_only=True)
class Found:
    """The run to register with its checkpoint, what it was chosen from, its loss, and messages on the choice."""

    run: ModelRun
    checkpoint: Path
    vocabulary: str
    origin: ChosenFrom | None
    measured: Measured
    messages: tuple[str, ...]
    left_out: tuple[str, ...]
    margin: float = MARGIN


def _is_one_run(reference: str | None, store: Store) -> bool:
    """Whether it is the id of a run that is no sweep."""
    return bool(reference and re.fullmatch("[0-9a-f]{32}", reference)) and kind_of_run(store, str(reference)) != "sweep"


def find_model(reference: str | None, store: Store, folder: Path) -> Found:
    """Find the run that `reference` means; its checkpoint goes below `folder`."""
    if reference is not None and _is_one_run(reference, store):
        run = find_model_run(store, reference)
        checkpoint, vocabulary = _read_checkpoint(run, store, folder)
        one = "its loss is that of one seed" if run.kind == "trial" else "its loss is that of these weights"
        return Found(
            run=run,
            checkpoint=checkpoint,
            vocabulary=vocabulary,
            origin=None,
            measured=Measured(val_loss=run.val_loss, how="one run"),
            messages=(f"run {run.run_id} ({run.label}): {_loss_of(run)}", f"one run was named, so {one}"),
            left_out=(),
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
            return Found(
                run=run,
                checkpoint=checkpoint,
                vocabulary=vocabulary,
                origin=ChosenFrom(sweep=sweep.name, run_id=sweep.run_id, choice=choice),
                measured=Measured(val_loss=run.val_loss, how="choice"),
                messages=(
                    *_about(sweep, choice),
                    _best_of(choice, trial, run),
                    *_state_of(sweep),
                    *choice.notices,
                    *([_OPTIMISTIC] if choice.n_variants > 1 or choice.n_seeds > 1 else []),
                ),
                left_out=(*sweep.left_out, *(f"run {run_id}: {why}" for run_id, why in unreadable.items())),
            )


def find_confirmed(
    reference: str | None, store: Store, folder: Path, champion: RegisteredVersion | None, options: ConfirmOptions
) -> Found:
    """Confirm what `reference` means, and find the run of the median fresh seed."""
    sweep_name, choice, subject, messages, left_out = _subject(reference, store)
    rival = _champions_variant(champion, store, subject.corpus.digest)
    for sentence in messages:
        options.say(sentence)
    confirmation = confirm(subject, rival, store, options)
    median = confirmation.median
    run = dataclasses.replace(
        find_model_run(store, median.run_id), sweep=sweep_name, label=confirmation.candidate.label
    )
    checkpoint, vocabulary = _read_checkpoint(run, store, folder)
    which = "the median seed" if len(confirmation.trials) % 2 else "the lower median seed"
    measured = [
        *measured_sentences(confirmation),
        f"its checkpoint is that of {which}, {median.seed}, run {run.run_id}: {_loss_of(run)}",
    ]
    return Found(
        run=run,
        checkpoint=checkpoint,
        vocabulary=vocabulary,
        origin=ChosenFrom(sweep=sweep_name, run_id=subject.run_id, choice=choice, confirmation=confirmation),
        measured=Measured(val_loss=confirmation.measured.mean, how="fresh seeds", fresh=confirmation.losses),
        messages=(*messages, *confirmation.messages, *measured),
        left_out=left_out,
        margin=options.margin,
    )


def _subject(
    reference: str | None, store: Store
) -> tuple[str | None, Choice | None, Subject, tuple[str, ...], tuple[str, ...]]:
    """What is to be confirmed: its sweep's name, the sweep's choice, the rest; messages on it, and what is left out."""
    if reference is not None and _is_one_run(reference, store):
        run = find_model_run(store, reference)
        candidate = _variant_of_run(run.run_id, run.label, store)
        if candidate is None:
            raise ConfigError(
                f"run {run.run_id} is that of a {run.kind} model, which cannot be trained with fresh seeds; leave "
                "--confirm out, or give a trial or a sweep"
            )
        training = candidate.variant.training
        subject = Subject(
            name=f"run {run.run_id}",
            title=run.label,
            run_id=run.run_id,
            candidates=[candidate],
            used_seeds=frozenset(trial.seed for trial in candidate.trials),
            corpus=_corpus_of(f"run {run.run_id}", run.run_id, store),
            steps=training.steps,
            budget="steps",
            is_choice=False,
        )
        return run.sweep, None, subject, (f"run {run.run_id} ({run.label}): {_loss_of(run)}",), ()
    sweep = read_sweep_trials(store, reference)
    choice = _choose(sweep, {})
    subject = Subject(
        name=f"sweep {sweep.name}",
        title=sweep.name,
        run_id=sweep.run_id,
        candidates=choice.eligible,
        used_seeds=frozenset(trial.seed for trial in sweep.trials),
        corpus=_corpus_of(f"sweep {sweep.name}", choice.trial.run_id, store),
        steps=sweep.steps,
        budget=sweep.budget,
        is_choice=True,
    )
    messages = (*_about(sweep, choice), *_state_of(sweep), *choice.notices)
    return sweep.name, choice, subject, messages, sweep.left_out


def _corpus_of(of: str, run_id: str, store: Store) -> WantedCorpus:
    """What the trial of that run learnt from."""
    run = get_run(store, run_id)
    model = find_model_run(store, run_id)
    return WantedCorpus(of=of, name=model.corpus, digest=model.corpus_digest, source=corpus_source(run))


def _variant_of_run(run_id: str, label: str, store: Store) -> Candidate | None:
    """The variant of a finished trial, which is its one trial; None for a run of another kind."""
    run = get_run(store, run_id)
    trial = finished_trial(run) if kind_of(run) == "trial" else None
    if trial is None:
        return None
    return Candidate(
        label=label, variant=trial.variant, n_params=trial.summary.n_params, trials=(trial,), unfinished=()
    )


def _champions_variant(champion: RegisteredVersion | None, store: Store, corpus_digest: str) -> Candidate | None:
    """The champion's variant where it has no fresh seeds yet, but can be trained with some; else None."""
    if champion is None or champion.fresh or champion.run_id is None or champion.corpus_digest != corpus_digest:
        return None
    try:
        find_model_run(store, champion.run_id)  # it is there, and finished
        return _variant_of_run(champion.run_id, champion.label or "champion", store)
    except MissingError:
        return None


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


def _state_of(sweep: SweepTrials) -> list[str]:
    return [f"sweep {sweep.name} is still running: this is the best so far"] if sweep.running else []


def _loss_of(run: ModelRun) -> str:
    return f"validation loss {run.val_loss:.4f} nats, {bits(run.val_loss):.4f} bits per character"
