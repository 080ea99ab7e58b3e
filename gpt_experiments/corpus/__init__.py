"""The text that a model learns: its characters as tokens, and its two splits.

What finds or downloads it is in `corpus.sources`, which a model that is served does without.
"""

from __future__ import annotations

from gpt_experiments.corpus.text import Corpus
from gpt_experiments.corpus.tokenizer import Tokenizer

__all__ = ["Corpus", "Tokenizer"]
