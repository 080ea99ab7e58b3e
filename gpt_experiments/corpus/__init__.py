"""The text that a model learns: where it comes from, its characters as tokens, its two splits."""

from __future__ import annotations

from gpt_experiments.corpus.sources import load_corpus
from gpt_experiments.corpus.text import Corpus
from gpt_experiments.corpus.tokenizer import Tokenizer

__all__ = ["Corpus", "Tokenizer", "load_corpus"]
