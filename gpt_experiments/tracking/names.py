"""Every name that this program writes into MLflow, in one place."""

from __future__ import annotations

import re
from typing import Final, Literal

from gpt_experiments.errors import ConfigError, shown

DEFAULT_EXPERIMENT: Final = "gpt-experiments"

Kind = Literal["sweep", "trial", "baseline"]

# Tags
KIND: Final = "gpt.kind"
SWEEP: Final = "gpt.sweep"  # the sweep's name
SWEEP_KEY: Final = "gpt.sweep_key"  # the sweep's identity: what must be equal for two invocations to be one sweep
VARIANT: Final = "gpt.variant"
CELL: Final = "gpt.cell"
OWNER: Final = "gpt.owner"  # the process that writes the run, as host|pid|start time
FAILURE: Final = "gpt.failure"
HARDWARE: Final = "gpt.hardware"
CORPUS: Final = "gpt.corpus"
CORPUS_DIGEST: Final = "gpt.corpus_digest"  # SHA-256 of the text, whole; a dataset input holds only 36 characters
VERSIONS: Final = "gpt.versions"

# Tags of a registered version, beside variant, cell and corpus
RUN: Final = "gpt.run"
SCORE: Final = "gpt.final_val_loss"  # what a champion is challenged on, nats per character

# Model registry
DEFAULT_MODEL: Final = "gpt-experiments"
CHAMPION: Final = "champion"

# Metrics over steps, nats per character
TRAIN_LOSS: Final = "train_loss"
VAL_LOSS: Final = "val_loss"

# Metrics at the end
FINAL_TRAIN_LOSS: Final = "final_train_loss"
FINAL_VAL_LOSS: Final = "final_val_loss"
BEST_VAL_LOSS: Final = "best_val_loss"
N_PARAMS: Final = "n_params"
TRAIN_SECONDS: Final = "train_seconds"
EVAL_SECONDS: Final = "eval_seconds"
TOKENS_PER_SECOND: Final = "tokens_per_second"

# Artifacts
CHECKPOINT_FOLDER: Final = "checkpoint"
MODEL_FOLDER: Final = "model"  # the checkpoint again, as what MLflow loads and serves; only of a registered run
SAMPLE_FILE: Final = "sample.txt"
POSITIONS_FILE: Final = "loss_by_position.csv"
HEADS_FILE: Final = "attention/heads.csv"
EXPLORER_FILE: Final = "attention/explorer.html"
REPORT_FOLDER: Final = "report"
TRACEBACK_FILE: Final = "traceback.txt"
DEFINITION_FILE: Final = "sweep.yaml"
PLAN_FILE: Final = "trials.json"

_LONGEST_NAME: Final = 150  # bytes; the experiment's folder has that name, and MLflow allows a run's whole path 200


def require_name(what: str, name: str) -> None:
    """Refuse a name that MLflow, a folder or a person could not tell from another.

    Args:
        what: what is named, as in `an experiment's name`.

    Raises:
        ConfigError: the name is empty, too long, only dots, or holds what cannot be seen.
    """
    is_seen = name.isprintable() and name == name.strip()
    if not is_seen or re.fullmatch(r"[.]*", name) or len(name.encode()) > _LONGEST_NAME:
        raise ConfigError(
            f"{what} must have visible characters of 1 to {_LONGEST_NAME} bytes, no space at its ends, and not only "
            f"dots, but got {shown(name)} of {len(name.encode(errors='replace'))} bytes; choose another"
        )
