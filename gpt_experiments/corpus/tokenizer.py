"""Characters to token ids and back."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpt_experiments.errors import CorpusError

_SHOWN_VOCABULARY = 80


def _code_points(text: str) -> NDArray[np.uint32]:
    # surrogatepass: a lone surrogate must reach the check for unknown characters, which names it.
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def _describe(character: str) -> str:
    return f"{character!r} ({unicodedata.name(character, f'U+{ord(character):04X}')})"


@dataclass(frozen=True)
class Tokenizer:
    """One token per character; a character's id is its place in `vocabulary`.

    Args:
        vocabulary: the distinct characters, in the order of their ids. `from_text` sorts them by code point.

    Raises:
        CorpusError: the vocabulary is empty or names a character twice.
    """

    vocabulary: str

    def __post_init__(self) -> None:
        if not self.vocabulary:
            raise CorpusError("the vocabulary is empty; it needs at least one character")
        if len(set(self.vocabulary)) != len(self.vocabulary):
            (twice, _), *_ = Counter(self.vocabulary).most_common(1)
            raise CorpusError(f"the vocabulary holds {_describe(twice)} twice; each character must stand in it once")

    @classmethod
    def from_text(cls, text: str) -> Tokenizer:
        """The tokenizer of a text's distinct characters, ids in sorted order."""
        return cls("".join(sorted(set(text))))

    @property
    def vocab_size(self) -> int:
        return len(self.vocabulary)

    def encode(self, text: str) -> NDArray[np.int64]:
        """Token ids `(T,)` of a text of T characters.

        Raises:
            CorpusError: a character is not in the vocabulary; the message says which, and where it stands first.
        """
        points, known = _code_points(text), _code_points(self.vocabulary)
        # One table lookup per character: 1.1 M characters take milliseconds. The last slot stands for all code
        # points beyond the vocabulary's largest.
        ids = np.full(int(known.max()) + 2, -1, dtype=np.int64)
        ids[known] = np.arange(len(known))
        tokens = ids[np.minimum(points, len(ids) - 1)]  # (T,)
        unknown = tokens < 0
        if unknown.any():
            raise CorpusError(self._unknown_character(text, int(unknown.argmax())))
        return tokens

    def decode(self, ids: Sequence[int] | NDArray[np.integer]) -> str:
        """The text of token ids `(T,)`.

        Raises:
            CorpusError: an id is not in 0 .. vocab_size - 1.
        """
        tokens = np.asarray(ids)
        if tokens.size == 0:
            return ""
        if tokens.ndim != 1 or not np.issubdtype(tokens.dtype, np.integer):
            raise TypeError(f"ids must be whole numbers of shape (T,), but got {tokens.dtype} {tokens.shape}")
        outside = (tokens < 0) | (tokens >= self.vocab_size)
        if outside.any():
            place = int(outside.argmax())
            raise CorpusError(
                f"token id {tokens[place]} at position {place} is out of range: this vocabulary has "
                f"{self.vocab_size} characters, ids 0 to {self.vocab_size - 1}; use the vocabulary that the model "
                "was trained with"
            )
        points = _code_points(self.vocabulary)[tokens]  # (T,)
        return str(points.tobytes(), "utf-32-le", "surrogatepass")

    def _unknown_character(self, text: str, offset: int) -> str:
        line = text.count("\n", 0, offset) + 1
        column = offset - text.rfind("\n", 0, offset)
        shown = self.vocabulary[:_SHOWN_VOCABULARY]
        more = f" and {self.vocab_size - len(shown)} more" if len(shown) < self.vocab_size else ""
        return (
            f"{_describe(text[offset])} at line {line}, column {column} (offset {offset}) is not in the vocabulary; "
            f"replace it with one of its {self.vocab_size} characters: {shown!r}{more}"
        )
