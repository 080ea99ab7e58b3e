"""A pool of workers that has none yet."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from gpt_experiments.corpus import Corpus
from gpt_experiments.sweep import pool as pool_module
from gpt_experiments.sweep.pool import WorkerPool
from gpt_experiments.sweep.worker import WorkerSetup
from gpt_experiments.training import train_group


def test_who_asks_a_pool_without_workers_waits_as_long_as_with_some(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on Windows, where a wait for nothing returns at once, so that asking again and again would take a core."""

    def wait_on_windows(objects: Sequence[object], timeout: float | None = None) -> list[object]:
        assert not objects
        return []

    monkeypatch.setattr(pool_module, "wait", wait_on_windows)
    pool = WorkerPool(corpus, WorkerSetup(device_name="cpu", threads=1, trainer=train_group), size=1)
    started = time.monotonic()
    assert pool.messages(0.2) == []
    assert time.monotonic() - started >= 0.19
    pool.close()
