"""Reads from MLflow what is needed to train a finished trial again, and to see whether the same comes out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from gpt_experiments import names
from gpt_experiments.config import Trial
from gpt_experiments.errors import MissingError, TrackingError, shortened
from gpt_experiments.records import RunFacts
from gpt_experiments.tracking.facts import facts_of
from gpt_experiments.tracking.failures import as_tracking_errors, first_line, is_absent
from gpt_experiments.tracking.mlflow_internals import MLFLOW_PARENT_RUN_ID, mlflow_tags
from gpt_experiments.tracking.models import download_checkpoint
from gpt_experiments.tracking.run_files import LeftOut
from gpt_experiments.tracking.runs import failure_of, open_store_of, require_active
from gpt_experiments.tracking.schema import kind_of, problem_of, variant_of
from gpt_experiments.tracking.trial_reader import curves_of, evaluations_of

_MOST_THREADS: Final = 1024
_KIND_REMEDY: Final = {
    "sweep": "give the run of one of its trials",
    "pretrained": "its model was trained elsewhere, and cannot be trained again here",
}


class RepeatableTrial:
    """The run of a finished trial that says all that is needed to train it again; nothing is written to its store.

    Attributes:
        trial: what is trained.
        device: where it was trained, by its name for PyTorch; None where that is not recorded.
        threads: CPU threads that it was trained with; None where that is not recorded.
        kernels: whether the kernels for the CPU were switched on; None where that is not recorded.
        corpus, corpus_digest, corpus_source: what it was trained on, and where that came from, if it says so.
        has_parent: whether a sweep trained it.
        evaluations: its losses, nats per character.

    Raises:
        MissingError: there is no such run, it is no trial's, it is not finished, or lacks what is needed.
        TrackingError: there is no such store, or it fails.
    """

    def __init__(self, run_id: str, tracking_uri: str | None) -> None:
        self._store, self._run = open_store_of(run_id, tracking_uri)
        run, tags = self._run, self._run.data.tags
        require_active(run)
        _require_finished_trial(run)
        self.run_id, self.uri, self.experiment = run.info.run_id, self._store.uri, self._store.experiment.name
        self.label = tags.get(names.VARIANT, run.info.run_name or run_id)
        self.corpus, self.corpus_digest = tags.get(names.CORPUS, "a corpus without a name"), self._digest()
        self.trial, self.cell = self._trial()
        self.device = run.data.params.get(names.DEVICE)
        self.threads = self._threads()
        self.kernels = {"on": True, "off": False}.get(tags.get(names.KERNELS, ""))
        self.has_parent = MLFLOW_PARENT_RUN_ID in tags
        with as_tracking_errors(self.uri):
            self.evaluations = evaluations_of(curves_of(self._store, [(run, self.label)], LeftOut()))
        self.corpus_source = corpus_source(run)

    @property
    def facts(self) -> RunFacts:
        """All that its result depends on."""
        return facts_of(self._run.data.params, self._run.data.tags)

    def facts_now(self, tags: Mapping[str, str], device: str) -> RunFacts:
        """What the same trial's result depends on where its run has these tags and that device."""
        kept = {name: self._run.data.tags.get(name, "") for name in (names.CORPUS, names.CORPUS_DIGEST)}
        return facts_of({**self._run.data.params, names.DEVICE: device}, {**kept, **tags})

    def download_checkpoint(self, into: Path) -> Path:
        """Its checkpoint, below the existing folder `into`; the path of the checkpoint's folder.

        Raises:
            MissingError: it is gone.
            TrackingError: it cannot be read.
        """
        try:
            return Path(download_checkpoint(self._store.artifacts_of(self._run), self.uri, into))
        except (MlflowException, OSError) as error:
            if is_absent(error):
                raise MissingError(f"its checkpoint is gone ({first_line(error)})") from error
            raise TrackingError(f"its checkpoint cannot be read ({first_line(error)})") from error

    def _digest(self) -> str:
        digest: str = self._run.data.tags.get(names.CORPUS_DIGEST, "")
        if not digest:
            raise MissingError(
                f"run {self.run_id} lacks the tag {names.CORPUS_DIGEST}, so nobody can say what it was trained on; "
                "train the trial anew with `train --force`"
            )
        return digest

    def _trial(self) -> tuple[Trial, str]:
        """The trial that the run's parameters name, and its cell, which must be that of the run."""
        params = self._run.data.params
        problem = problem_of(self._run)
        if problem is not None:
            raise MissingError(
                f"run {self.run_id} {problem}, so it cannot be trained again; restore what was edited, or train the "
                "trial anew with `train --force`"
            )
        try:
            variant = variant_of(params)
            trial = Trial(shape=variant.shape, seed=int(params[names.SEED]), training=variant.training)
        except (KeyError, ValueError) as error:
            raise MissingError(
                f"the parameters of run {self.run_id} name no trial ({first_line(error)}); restore what was edited, or "
                "train the trial anew with `train --force`"
            ) from error
        cell, recorded = trial.cell(self.corpus_digest), self._run.data.tags.get(names.CELL)
        if cell != recorded:
            commit = self._run.data.tags.get(mlflow_tags.MLFLOW_GIT_COMMIT)
            raise MissingError(
                f"run {self.run_id} has {names.CELL}={shortened(recorded, 40)}, but its parameters are those of the "
                f"cell {cell}: somebody edited one of them, or another version of this program trained it in another "
                "way; restore what was edited, or use that version" + (f" (commit {commit[:12]})" if commit else "")
            )
        return trial, cell

    def _threads(self) -> int | None:
        text = self._run.data.tags.get(names.THREADS)
        if text is None:
            return None
        if not text.isdecimal() or not 1 <= int(text[:6]) <= _MOST_THREADS:
            raise MissingError(
                f"run {self.run_id} has {names.THREADS}={shortened(text, 40)!r}, which must be a number from 1 to "
                f"{_MOST_THREADS:,}; correct the tag, or delete it"
            )
        return int(text)


def _require_finished_trial(run: Run) -> None:
    kind, run_id, status = kind_of(run), run.info.run_id, run.info.status
    if kind != "trial":
        remedy = _KIND_REMEDY.get(kind or "", "give the run of a trial")
        raise MissingError(f"run {run_id} is no trial: its {names.KIND} is {kind!r}; {remedy}")
    if status == "RUNNING":
        raise MissingError(f"run {run_id} is RUNNING: it has no result yet to compare with; wait until it has ended")
    if status != "FINISHED":
        raise MissingError(
            f"run {run_id} is {status}{failure_of(run)}: it has no result to compare with; give a FINISHED run, or "
            "train the trial with `train`"
        )


def corpus_source(run: Run) -> str | None:
    """Where the corpus came from, as the run's input says: a path, a URL; None where there is none to read."""
    for given in run.inputs.dataset_inputs if run.inputs else ():
        try:
            uri = json.loads(given.dataset.source)["uri"]
        except (ValueError, KeyError, TypeError):
            continue
        return str(uri)
    return None
