"""Who ran what and where: tags with which a run can be understood, and its owner found, later."""

from __future__ import annotations

import getpass
import os
import platform
import re
import socket
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import psutil

import gpt_experiments
from gpt_experiments import names
from gpt_experiments.errors import without_secrets
from gpt_experiments.tracking.checkout import Checkout, checkout_of
from gpt_experiments.tracking.mlflow_internals import mlflow_tags

# A process's start time is counted from the boot, which the system dates anew when its clock is set.
_SECONDS_OF_DOUBT: Final = 60
_OWNER: Final = re.compile(r"(.*)\|(\d+)\|(\d+)")  # host, process id, start time
CHECKOUT_TAGS: Final = (
    mlflow_tags.MLFLOW_GIT_COMMIT,
    mlflow_tags.MLFLOW_GIT_BRANCH,
    mlflow_tags.MLFLOW_GIT_DIRTY,
    names.UNCOMMITTED,
)
"""The tags that only a program has that runs from a checkout, the last only one with changes."""


def source_tags() -> dict[str, str]:
    """MLflow's own source and git tags, what the code differs in from its commit, and the versions that compute."""
    return {
        mlflow_tags.MLFLOW_USER: _user(),
        mlflow_tags.MLFLOW_SOURCE_NAME: _command_line(),
        mlflow_tags.MLFLOW_SOURCE_TYPE: "LOCAL",
        names.VERSIONS: _versions(),
        names.OWNER: this_process(),
        **_checkout_tags(),
    }


def _checkout_tags() -> dict[str, str]:
    checkout = this_checkout()
    if checkout is None:
        return {}
    return {
        mlflow_tags.MLFLOW_GIT_COMMIT: checkout.commit,
        mlflow_tags.MLFLOW_GIT_BRANCH: checkout.branch,
        mlflow_tags.MLFLOW_GIT_DIRTY: str(checkout.is_dirty).lower(),
        **({names.UNCOMMITTED: checkout.uncommitted.digest} if checkout.uncommitted else {}),
    }


def _command_line() -> str:
    """The command as it was typed, without passwords, and with escapes for a file name that is no text."""
    line = " ".join(["gpt-experiments", *map(without_secrets, sys.argv[1:])])
    return line.encode("utf-8", "backslashreplace").decode()


def git_commit() -> str | None:
    """The commit of the checkout that this program runs from; None where it is installed from a wheel."""
    checkout = this_checkout()
    return None if checkout is None else checkout.commit


def this_checkout() -> Checkout | None:
    """The checkout that this program runs from; None where it is installed from a wheel."""
    return checkout_of(Path(gpt_experiments.__file__).parent)


def this_process() -> str:
    """This process as a tag: host, process id, and start time, because ids are used again."""
    return _owner_tag(psutil.Process())


def is_dead(owner: str) -> bool:
    """Whether the process that `owner` names has certainly ended; on another host that is never certain."""
    match = _OWNER.fullmatch(owner)
    if match is None or match[1] != socket.gethostname():
        return False
    try:
        process = psutil.Process(int(match[2]))
        if process.status() == psutil.STATUS_ZOMBIE:  # it has ended, but its parent has not read its status
            return True
        started = process.create_time()
    except psutil.NoSuchProcess:
        return True
    return abs(started - int(match[3])) > _SECONDS_OF_DOUBT


def is_alive_here(owner: str) -> bool:
    """Whether `owner` names a process of this host that lives."""
    match = _OWNER.fullmatch(owner)
    return match is not None and match[1] == socket.gethostname() and not is_dead(owner)


def is_suspended(owner: str) -> bool:
    """Whether `owner` names a process of this host that does not run, as after Ctrl-Z."""
    match = _OWNER.fullmatch(owner)
    try:
        return match is not None and psutil.Process(int(match[2])).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False


def described(owner: str) -> str:
    """The process that `owner` names, for a message."""
    match = _OWNER.fullmatch(owner)
    return f"process {match[2]} on {match[1]}" if match else "a process that left no name"


def _owner_tag(process: psutil.Process) -> str:
    return f"{socket.gethostname()}|{process.pid}|{process.create_time():.0f}"


@cache
def _versions() -> str:
    packages = ["gpt-experiments", "torch", "mlflow", "optuna", "numpy", "numba"]
    found = [f"python {platform.python_version()}"]
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            # Ours may run from a checkout that is not installed; Numba is not built for every machine.
            ours = f"{gpt_experiments.__version__} (not installed)"
            found.append(f"{package} {ours if package == 'gpt-experiments' else 'missing'}")
    return ", ".join(found)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user id without a name
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"
