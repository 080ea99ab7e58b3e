"""One file from the web, into memory."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Final

from gpt_experiments.corpus.files import MAX_CORPUS_BYTES
from gpt_experiments.errors import CorpusError

Progress = Callable[[int, int | None], None]
"""Called with the bytes received so far and the bytes there are, or None where the server does not say."""

_CHUNK_BYTES: Final = 64 * 1024
_SILENCE_SECONDS: Final = 15
_LONGEST_SECONDS: Final = 600


def fetch(url: str, progress: Progress | None = None) -> bytes:
    """The content of a URL.

    Raises:
        CorpusError: the server cannot be reached, refuses, falls silent for 15 seconds, stops before the end, or sends
            more than a corpus may hold or for longer than ten minutes.
    """
    content, started = bytearray(), time.monotonic()
    try:
        with urllib.request.urlopen(url, timeout=_SILENCE_SECONDS) as response:
            length = response.headers.get("Content-Length")
            total = int(length) if length and length.isdecimal() else None
            while chunk := response.read(_CHUNK_BYTES):
                content += chunk
                if len(content) > MAX_CORPUS_BYTES or time.monotonic() - started > _LONGEST_SECONDS:
                    raise CorpusError(f"{url} cannot be fetched: it has no end after {len(content):,} bytes")
                if progress is not None:
                    progress(len(content), total)
    except urllib.error.HTTPError as error:
        raise CorpusError(f"{url} cannot be fetched: the server answered {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise CorpusError(f"{url} cannot be fetched: {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise CorpusError(f"{url} cannot be fetched: {error or type(error).__name__}") from error
    # A closed connection ends the loop above like the end of the file does.
    if total is not None and len(content) != total:
        raise CorpusError(f"{url} cannot be fetched: it broke off after {len(content):,} of {total:,} bytes")
    return bytes(content)
