"""A store with trained sweeps, which tests of several commands copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.trained import Trained, train_store


@pytest.fixture(scope="session")
def _trained(tmp_path_factory: pytest.TempPathFactory, _empty_store: Path, text: str) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    shutil.copy(_empty_store, folder / "mlflow.db")
    return train_store(folder, text)


@pytest.fixture
def trained(_trained: Trained, tmp_path: Path) -> Trained:
    """A copy of the store, to be damaged."""
    return _trained.copy(tmp_path / "store")
