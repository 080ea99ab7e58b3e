"""Texts for a model, as a user types them on a command line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpt_experiments.corpus import Tokenizer

_ESCAPES = {r"\n": "\n", r"\t": "\t"}


def typed_text(text: str, tokenizer: Tokenizer) -> str:
    r"""The text that is meant: for a model that knows no backslash, `\n` is a newline and `\t` a tab.

    A shell hands both over as two characters. A model that knows the backslash gets it as it stands.
    """
    if "\\" in tokenizer.vocabulary:
        return text
    return re.sub(r"\\[nt]", lambda match: _ESCAPES[match[0]], text)
