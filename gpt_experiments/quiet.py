"""Keeps libraries' warnings and log records off the user's screen, in every process of the program."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from typing import Final

DEBUG_VARIABLE: Final = "GPT_EXPERIMENTS_DEBUG"
"""If it is set, a developer wants to see tracebacks, warnings and log records."""

_QUIET_VARIABLE: Final = "GPT_EXPERIMENTS_QUIET_LIBRARIES"  # inherited by the processes that this one starts
_MLFLOW_LEVEL_VARIABLE: Final = "MLFLOW_LOGGING_LEVEL"


def wants_debugging() -> bool:
    return bool(os.environ.get(DEBUG_VARIABLE))


def wants_log() -> bool:
    """Whether log records are wanted on the screen: by a developer, or because the user asked MLflow to log."""
    return wants_debugging() or bool(os.environ.get(_MLFLOW_LEVEL_VARIABLE))


def quieten_libraries() -> None:
    """From now on, here and in processes started from here, no library writes to the screen by itself.

    This program's own messages go through listeners and exceptions. Warnings that the user asked Python for, with
    `-W` or PYTHONWARNINGS, are shown, and log records where the user has set MLFLOW_LOGGING_LEVEL.
    """
    if wants_debugging():
        return
    os.environ[_QUIET_VARIABLE] = "1"
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    _hide_log()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        os.environ["PYTHONWARNINGS"] = "ignore"


def quieten_worker() -> None:
    """Do in a child process what it does not inherit from `quieten_libraries`.

    Warnings are hidden in every worker, also where the sweep was started from Python, unless the user asked for them.
    """
    if wants_debugging():
        return
    if os.environ.get(_QUIET_VARIABLE):
        _hide_log()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def _hide_log() -> None:
    if not wants_log():
        logging.disable(logging.CRITICAL)


def let_threads_sleep() -> None:
    """From now on, in processes that are started from here, and here if PyTorch is not loaded: threads wait asleep.

    OpenMP's threads otherwise spin while they wait for one another. Where others want the same cores, that makes a
    training with two threads many times slower. A user's own choice stays.
    """
    if "GOMP_SPINCOUNT" not in os.environ:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
