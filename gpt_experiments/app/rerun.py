"""`rerun`: trains a finished trial again, as its run says, and compares what comes out bit for bit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

import torch

from gpt_experiments import names
from gpt_experiments.analysis.comparison import (
    CurveComparison,
    FactsComparison,
    compare_curves,
    compare_facts,
)
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import (
    CheckpointError,
    ConfigError,
    CorpusError,
    ExperimentError,
    TrackingError,
    shortened,
    without_secrets,
)
from gpt_experiments.execution.group_training import train_jobs
from gpt_experiments.execution.protocol import Job, JobFailed, Notice
from gpt_experiments.execution.worker import warnings_as_notices
from gpt_experiments.kernels import SWITCH, are_switched_on, switch_kernels
from gpt_experiments.model import GPT, load_checkpoint
from gpt_experiments.model.difference import WeightsDifference, compare_weights
from gpt_experiments.records import Outcome, PlannedTrial, SweepListener, SweepStart, TrialRecord
from gpt_experiments.scratch import scratch_folder
from gpt_experiments.sweep.resources import usable_cores
from gpt_experiments.tracking.facts import computing_tags
from gpt_experiments.tracking.provenance import source_tags
from gpt_experiments.tracking.repeatable import RepeatableTrial
from gpt_experiments.training import (
    Evaluation,
    Progress,
    TrainingResult,
    describe_device,
    devices_of,
    prepare_process,
    resolve_device,
    train_group,
)

_DIGITS: Final = 16  # of a digest in a message


@dataclass(frozen=True, kw_only=True)
class Rerun:
    """What came out when a trial was trained again; A is then, B is now.

    Attributes:
        label: the variant's.
        device, threads, kernels: on what it trained now, with how many CPU threads, and whether the kernels were on.
        weights: None where the checkpoint could not be compared.
        problem: why it could not; None where it was.
        facts: what the two results depend on.
        notes: sentences on what else may be the reason of a difference.
    """

    run_id: str
    label: str
    seed: int
    device: str
    threads: int
    kernels: bool
    curves: CurveComparison
    weights: WeightsDifference | None
    problem: str | None
    facts: FactsComparison
    notes: tuple[str, ...]

    @property
    def is_identical(self) -> bool:
        """Whether all losses and all weights are the same, bit for bit."""
        return self.curves.is_identical and self.weights is not None and self.weights.is_identical


def rerun_trial(
    run_id: str,
    *,
    device: str | None,
    tracking_uri: str | None,
    open_corpus: Callable[[], Corpus],
    listener: SweepListener,
) -> Rerun:
    """Train the trial of a finished run again, in this process, and compare losses and weights; nothing is stored.

    The device, the CPU threads and the switch of the kernels are what its run says. Where it does not say how many
    threads it had, they are what a sweep gives a trial, or `train`.

    Args:
        device: trains on another device than then.
        open_corpus: is called once the run is known to be one that can be trained again.
        listener: gets the progress and the losses.

    Raises:
        TrackingError: there is no such run, or it is not that of a finished trial, or it lacks what is needed.
        CorpusError: the corpus is another one.
        ConfigError: the device is not here.
        ExperimentError: the training fails.
    """
    stored = RepeatableTrial(run_id, tracking_uri)
    target = _device(stored, device)
    corpus = open_corpus()
    _require_corpus(stored, corpus)
    threads = stored.threads or (1 if stored.has_parent else usable_cores())
    with _prepared(target, threads, stored.kernels):
        hardware = describe_device(target)
        result = _train(stored, corpus, target, threads, hardware, listener)
        kernels = are_switched_on()
        tags = computing_tags(hardware=hardware, threads=threads, replicas=1, kernels=kernels)
        weights, problem = _compare_weights(stored, result.model)
    name = stored.device if device is None and stored.device else str(target)
    return Rerun(
        run_id=stored.run_id,
        label=stored.label,
        seed=stored.trial.seed,
        device=str(target),
        threads=threads,
        kernels=kernels,
        curves=compare_curves(stored.evaluations, result.evaluations),
        weights=weights,
        problem=problem,
        facts=compare_facts(stored.facts, stored.facts_now({**source_tags(), **tags}, name)),
        notes=tuple(_notes(stored)),
    )


def _device(stored: RepeatableTrial, wanted: str | None) -> torch.device:
    """The device to train on; of several, the first."""
    try:
        return devices_of(resolve_device(wanted or stored.device or "auto"))[0]
    except ConfigError as error:
        if wanted is not None or stored.device is None:
            raise
        raise ConfigError(
            f"run {stored.run_id} was trained on {shortened(stored.device, 40)}, which is not here ({error})"
        ) from error


def _require_corpus(stored: RepeatableTrial, corpus: Corpus) -> None:
    if corpus.digest == stored.corpus_digest:
        return
    source = f", from {shortened(without_secrets(stored.corpus_source), 100)}" if stored.corpus_source else ""
    raise CorpusError(
        f"run {stored.run_id} was trained on {shortened(stored.corpus, 60)} (SHA-256 "
        f"{stored.corpus_digest[:_DIGITS]}...{source}), but this text is {shortened(corpus.name, 60)} (SHA-256 "
        f"{corpus.digest[:_DIGITS]}...); give the text that it was trained on with --data"
    )


@contextmanager
def _prepared(device: torch.device, threads: int, kernels: bool | None) -> Iterator[None]:
    """A block in which this process is set up as the trial's was; afterwards it is as before."""
    with ExitStack() as afterwards:
        afterwards.callback(torch.set_num_threads, torch.get_num_threads())
        afterwards.callback(torch.set_deterministic_debug_mode, torch.get_deterministic_debug_mode())
        afterwards.callback(torch.set_rng_state, torch.get_rng_state())
        if kernels is not None:
            afterwards.callback(_set_switch, os.environ.get(SWITCH))
            switch_kernels(on=kernels)
        prepare_process(device, threads)
        yield


def _set_switch(value: str | None) -> None:
    if value is None:
        os.environ.pop(SWITCH, None)
    else:
        os.environ[SWITCH] = value


def _train(
    stored: RepeatableTrial,
    corpus: Corpus,
    device: torch.device,
    threads: int,
    hardware: str,
    listener: SweepListener,
) -> TrainingResult:
    """Train, and tell the listener; it sees a sweep of this one trial."""
    trial = stored.trial
    planned = PlannedTrial(
        trial=trial,
        variant=trial.variant,
        label=stored.label,
        cell=stored.cell,
        n_params=trial.model_config(corpus.vocab_size).n_params,
    )
    listener.sweep_started(
        SweepStart(
            name="rerun",
            total=1,
            to_train=1,
            workers=1,
            threads=threads,
            writers=0,
            replicas=1,
            device=str(device),
            hardware=hardware,
            corpus=corpus.name,
            steps=trial.training.steps,
            tracking_uri=without_secrets(stored.uri),
            experiment=stored.experiment,
        )
    )
    listener.trial_started(planned)
    job = Job(key=stored.cell, trial=trial, label=stored.label)
    with warnings_as_notices(job.key, lambda key, event: _tell(listener, event)):
        for _, step in train_jobs([job], corpus, device, train_group):
            match step:
                case Progress():
                    listener.trial_progress(planned, step)
                case Evaluation():
                    listener.trial_evaluated(planned, step)
                case Notice():
                    _tell(listener, step)
                case TrainingResult():
                    result = step
                case JobFailed(reason=reason):
                    raise ExperimentError(f"run {stored.run_id} could not be trained again: {reason}")
    ended = TrialRecord(planned=planned, outcome=Outcome.FINISHED, run_id=stored.run_id, summary=result.summary)
    listener.trial_ended(ended)
    return result


def _tell(listener: SweepListener, event: object) -> None:
    if isinstance(event, Notice):
        listener.notice(event.text)


def _compare_weights(stored: RepeatableTrial, model: GPT) -> tuple[WeightsDifference | None, str | None]:
    """How the weights differ from those in the run's checkpoint, or why that is not known."""
    with scratch_folder() as folder:
        try:
            kept = load_checkpoint(stored.download_checkpoint(folder)).model
        except (CheckpointError, TrackingError) as error:
            return None, str(error)
    if kept.config != model.config:
        return None, "its checkpoint holds a model of another shape than its parameters say"
    return compare_weights(kept.state_dict(), model.state_dict()), None


def _notes(stored: RepeatableTrial) -> Iterator[str]:
    replicas = stored.facts.hardware["replicas"]
    if replicas not in (None, "1"):
        dropout = stored.trial.shape.dropout
        masks = f", and dropout={dropout:g} drew other masks" if dropout else ""
        yield (
            f"Then {replicas} trials trained together as one model: sums were rounded in another order{masks} than "
            "now, when it trains alone."
        )
    if stored.threads is None:
        yield f"How many CPU threads it had ({names.THREADS}) is not recorded; another number can round sums otherwise."
