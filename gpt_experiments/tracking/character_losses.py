"""Reads the losses of single characters of those trials whose contexts can be compared by them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mlflow.entities import Run
from numpy.typing import NDArray

from gpt_experiments import names
from gpt_experiments.config import Variant
from gpt_experiments.tracking.run_files import LeftOut, UnreadableError, read_losses
from gpt_experiments.tracking.store import Store


def differs_in_context_alone(variant: Variant, baseline: Variant, columns: Sequence[str]) -> bool:
    """Whether of the parameters named by `columns` at most block_size is not the baseline's."""
    return all(variant.value(name) == baseline.value(name) for name in columns if name != "block_size")


def character_losses(
    store: Store, runs: Sequence[tuple[Run, str]], left_out: LeftOut
) -> dict[str, NDArray[np.float16]]:
    """The losses of single characters of every run that has them, by its id; runs until 0.1.0 have none.

    Args:
        runs: each with the name under which `left_out` gets what cannot be read of it.
    """
    found = {}
    for run, whose in runs:
        try:
            losses = read_losses(run, names.CHARACTERS_FILE, store.uri)
        except UnreadableError as error:
            left_out.add(names.CHARACTERS_FILE, str(error), whose)
        else:
            if losses is not None:
                found[run.info.run_id] = losses
    return found
