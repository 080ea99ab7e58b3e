"""Sweeps that train in the process of the tests are about what is trained, when, and where it is logged."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gpt_experiments.artifacts import write_trial_files
from tests.support.few_files import write_checkpoint

_WRITER = "gpt_experiments.execution.files.write_trial_files"


@pytest.fixture(scope="module", autouse=True)
def _few_files() -> Iterator[None]:
    """Trials that train in this process leave only their checkpoints."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_WRITER, write_checkpoint)
        yield


@pytest.fixture
def all_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials leave all their files, as for a user."""
    monkeypatch.setattr(_WRITER, write_trial_files)
