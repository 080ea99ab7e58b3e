"""Makes standard input, output and error safe for every command: open, and never a reason to crash."""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import sys
from typing import Final, TextIO

_LOOKALIKES: Final = dict(zip("━─│┃×–—−…‘’“”␣", "=-||x---~''\"\"_", strict=True))
_ERRORS: Final = "gpt-experiments-lookalike"
_GONE: Final = (errno.EPIPE, errno.EIO)  # the reader is gone: `| head`, or a closed terminal
_NOTEBOOKS: Final = ("JPY_PARENT_PID", "COLAB_RELEASE_TAG", "COLAB_GPU", "KAGGLE_KERNEL_RUN_TYPE")
_FALSE: Final = ("", "0", "false", "no")


class ForgivingOutput(io.RawIOBase):
    """Writes to a descriptor until that fails; from then on it drops everything, and the work goes on.

    Attributes:
        failure: why nothing is written any more; None while all is well.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.failure: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: object) -> int:
        content = memoryview(data)  # type: ignore[arg-type]  # anything that holds bytes
        while self.failure is None:
            try:
                return os.write(self._descriptor, content)
            except BlockingIOError:  # the parent process made the pipe non-blocking
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.failure = error
        return len(content)


def prepare_streams() -> None:
    """Open closed streams, and keep an encoding, a full disk or a gone reader from ending a command.

    A character that the encoding lacks is written as one that looks like it, else as its escape sequence.
    """
    _open_closed_descriptors()
    codecs.register_error(_ERRORS, _lookalike)
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115  # for as long as the process lives
    sys.stdout = _forgiving(sys.stdout)
    sys.stderr = _forgiving(sys.stderr)


def end_of_output() -> str | None:
    """Why some of the output was not written; None if all was, '' if only because its reader is gone."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if not isinstance(raw, ForgivingOutput) or raw.failure is None:
        return None
    return "" if raw.failure.errno in _GONE else str(raw.failure.strerror)


def can_redraw(stream: TextIO) -> bool:
    """Whether lines can be redrawn on the stream: it is a terminal, and not that of a CI job or a notebook."""
    in_ci = os.environ.get("CI", "").lower() not in _FALSE
    dumb = os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    return stream.isatty() and not (in_ci or dumb or any(os.environ.get(name) for name in _NOTEBOOKS))


def _open_closed_descriptors() -> None:
    """Open closed descriptors; otherwise the next opened file, say a database, becomes the standard output."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
            os.set_inheritable(descriptor, True)


def _forgiving(stream: TextIO | None) -> TextIO:
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")
    if not isinstance(stream, io.TextIOWrapper):
        return stream  # replaced by the caller, as in a test
    stream.flush()
    if sys.platform == "win32" and stream.isatty():
        stream.reconfigure(errors=_ERRORS)
        return stream  # a console takes text from Python's own writer, and bytes in a code page of its own
    return io.TextIOWrapper(
        io.BufferedWriter(ForgivingOutput(stream.fileno())),
        encoding=stream.encoding,
        errors=_ERRORS,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _lookalike(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if character not in _LOOKALIKES:
        return codecs.backslashreplace_errors(error)
    return _LOOKALIKES[character], error.start + 1
