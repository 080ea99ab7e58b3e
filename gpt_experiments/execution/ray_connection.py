"""Reaches a Ray cluster, or starts Ray on this machine, and says what machines there are."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from gpt_experiments.errors import ConfigError, ExperimentError, first_line
from gpt_experiments.execution.ray_plan import Machine
from gpt_experiments.quiet import let_threads_sleep, wants_debugging

try:
    import ray
except ImportError:
    ray = None  # type: ignore[assignment]

_OBJECT_STORE: Final = 2**30  # bytes of this machine's memory, where Ray is started here; they are taken as needed
_SECONDS_FOR_A_LOOK: Final = 60.0  # at a GPU of the cluster, which may be busy
_connected: list[str | None] = []  # the address that this module has connected to, if it has


def require_ray() -> None:
    """Make sure that Ray is installed.

    Raises:
        ConfigError: it is not.
    """
    if ray is None:
        raise ConfigError(
            "executor 'ray' needs the package ray, which is not installed; "
            "install it with: python -m pip install 'gpt-experiments[ray]'"
        )


def connect(address: str | None, *, cpus: int = 0, gpus: int = 0) -> None:
    """Connect this process to the cluster at the address, unless it is connected.

    Args:
        address: `auto`, HOST:PORT or ray://HOST:PORT; None starts Ray on this machine, with so many `cpus` and `gpus`.

    Raises:
        ConfigError: Ray is not installed, or there is no cluster that can be used.
    """
    require_ray()
    if ray.is_initialized() and (not _connected or _connected == [address]):
        return  # by this module, or by a program that called this one and chose the cluster itself
    disconnect()
    let_threads_sleep()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet = not wants_debugging()
    how: dict[str, Any] = {"log_to_driver": not quiet, "logging_level": "ERROR" if quiet else "INFO"}
    if address is None:
        how |= {"num_cpus": cpus, "num_gpus": gpus, "object_store_memory": _OBJECT_STORE, "include_dashboard": False}
    if quiet:
        _silence()
    if address is not None and address.startswith("ray://"):
        _use_token()
    try:
        with _signals_as_they_are():
            ray.init(address=address or "local", **how)
    except Exception as error:  # Ray raises errors of many kinds here
        raise ConfigError(_why_not(address, error)) from error
    _connected[:] = [address]


def disconnect() -> None:
    """End the connection, if this module has made it; a Ray that was started here ends, too."""
    if _connected and ray.is_initialized():
        with _signals_as_they_are():
            ray.shutdown()
    _connected.clear()


def machines() -> list[Machine]:
    """The machines of the cluster that this process is connected to, as far as they train."""
    found = (node.get("Resources", {}) for node in ray.nodes() if node.get("Alive"))  # type: ignore[no-untyped-call]
    each = [Machine(cpus=int(has.get("CPU", 0)), gpus=int(has.get("GPU", 0))) for has in found]
    return [machine for machine in each if machine.cpus or machine.gpus]


def look_at_gpu(gpus: float) -> tuple[str, int | None] | None:
    """The name and the free memory (bytes) of a GPU of the cluster, for a worker that gets so much of it.

    None if none could be looked at within a minute: all are busy, or there is none yet.
    """
    look = ray.remote(num_cpus=0, num_gpus=gpus, max_retries=1)(_describe_gpu).remote(round(1 / min(gpus, 1)))
    try:
        answer: tuple[str, int | None] = ray.get(look, timeout=_SECONDS_FOR_A_LOOK)
    except ray.exceptions.RayError:
        ray.cancel(look, force=True)
        return None
    return answer


def _describe_gpu(sharing: int) -> tuple[str, int | None]:
    import torch

    from gpt_experiments.training import describe_device, free_memory

    device = torch.device("cuda", 0)
    free = free_memory(device, sharing)
    return describe_device(device), None if free is None else free // sharing


def _why_not(address: str | None, error: Exception) -> str:
    if address is None:
        return f"Ray does not start on this machine: {first_line(error)}; use --executor local"
    where = "no Ray cluster was found on this machine" if address == "auto" else f"no Ray cluster answers at {address}"
    return (
        f"{where}: {first_line(error)}; start one with `ray start --head`, give the HOST:PORT of its head on a machine "
        "of the cluster, or ray://HOST:10001 on any other; a cluster that asks for a token needs it here, too, in "
        "~/.ray/auth_token or $RAY_AUTH_TOKEN"
    )


def _silence() -> None:
    """Keep what Ray says of lost workers off this program's output: it prints that itself, not by a logger."""
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *_, **__: None


def _use_token() -> None:
    """Show the cluster the token that this machine has, as Ray does by itself for the other kinds of address."""
    with contextlib.suppress(ImportError):
        from ray._private.authentication import authentication_token_setup as setup

        setup.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


@contextmanager
def _signals_as_they_are() -> Iterator[None]:
    """Ray takes SIGTERM for itself, and would end the process where this program closes its runs first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class ClusterError(ExperimentError):
    """A cluster was lost, or its machines cannot run this program."""
