"""Texts in files: read with a clear error, written whole or not at all."""

from __future__ import annotations

import codecs
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from gpt_experiments.errors import CorpusError, shortened

MAX_CORPUS_BYTES: Final = 128 * 2**20
"""The largest text that is read: its tokens take some twenty times its size in memory, in every process that trains."""

_REMEDY: Final = "give the path of a UTF-8 text file"
_OTHER_ENCODINGS: Final = (  # UTF-32 first: its mark begins as that of UTF-16 does
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def file_problem(path: Path, max_bytes: int) -> str | None:
    """Why `path` cannot be read as a file of 1 to `max_bytes` bytes, as the end of a sentence; None where it can be.

    Nothing of the file is read, so a pipe without a writer and an endless device are answered at once, too.
    """
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            return "is a folder, not a file"
        if not stat.S_ISREG(found.st_mode):
            return "is a pipe or a device, not a file"
        with path.open("rb"):
            pass  # says whether it may be read
    except FileNotFoundError:
        return "does not exist"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    except ValueError as error:  # a zero character in the path
        return f"cannot be read: {error}"
    if found.st_size > max_bytes:
        return f"has {found.st_size:,} bytes, but at most {max_bytes:,} are read"
    return None if found.st_size else "is empty"


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without a byte order mark and with line feeds as the only line ends.

    Raises:
        CorpusError: the file is missing, no regular file, not readable, empty, over 128 MiB, or not UTF-8 text.
    """
    source = shortened(path)
    problem = file_problem(path, MAX_CORPUS_BYTES)
    if problem is not None:
        remedy = "give a part of it, as `head -c` writes it" if "at most" in problem else _REMEDY
        raise CorpusError(f"{source} {problem}; {remedy}")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_CORPUS_BYTES)
    except OSError as error:
        raise CorpusError(f"{source} cannot be read: {error.strerror or error}; {_REMEDY}") from error
    return decode_text(content, source)


def decode_text(content: bytes, source: str) -> str:
    """The text of UTF-8 bytes; `source` names them in errors. See `read_text`."""
    for mark, encoding in _OTHER_ENCODINGS:
        if content.startswith(mark):
            raise CorpusError(f"{source} is {encoding} text, but UTF-8 text is needed; save the text as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The decoder counts from behind the byte order mark, where there is one.
        offset = error.start + len(content) - len(error.object)
        raise CorpusError(
            f"{source} is not UTF-8 text: byte 0x{content[offset]:02x} at offset {offset:,} ({error.reason}); "
            "save the text as UTF-8"
        ) from error
    if "\0" in text:
        offset = content.index(b"\0")
        raise CorpusError(f"{source} is not a text: it has a zero byte at offset {offset:,}; {_REMEDY}")
    if not text:
        raise CorpusError(f"{source} is empty; {_REMEDY} with something to learn from")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def write_whole(path: Path, content: bytes) -> None:
    """Put `content` at `path`, creating its folder: other processes see all of it or nothing.

    Raises:
        OSError: the folder cannot be written to; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o666 & ~_umask())  # others may share the folder; a temporary file is its maker's alone
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _umask() -> int:
    """The permissions that this process takes from new files; the system tells them only to whoever sets them."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask
