"""Runs trials and reports what happens to them; `sweep` decides which ones, and why."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gpt_experiments.corpus import Corpus
    from gpt_experiments.execution.protocol import Executor, Hardware

EXECUTORS: Final[Mapping[str, tuple[str, str]]] = {
    "local": ("gpt_experiments.execution.local", "LocalExecutor"),
    "inline": ("gpt_experiments.execution.inline", "InlineExecutor"),
    "ray": ("gpt_experiments.execution.ray_cluster", "RayExecutor"),
}
"""By the name that `--executor` takes: the module and the class. Nothing is imported before it is asked for."""


def make_executor(name: str, corpus: Corpus, hardware: Hardware) -> Executor:
    """The executor of that name, of `EXECUTORS`; to be closed."""
    module, kind = EXECUTORS[name]
    executor: Executor = getattr(import_module(module), kind)(corpus, hardware)
    return executor
