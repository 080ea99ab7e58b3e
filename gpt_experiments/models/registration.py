"""Registers the best model of a sweep, or that of one run, and makes it champion if it is better."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import Final

from gpt_experiments import names
from gpt_experiments.analysis.contest import Contest, contest
from gpt_experiments.artifacts import SPEAKER_TEXT
from gpt_experiments.models.card import model_card
from gpt_experiments.models.challenge import challenge
from gpt_experiments.models.confirmation import Confirmation
from gpt_experiments.models.finding import Found, find_confirmed, find_model
from gpt_experiments.models.fresh_seeds import ConfirmOptions
from gpt_experiments.models.fresh_words import Rival
from gpt_experiments.scratch import scratch_folder
from gpt_experiments.tracking import ModelRun, Store
from gpt_experiments.tracking.registry import Measured, ModelRegistry, RegisteredVersion
from gpt_experiments.tracking.run_files import UnreadableError, read_text
from gpt_experiments.tracking.runs import get_run

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
        confirmation: how it was chosen and measured with fresh seeds; None where it was not.
        rival: the champion that it was compared with; None where it had none.
        between: its loss minus the rival's on fresh seeds; None where no test is possible.
    """

    name: str
    version: RegisteredVersion
    is_new: bool
    is_champion: bool
    messages: tuple[str, ...]
    left_out: tuple[str, ...]
    example_prompt: str
    confirmation: Confirmation | None = None
    rival: RegisteredVersion | None = None
    between: Contest | None = None

    @property
    def model_uri(self) -> str:
        """The address of this version, whichever is the champion later."""
        return f"models:/{self.name}/{self.version.version}"


def register_model(
    reference: str | None, store: Store, name: str, *, force: bool = False, options: ConfirmOptions | None = None
) -> Registration:
    """Register the best model of a sweep, or the model of one run, under `name`.

    Without `options` it is the best trial of the sweep's best variant, and a trial whose checkpoint cannot be read is
    skipped. With them the variant is chosen and measured on fresh seeds; see `confirm`.

    Args:
        reference: a sweep's name, or the id of a sweep's parent run, of a trial or of a pre-trained model; None takes
            the sweep last worked on.
        force: make it champion even where it is not better than the present one.

    Raises:
        ConfigError: the registry does not accept the name, or a pre-trained model is to be confirmed.
        CheckpointError: the run's checkpoint is damaged.
        CorpusError: trials on fresh seeds are missing, and the text is not at hand.
        TrackingError: there is no such sweep or run, it has no finished trial that can be read, or the store fails.
        KeyboardInterrupt: the training of fresh seeds was interrupted; the same call goes on.
    """
    registry = ModelRegistry(store.uri, name)
    champion = registry.champion()
    with scratch_folder() as folder:
        if options is None:
            found = find_model(reference, store, folder)
        else:
            found = find_confirmed(reference, store, folder, champion, options)
        run, messages, left_out = found.run, [*found.messages], [*found.left_out]
        measured, champion = found.measured, _with_fresh(registry, champion, found, run)
        sample = _sample(run, store, left_out)
        example = _example_prompt(found.vocabulary, sample)
        version = registry.of_run(run.run_id)
        is_new = version is None
        between = _between(measured, champion, run, found.margin)
        rival = champion if version is None or champion is None or champion.version != version.version else None
        card = model_card(
            run,
            vocabulary=found.vocabulary,
            sample=sample,
            origin=found.origin,
            rival=Rival(version=rival.version, label=rival.label, between=between) if rival and between else None,
        )
        if version is None:
            version = registry.add(run, found.checkpoint, measured, card=card, example_prompt=example)
            messages.append(f"registered it as version {version.version} of {name}")
        else:
            messages.append(f"it is version {version.version} of {name} already; one run makes one version")
            if measured.fresh and measured.fresh != version.fresh:
                version = registry.update(version, measured, card=card)
                messages.append(f"version {version.version} now has the loss of these fresh seeds")
    decided = challenge(version, champion, between, force=force)
    if decided.wins and (champion is None or champion.version != version.version):
        registry.set_champion(version)
    return Registration(
        name=name,
        version=version,
        is_new=is_new,
        is_champion=decided.wins,
        messages=(*messages, decided.why),
        left_out=tuple(left_out),
        example_prompt=example,
        confirmation=found.origin.confirmation if found.origin else None,
        rival=rival,
        between=between if rival else None,
    )


def _with_fresh(
    registry: ModelRegistry, champion: RegisteredVersion | None, found: Found, run: ModelRun
) -> RegisteredVersion | None:
    """The champion, with the losses of fresh seeds that were found out along with the new model's."""
    confirmation = found.origin.confirmation if found.origin else None
    if champion is None or confirmation is None or confirmation.champion is None:
        return champion
    losses = confirmation.champion
    return registry.update(champion, Measured(val_loss=fmean(losses.values()), how="fresh seeds", fresh=losses))


def _between(measured: Measured, champion: RegisteredVersion | None, run: ModelRun, margin: float) -> Contest | None:
    """The new model's loss against the champion's on fresh seeds; None where they cannot be compared."""
    if champion is None or not champion.fresh or champion.corpus_digest != run.corpus_digest:
        return None
    return contest(measured.fresh, champion.fresh, margin)


def _sample(run: ModelRun, store: Store, left_out: list[str]) -> str:
    """The text that the model wrote; empty if it cannot be read."""
    try:
        return read_text(get_run(store, run.run_id), names.SAMPLE_FILE, store.uri)
    except UnreadableError as error:
        left_out.append(f"{names.SAMPLE_FILE} of run {run.run_id} {error}")
        return ""


def _example_prompt(vocabulary: str, sample: str) -> str:
    """The study's prompt where the model knows its characters, else the beginning of what the model wrote."""
    if set(SPEAKER_TEXT) <= set(vocabulary):
        return SPEAKER_TEXT
    lines = [line.strip() for line in sample.splitlines() if line.strip()]
    return lines[0][:_LONGEST_EXAMPLE] if lines else vocabulary[-1]
