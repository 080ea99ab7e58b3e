"""Executors for tests, on one CPU core unless they are to have more."""

from __future__ import annotations

from typing import Any

from gpt_experiments.execution.protocol import Hardware


def hardware(**changes: Any) -> Hardware:
    values: dict[str, Any] = {"device": "cpu", "name": "some", "workers": 1, "threads": 1}
    return Hardware(**values | changes)
