"""Runs trials, and says what happens to them; which of them, and why, is decided in `sweep`."""

from __future__ import annotations

from typing import Literal

from gpt_experiments.corpus import Corpus
from gpt_experiments.execution.protocol import Executor, Hardware

ExecutorName = Literal["local", "inline"]


def make_executor(name: ExecutorName, corpus: Corpus, hardware: Hardware) -> Executor:
    """The executor of that name; to be closed."""
    if name == "inline":
        from gpt_experiments.execution.inline import InlineExecutor

        return InlineExecutor(corpus, hardware)
    from gpt_experiments.execution.local import LocalExecutor

    return LocalExecutor(corpus, hardware)


__all__ = ["Executor", "ExecutorName", "Hardware", "make_executor"]
