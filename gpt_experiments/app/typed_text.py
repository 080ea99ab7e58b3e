"""Texts for a model, as a user types them on a command line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpt_experiments.corpus import Tokenizer

_ESCAPES = {r"\n": "\n", r"\t": "\t"}


def typed_text(text: str, tokenizer: Tokenizer) -> str:
    r"""The text that the user means: `\n` is a newline and `\t` a tab, unless the model's vocabulary has the backslash.

    A shell passes both as two characters. A model that knows the backslash gets the text unchanged.
    """
    if "\\" in tokenizer.vocabulary:
        return text
    return re.sub(r"\\[nt]", lambda match: _ESCAPES[match[0]], text)
