"""Turns Ctrl-C, SIGTERM and a closed terminal into a stop request, or into KeyboardInterrupt."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType
from typing import Any, Final

_HANG_UP: Final = getattr(signal, "SIGHUP", None)  # Windows has none, and cannot hold signals back
_CAN_HOLD_BACK: Final = hasattr(signal, "pthread_sigmask")
_SIGNALS: Final = tuple(number for number in (signal.SIGINT, _HANG_UP, signal.SIGTERM) if number is not None)
_SECONDS_OF_ECHO: Final = 1.0  # a shell and the system, or `timeout`, may each send a signal for one request


class _Requests:
    """Separates new requests from repetitions: a hang-up after a signal, or a quick second signal."""

    def __init__(self) -> None:
        self._first: float | None = None

    @property
    def any(self) -> bool:
        return self._first is not None

    def is_new(self, number: int) -> bool:
        now = time.monotonic()
        if self._first is None:
            self._first = now
            return True
        return number != _HANG_UP and now - self._first > _SECONDS_OF_ECHO


class StopRequest:
    """Inside the block, the first signal sets `requested`; one a second later or more raises KeyboardInterrupt.

    A signal that was ignored when the program started stays so: SIGHUP under `nohup`, Ctrl-C in a script's background.
    Outside the main thread, where Python cannot handle signals, the block changes nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._requests = _Requests()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        self._before = _handle(self._request)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self._requests.is_new(number):
            if self.requested:
                raise KeyboardInterrupt
            self.requested = True


def interrupt_on_termination() -> Callable[[], bool]:
    """Let SIGTERM and a closed terminal do what Ctrl-C does from now on, so that open files and runs are closed.

    Returns:
        Whether one of them has come: a library may have turned the KeyboardInterrupt into another error.
    """
    requests = _Requests()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if requests.is_new(number):
            raise KeyboardInterrupt

    _handle(interrupt)
    return lambda: requests.any


@contextmanager
def deferred_signals() -> Iterator[None]:
    """A process that is started inside the block holds these signals back until it calls `leave_to_parent`.

    Otherwise one that reaches the whole group would kill it while it loads, which looks like a trial that failed.
    What comes for this process meanwhile is handled at the end of the block.
    """
    if not _CAN_HOLD_BACK:
        yield
        return
    resource_tracker.ensure_running()  # Python starts it with the first process, and then lets signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_to_parent() -> None:
    """In a child process: ignore what a terminal, systemd or Slurm sends to all; the parent decides what it means."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if _CAN_HOLD_BACK:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def _handle(handler: Any) -> dict[signal.Signals, Any]:
    """Handle each signal that is not ignored; returns the handlers before."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    handled = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in handled}
