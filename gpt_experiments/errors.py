"""The one exception family whose message is meant for the person at the keyboard."""

from __future__ import annotations

import re
from typing import Final

# Up to the last @ before a space: a password may hold an @ or a slash that was not written as %40 or %2F.
_USERINFO: Final = re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]*://)(?!/)\S*@")
_SECRET_IN_QUERY: Final = re.compile(r"(?i)([?&;][\w.-]*(?:password|passwd|pwd|token|secret)=)[^&\s'\"`)]+")


def without_secrets(text: str) -> str:
    """The text as it may be shown or stored: `***` stands for user and password in every address that it holds."""
    return _SECRET_IN_QUERY.sub(r"\1***", _USERINFO.sub(r"\1***@", text))


class ExperimentError(Exception):
    """Something the user can put right: its message names the value, the rule and the remedy.

    The command line prints the message without a traceback. Every other exception is a bug in this program and keeps
    its traceback.
    """


class ConfigError(ExperimentError, ValueError):
    """A hyperparameter, training option or sweep definition breaks a rule."""


class CorpusError(ExperimentError):
    """A corpus cannot be found, read, checked, or is too short for what is asked of it."""


class CheckpointError(ExperimentError):
    """A file of weights is missing, damaged, or not of the format that was expected."""


class TrackingError(ExperimentError):
    """The MLflow store cannot be reached or does not hold what was asked for; its message never holds a password."""

    def __init__(self, message: str) -> None:
        super().__init__(without_secrets(message))


class RunDeletedError(TrackingError):
    """A run that is being written was deleted by somebody else."""


class BenchmarkError(ExperimentError):
    """Something that was to be timed failed."""


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
