"""The exceptions whose messages are meant for the user, and how messages repeat the user's values."""

from __future__ import annotations

import math
import re
import reprlib
from typing import Any, Final

LONGEST_VALUE: Final = 60
"""Characters of a value that a message repeats."""
_LONGEST_PATH: Final = 160
_LONGEST_LINE: Final = 300
_LONGEST_MESSAGE: Final = 600
_SCHEME_END: Final = re.compile(r"(?<=[A-Za-z0-9+.-])://(?!/)")
# The value of odbc_connect is a complete address of its own, which may hold a password.
_SECRET_IN_QUERY: Final = re.compile(
    r"(?i)((?:[?&;]|%3B)[\w.-]*(?:password|passwd|pwd|token|secret|odbc_connect)(?:=|%3D))[^&\s'\"`)]+"
)


def without_secrets(text: str) -> str:
    """The text as it may be shown or stored: `***` stands for user and password in every address that it holds."""
    return _SECRET_IN_QUERY.sub(r"\1***", re.sub(r"\S+", _without_user, text))


def _without_user(word: re.Match[str]) -> str:
    """The word without what stands between `://` and the last @: a password may hold an @ or a slash unescaped.

    It looks at each character a few times only, because texts of other programs may be long.
    """
    text = word[0]
    scheme, end = _SCHEME_END.search(text), text.rfind("@")
    return text if scheme is None or end < scheme.end() else f"{text[: scheme.end()]}***{text[end:]}"


def shown(value: object) -> str:
    """`value` as a message repeats it: on one line, in quotes if it is a text, shortened if it is long."""
    return shortened(_SHORT.repr(value), LONGEST_VALUE + 10)


def shortened(value: object, longest: int = _LONGEST_PATH) -> str:
    """`value` on one line, with escapes for what cannot be printed, and ` ... ` for the middle of what is too long."""
    text = _cut(" ".join(str(value).split()), longest)
    return _cut("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text), longest)


def one_line(message: str) -> str:
    """A message of any length and any number of lines as one line that can be read at a glance."""
    return shortened(message, _LONGEST_MESSAGE)


def _cut(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    head = (longest - 5) * 2 // 3
    return f"{text[:head]} ... {text[-(longest - 5 - head) :]}"


def first_line(error: BaseException) -> str:
    """The first line of the error's message, without secrets, cut to a readable length; its kind if it is empty."""
    line = without_secrets((str(error).strip().splitlines() or [type(error).__name__])[0].rstrip())
    return line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 4]} ..."


class _Short(reprlib.Repr):
    """As `repr`, but short, and for whole numbers of any size: Python refuses to print those of 4,300 digits."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = LONGEST_VALUE
        self.maxlevel = 3

    def repr_int(self, x: int, level: int) -> str:
        """A very large number by its length."""
        if abs(x) < 10**30:
            return repr(x)
        return f"a number of {math.floor(x.bit_length() * math.log10(2)) + 1:,} digits"

    def repr_str(self, x: str, level: int) -> str:
        """The text in quotes; it is shortened before it is escaped, so that a long text costs nothing."""
        return repr(_cut(x, LONGEST_VALUE))

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        """The items in the order in which they were written; reprlib would sort them."""
        if level <= 0:
            return "{...}"
        some = [f"{self.repr1(k, level - 1)}: {self.repr1(v, level - 1)}" for k, v in list(x.items())[: self.maxdict]]
        return "{" + ", ".join(some + ["..."] * (len(x) > self.maxdict)) + "}"


_SHORT: Final = _Short()


class ExperimentError(Exception):
    """Something that the user can correct: its message names the value, the rule and the remedy.

    The command line prints the message without a traceback. Every other exception is a bug in this program and keeps
    its traceback.
    """


class ConfigError(ExperimentError, ValueError):
    """A parameter or a sweep definition breaks a rule.

    Attributes:
        field: of a sweep definition, where the rule is about one field of it; else empty.
    """

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class CorpusError(ExperimentError):
    """A corpus cannot be found, read, checked, or is too short for the model."""


class CheckpointError(ExperimentError):
    """A file of weights is missing, damaged, or not of the format that was expected."""


class TrackingError(ExperimentError):
    """The MLflow store cannot be reached or does not hold what was asked for; its message never holds a password."""

    def __init__(self, message: str) -> None:
        super().__init__(without_secrets(message))


class StoreAwayError(TrackingError):
    """The MLflow store takes nothing at present: it does not answer, is locked, or its disk is full.

    Attributes:
        reason: which of these, as a few words.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = without_secrets(reason)


class MissingError(TrackingError):
    """The MLflow store answers, but holds no such run, model or file, or not one that can be used."""


class RunDeletedError(TrackingError):
    """A run was deleted while it was written."""


class BenchmarkError(ExperimentError):
    """A benchmark's measurement failed."""


class DeviceMemoryError(ExperimentError):
    """A trial on its own needs more memory than the device has."""


class DivergedError(ExperimentError):
    """Training reached a loss that is not finite.

    Attributes:
        step: the optimisation step at which the loss was found not to be finite.
        loss: that loss, nats per character.
    """

    def __init__(self, step: int, loss: float, learning_rate: float) -> None:
        super().__init__(
            f"diverged: the loss is {loss} at step {step}; a loss must stay finite; "
            f"lower learning_rate (now {learning_rate:g})"
        )
        self.step, self.loss, self.learning_rate = step, loss, learning_rate

    def __reduce__(self):  # type: ignore[no-untyped-def]  # crosses a process boundary
        return type(self), (self.step, self.loss, self.learning_rate)
