"""Texts in files: read with a clear error, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from gpt_experiments.errors import CorpusError


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without a byte order mark and with line feeds as the only line ends.

    Raises:
        CorpusError: the file is missing, a folder, not readable, empty, or not UTF-8 text.
    """
    remedy = "give the path of a UTF-8 text file"
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise CorpusError(f"{path} does not exist; {remedy}") from error
    except IsADirectoryError as error:
        raise CorpusError(f"{path} is a folder, not a file; {remedy}") from error
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror or error}; {remedy}") from error
    return decode_text(content, str(path))


def decode_text(content: bytes, source: str) -> str:
    """The text of UTF-8 bytes; `source` names them in errors. See `read_text`."""
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
        raise CorpusError(f"{source} is not a text: it has a zero byte at offset {offset:,}; give a UTF-8 text file")
    if not text:
        raise CorpusError(f"{source} is empty; give a UTF-8 text file with something to learn from")
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
