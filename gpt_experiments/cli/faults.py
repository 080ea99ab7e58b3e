"""How an error is shown to the user: one short paragraph without secrets; a bug also names its traceback's file."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback

from gpt_experiments.errors import one_line, without_secrets
from gpt_experiments.quiet import DEBUG_VARIABLE


def system_fault(error: OSError) -> str:
    """What the system refused, and where to look."""
    reason = error.strerror or str(error) or type(error).__name__
    if error.filename is None:
        return f"the system refused something ({reason}); check the space on the disk, permissions and the network"
    return (
        f"{os.fsdecode(error.filename)} cannot be read or written ({reason}); check the path, its permissions and the "
        "space on its disk"
    )


def bug(error: BaseException) -> str:
    """What happened, and the file that now holds the traceback; or which package is missing."""
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("gpt_experiments"):
        return (
            f"{error.name} is not installed for {sys.executable}; use the Python that gpt-experiments is installed "
            "for, in a checkout .venv/bin/python, or install it with `pip install -e .`"
        )
    what = one_line(without_secrets(f"{type(error).__name__}: {error}".removesuffix(": ")))
    text = without_secrets("".join(traceback.format_exception(error)))
    try:
        descriptor, path = tempfile.mkstemp(prefix="gpt-experiments-error-", suffix=".txt")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError:
        return f"{what}. This is a bug in gpt-experiments; set {DEBUG_VARIABLE}=1 to see its traceback"
    return f"{what}. This is a bug in gpt-experiments; please report it with its traceback, {path}"
