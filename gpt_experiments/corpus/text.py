"""A corpus: a text, its vocabulary and its two splits, identified by its digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpt_experiments.corpus.tokenizer import Tokenizer
from gpt_experiments.errors import CorpusError

TRAIN_FRACTION: Final = 0.9
MAX_VOCABULARY: Final = 65_536
"""Distinct characters: beyond those of any language, and a batch's logits over them still fit in some GB of memory."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A text, its tokens and its split; everything but the first four fields follows from the text.

    Two corpora are equal when name, source and text are; results are comparable when the digests are. Only those
    three cross a process boundary, what follows from the text is computed again there (milliseconds).

    Attributes:
        name: what people call it.
        source: the path or URL that it came from, or what made it.
        path: the file on this machine that holds the text, if one does; it is for people, like the source.
        text: all of it.
        tokenizer: its distinct characters in sorted order.
        digest: SHA-256 of the text as UTF-8, hexadecimal.
        train: token ids of the first 90 %, shape `(n_train,)`.
        val: token ids of the rest, shape `(n_val,)`.

    Raises:
        CorpusError: the text has fewer than two distinct characters or more than 65,536, or cannot be written as UTF-8.
    """

    name: str
    source: str
    text: str = field(repr=False)
    path: Path | None = field(default=None, compare=False, repr=False)
    tokenizer: Tokenizer = field(init=False, compare=False, repr=False)
    digest: str = field(init=False, compare=False)
    train: NDArray[np.int64] = field(init=False, compare=False, repr=False)
    val: NDArray[np.int64] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        tokenizer = Tokenizer.from_text(self._usable_text())
        tokens = tokenizer.encode(self.text)
        n_train = int(TRAIN_FRACTION * len(tokens))
        derived = {
            "tokenizer": tokenizer,
            "digest": hashlib.sha256(self.text.encode()).hexdigest(),
            "train": tokens[:n_train],
            "val": tokens[n_train:],
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.text, self.name, self.source)

    @classmethod
    def from_text(cls, text: str, *, name: str, source: str = "a text in memory", path: Path | None = None) -> Corpus:
        """The corpus of a text, with the text's own vocabulary."""
        return cls(name=name, source=source, text=text, path=path)

    @property
    def vocab_size(self) -> int:
        return self.tokenizer.vocab_size

    def require_context(self, block_size: int) -> None:
        """Make sure that both splits hold a window of `block_size` characters with its target shifted by one.

        Raises:
            CorpusError: a split is too short; the message names it and the largest block_size that fits.
        """
        shortest = min(len(self.train), len(self.val))
        for split, tokens in (("training", self.train), ("validation", self.val)):
            if len(tokens) <= block_size:
                fits = f"use a block_size of at most {shortest - 1}, or" if shortest > 1 else "no block_size fits; use"
                raise CorpusError(
                    f"block_size={block_size} is too long for the {split} split of {self.name}, which has "
                    f"{len(tokens):,} characters; a window and its shifted target need block_size + 1 = "
                    f"{block_size + 1:,}; {fits} a text of at least {10 * block_size + 1:,} characters "
                    f"(this one has {len(self.text):,})"
                )

    def _usable_text(self) -> str:
        if not self.text:
            raise CorpusError(f"the text of {self.name} ({self.source}) is empty; give a text to learn from")
        distinct = len(set(self.text))
        if distinct > MAX_VOCABULARY:
            raise CorpusError(
                f"the text of {self.name} ({self.source}) has {distinct:,} distinct characters; at most "
                f"{MAX_VOCABULARY:,} can be learnt; give a text, not data that happen to be readable as one"
            )
        if distinct == 1:
            raise CorpusError(
                f"the text of {self.name} ({self.source}) consists of {self.text[0]!r} alone; a model needs at least "
                "two distinct characters to learn from; give another text"
            )
        try:
            self.text.encode()
        except UnicodeEncodeError as error:
            raise CorpusError(
                f"the text of {self.name} ({self.source}) holds {self.text[error.start]!r} at offset {error.start}, "
                "half a character that cannot be written as UTF-8; remove it"
            ) from error
        return self.text


def _rebuild(text: str, name: str, source: str) -> Corpus:
    return Corpus(name=name, source=source, text=text)
