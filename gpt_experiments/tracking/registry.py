"""MLflow's model registry: the versions of one model, and which of them is the champion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

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
        val_loss: of the registered weights on the corpus's validation split, nats per character.
    """

    version: str
    run_id: str | None
    label: str | None
    val_loss: float | None
    corpus: str | None
    corpus_digest: str | None


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

    def add(self, run: ModelRun, checkpoint: Path, *, card: str, example_prompt: str) -> RegisteredVersion:
        """A new version of the run's logged model, which then has the files that MLflow loads and serves."""
        tags = {
            names.RUN: run.run_id,
            names.VARIANT: run.label,
            names.CELL: run.cell,
            names.SWEEP: run.sweep,
            names.CORPUS: run.corpus,
            names.CORPUS_DIGEST: run.corpus_digest,
            names.SCORE: repr(run.val_loss),
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
    )


def _score(tags: Mapping[str, str]) -> float | None:
    try:
        return float(tags[names.SCORE])
    except (KeyError, ValueError):
        return None
