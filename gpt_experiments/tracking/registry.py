"""MLflow's model registry: the versions of one model, and which of them is the champion."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from mlflow.entities.model_registry import ModelVersion

from gpt_experiments import names
from gpt_experiments.errors import ConfigError, shown
from gpt_experiments.scratch import scratch_folder
from gpt_experiments.tracking.connection import as_default_store, require_name
from gpt_experiments.tracking.failures import as_tracking_errors
from gpt_experiments.tracking.logged_models import log_model, logged_model_of
from gpt_experiments.tracking.model_package import write_model_package
from gpt_experiments.tracking.retry import RetryPolicy, retrying_client
from gpt_experiments.tracking.schema import ModelRun

_DESCRIPTION_LENGTH: Final = 5000  # MLflow's column in every database
_ABOUT: Final = "Character-level GPTs, each the best of a sweep. Every version's description is its model card."


@dataclass(frozen=True, kw_only=True)
class RegisteredVersion:
    """One version; a field that its tags lack, as if another program made the version, is None.

    Attributes:
        val_loss: on the corpus's validation split, nats per character: the mean over fresh seeds, else that of the
            registered weights.
        fresh: the loss of each seed that did not choose it; None where its variant was not trained on any.
    """

    version: str
    run_id: str | None
    label: str | None
    val_loss: float | None
    corpus: str | None
    corpus_digest: str | None
    n_params: int | None = None
    fresh: Mapping[int, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The loss of a version, and what it is.

    Attributes:
        val_loss: nats per character.
        how: `fresh seeds`, `choice` (the trials that chose it measured it too), or `one run`.
        fresh: the loss of each fresh seed; empty where there are none.
    """

    val_loss: float
    how: Literal["fresh seeds", "choice", "one run"]
    fresh: Mapping[int, float] = field(default_factory=dict)

    def tags(self) -> dict[str, str]:
        """What a version says of it."""
        tags = {names.SCORE: repr(self.val_loss), names.MEASURED: self.how}
        if self.fresh:
            tags[names.FRESH_LOSSES] = json.dumps({str(seed): loss for seed, loss in sorted(self.fresh.items())})
        return tags


class ModelRegistry:
    """The versions of the model `name` in the registry that belongs to a tracking store.

    Raises:
        ConfigError: MLflow does not accept the name.
    """

    def __init__(self, uri: str, name: str) -> None:
        require_name("a model's name", name)
        if set(name) & set("/:@'\"`"):
            raise ConfigError(
                f"a model's name must not hold / : @ or quotes, but got {shown(name)}; "
                f"the default is {names.DEFAULT_MODEL}"
            )
        self.uri, self.name = uri, name
        with as_tracking_errors(uri):
            self._client = retrying_client(uri, RetryPolicy())

    def of_run(self, run_id: str) -> RegisteredVersion | None:
        """The newest version that was made from that run."""
        with as_tracking_errors(self.uri):
            versions = self._client.search_model_versions(f"name = '{self.name}' and run_id = '{run_id}'")
        newest = max(versions, key=lambda version: int(version.version), default=None)
        return _read_version(newest) if newest else None

    def champion(self) -> RegisteredVersion | None:
        """The version that has the alias `champion`."""
        with as_tracking_errors(self.uri):
            for model in self._client.search_registered_models(f"name = '{self.name}'"):
                if number := model.aliases.get(names.CHAMPION):
                    return _read_version(self._client.get_model_version(self.name, number))
        return None

    def add(
        self, run: ModelRun, checkpoint: Path, measured: Measured, *, card: str, example_prompt: str
    ) -> RegisteredVersion:
        """A new version of the run's logged model, which then has the files that MLflow loads and serves."""
        tags = {
            names.RUN: run.run_id,
            names.VARIANT: run.label,
            names.CELL: run.cell,
            names.SWEEP: run.sweep,
            names.CORPUS: run.corpus,
            names.CORPUS_DIGEST: run.corpus_digest,
            names.SIZE: str(run.n_params),
            **measured.tags(),
        }
        with as_tracking_errors(self.uri), as_default_store(self.uri), scratch_folder() as temporary:
            model_id = logged_model_of(self._client, run.run_id) or self._log_model(run)
            folder = temporary / "model"
            write_model_package(checkpoint, example_prompt, folder)
            self._client.log_model_artifacts(model_id, str(folder))
            if not self._client.search_registered_models(f"name = '{self.name}'"):
                self._client.create_registered_model(self.name, description=_ABOUT)
            version = self._client.create_model_version(
                self.name,
                source=f"models:/{model_id}",
                run_id=run.run_id,
                model_id=model_id,
                tags={name: value for name, value in tags.items() if value is not None},
                description=card[:_DESCRIPTION_LENGTH],
            )
        return _read_version(version)

    def update(self, version: RegisteredVersion, measured: Measured, *, card: str | None = None) -> RegisteredVersion:
        """Give an existing version another loss, and with it a new model card; without `card` the old one stays."""
        with as_tracking_errors(self.uri):
            for tag, value in measured.tags().items():
                self._client.set_model_version_tag(self.name, version.version, tag, value)
            if card is not None:
                self._client.update_model_version(self.name, version.version, card[:_DESCRIPTION_LENGTH])
            return _read_version(self._client.get_model_version(self.name, version.version))

    def _log_model(self, run: ModelRun) -> str:
        """A logged model for a run of version 0.1.0, which has none."""
        return log_model(
            self._client,
            self._client.get_run(run.run_id).info.experiment_id,
            run.run_id,
            name=run.label,
            params=run.params,
            tags={names.CORPUS: run.corpus, names.CORPUS_DIGEST: run.corpus_digest, names.VARIANT: run.label},
            metrics={},
        )

    def set_champion(self, version: RegisteredVersion) -> None:
        """Give the version the alias `champion`, taking it from the one that has it."""
        with as_tracking_errors(self.uri):
            self._client.set_registered_model_alias(self.name, names.CHAMPION, version.version)


def _read_version(version: ModelVersion) -> RegisteredVersion:
    tags = version.tags
    return RegisteredVersion(
        version=str(version.version),
        run_id=version.run_id,
        label=tags.get(names.VARIANT),
        val_loss=_score(tags),
        corpus=tags.get(names.CORPUS),
        corpus_digest=tags.get(names.CORPUS_DIGEST),
        n_params=_size(tags),
        fresh=_fresh(tags),
    )


def _size(tags: Mapping[str, str]) -> int | None:
    try:
        return int(tags[names.SIZE])
    except (KeyError, ValueError):
        return None


def _fresh(tags: Mapping[str, str]) -> Mapping[int, float] | None:
    """The losses on fresh seeds; None where there are none, or a person's edit has left something else."""
    try:
        losses = {int(seed): float(loss) for seed, loss in json.loads(tags[names.FRESH_LOSSES]).items()}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    return losses if losses and all(map(math.isfinite, losses.values())) else None


def _score(tags: Mapping[str, str]) -> float | None:
    try:
        return float(tags[names.SCORE])
    except (KeyError, ValueError):
        return None
