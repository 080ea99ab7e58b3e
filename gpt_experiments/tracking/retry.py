"""Waits for a store that is busy or away, up to a limit, and with notices to the user."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeVar, cast

from mlflow import MlflowClient

from gpt_experiments.tracking.failures import passes_soon, waits_for

_LONGEST_WAIT: Final = 300.0  # seconds
_WAIT_AFTER_STOP: Final = 10.0  # seconds, once the user has asked to stop
_FIRST_NOTICE: Final = 3.0  # seconds
_BETWEEN_NOTICES: Final = 60.0  # seconds
_SHORTEST_PAUSE: Final = 0.25  # seconds; each pause is twice as long as the one before
_LONGEST_PAUSE: Final = 5.0  # seconds
_LONGEST_LOCK: Final = 60.0  # seconds; a call that does not wait for anything else waits for a lock
_BETWEEN_TRIES: Final = 3.0  # seconds, of calls that do not wait

_R = TypeVar("_R")


def say(text: str) -> None:
    """Print a notice where there is no display: on standard error."""
    print(text, file=sys.stderr, flush=True)


class RetryPolicy:
    """Repeats calls that fail for a temporary reason: another program's write to the database, a server that is away.

    Attributes:
        notice: takes a sentence for the user.
        must_stop: whether the user wants to end; a call then waits for seconds, not minutes.
        probe: asks whether the store is there; fails within seconds where it is not, for one of the reasons for which
            calls are repeated. The store sets it.
    """

    def __init__(
        self,
        notice: Callable[[str], None] = say,
        must_stop: Callable[[], bool] = lambda: False,
        *,
        longest_wait: float = _LONGEST_WAIT,
    ) -> None:
        self.notice, self.must_stop = notice, must_stop
        self._longest_wait = longest_wait
        self._is_spent = False  # after a wait in vain no call waits again, until one succeeds
        self._waits = True
        self._failure: Exception | None = None  # of the last call that did not wait
        self._try_at = 0.0
        self.probe: Callable[[], None] = lambda: None

    @contextmanager
    def during_sweep(self, notice: Callable[[str], None], must_stop: Callable[[], bool]) -> Iterator[None]:
        """In the block, notices go to the sweep's display, and its request to stop counts."""
        before = self.notice, self.must_stop
        self.notice, self.must_stop = notice, must_stop
        try:
            yield
        finally:
            self.notice, self.must_stop = before

    @contextmanager
    def without_waiting(self) -> Iterator[None]:
        """In the block a call that fails because the store is away fails at once, for its caller to repeat it later.

        So do all calls in the next seconds, without a try of their own; then `probe` is asked first. So a caller with
        other things to do loses no time, even where a server does not refuse but stays silent. Only another program's
        write to the database is waited for, as that takes seconds.
        """
        self._waits = False
        try:
            yield
        finally:
            self._is_spent = self._is_spent or self._failure is not None
            self._waits, self._failure = True, None

    def call(self, function: Callable[..., _R], *args: Any, **kwargs: Any) -> _R:
        """Return what the function returns; raises its error if it fails for good, or for longer than the limit."""
        if not self._waits:
            return self._call_once(partial(function, *args, **kwargs))
        began = time.monotonic()
        pause, next_notice = _SHORTEST_PAUSE, _FIRST_NOTICE
        while True:
            try:
                result = function(*args, **kwargs)
                break
            except Exception as error:
                reason = waits_for(error)
                waited = time.monotonic() - began
                if reason is None or self._is_spent or waited >= self._bound():
                    self._is_spent = self._is_spent or reason is not None
                    raise
            if waited >= next_notice:
                self.notice(f"waiting for the tracking store, for up to {self._bound():.0f} s: {reason}")
                next_notice = waited + _BETWEEN_NOTICES
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        self._is_spent = False
        if next_notice > _FIRST_NOTICE:
            self.notice(f"the tracking store answers again after {time.monotonic() - began:.0f} s")
        return result

    def _call_once(self, function: Callable[[], _R]) -> _R:
        if self._failure is not None and time.monotonic() < self._try_at:
            raise self._failure.with_traceback(None)
        try:
            if self._failure is not None:
                self.probe()
            result = self._while_locked(function)
        except Exception as error:
            if waits_for(error) is not None:
                self._failure, self._try_at = error, time.monotonic() + _BETWEEN_TRIES
            raise
        self._failure = None
        return result

    def _while_locked(self, function: Callable[[], _R]) -> _R:
        until = time.monotonic() + _LONGEST_LOCK
        while True:
            try:
                return function()
            except Exception as error:
                if not passes_soon(error) or time.monotonic() > until or self._failure is not None:
                    raise
            time.sleep(_SHORTEST_PAUSE)

    def _bound(self) -> float:
        return min(self._longest_wait, _WAIT_AFTER_STOP) if self.must_stop() else self._longest_wait


class _RetryingClient:
    """Every method of a client, called again where the store is busy or away."""

    def __init__(self, client: MlflowClient, retries: RetryPolicy) -> None:
        self._client, self._retries = client, retries

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        return partial(self._retries.call, attribute) if callable(attribute) else attribute


def retrying_client(uri: str, retries: RetryPolicy) -> MlflowClient:
    """A client of the store at `uri` whose every call waits for a store that is busy or away."""
    client = retries.call(MlflowClient, tracking_uri=uri)
    return cast(MlflowClient, _RetryingClient(client, retries))
