"""A corpus: its split, its digest, and what it refuses."""

from __future__ import annotations

import hashlib
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import CorpusError
from gpt_experiments.parameters import Shape


def test_the_first_nine_tenths_train_and_the_rest_validates(corpus: Corpus, text: str) -> None:
    n_train = int(0.9 * len(text))

    assert corpus.tokenizer.decode(corpus.train) == text[:n_train]
    assert corpus.tokenizer.decode(corpus.val) == text[n_train:]
    assert corpus.vocab_size == len(set(text))
    assert corpus.digest == hashlib.sha256(text.encode()).hexdigest()


def test_tiny_shakespeare_has_its_known_numbers(shakespeare: Corpus) -> None:
    assert shakespeare.name == "tiny-shakespeare"
    assert (len(shakespeare.text), shakespeare.vocab_size) == (1_115_394, 65)
    assert (len(shakespeare.train), len(shakespeare.val)) == (1_003_854, 111_540)
    assert shakespeare.tokenizer.vocabulary[0] == "\n"


def _facts(corpus: Corpus) -> tuple[str, str, str, list[int], str]:
    return corpus.name, corpus.source, corpus.digest, corpus.val[:5].tolist(), corpus.tokenizer.vocabulary


def test_a_corpus_reaches_a_spawned_process_as_little_more_than_its_text(corpus: Corpus) -> None:
    assert len(pickle.dumps(corpus)) < len(corpus.text) + 1000
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(_facts, corpus).result() == _facts(corpus)
    assert pickle.loads(pickle.dumps(corpus)) == corpus


@given(st.integers(11, 400))
def test_the_longest_context_that_is_named_is_the_longest_that_fits(length: int) -> None:
    corpus = Corpus.from_text("ab" * (length // 2) + "c" * (length % 2), name="short")
    longest = len(corpus.val) - 1

    corpus.require_context(longest)
    with pytest.raises(CorpusError, match=f"validation split of short.*block_size of at most {longest},"):
        corpus.require_context(longest + 1)


@given(st.integers(1, 400))
def test_the_length_that_is_named_is_long_enough(block_size: int) -> None:
    with pytest.raises(CorpusError, match=f"a text of at least {10 * block_size + 1:,} characters"):
        Corpus.from_text("ab", name="two").require_context(block_size)

    Corpus.from_text("a" + "b" * (10 * block_size), name="enough").require_context(block_size)


def test_where_no_context_fits_none_is_named() -> None:
    with pytest.raises(CorpusError, match=r"training split of two, which has 1 characters.*no block_size fits"):
        Corpus.from_text("ab", name="two").require_context(1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("a", "consists of 'a' alone"),
        ("\n\n\n", r"consists of '\\n' alone"),
        ("ab\ud800", r"'\\ud800' at offset 2"),
    ],
)
def test_a_text_that_teaches_nothing_is_refused(text: str, reason: str) -> None:
    with pytest.raises(CorpusError, match=f"the text of mine .*{reason}"):
        Corpus.from_text(text, name="mine")


def test_data_with_more_characters_than_a_language_has_are_refused() -> None:
    with pytest.raises(CorpusError, match=r"has 70,000 distinct characters; at most 65,536"):
        Corpus.from_text("".join(map(chr, range(0x10000, 0x10000 + 70_000))), name="mine")


def test_another_text_is_another_corpus_and_its_trials_are_others(corpus: Corpus) -> None:
    changed = Corpus.from_text(corpus.text[:-1] + "~", name=corpus.name)
    assert changed.digest != corpus.digest
    trial = Trial(shape=Shape())
    assert trial.cell(changed.digest) != trial.cell(corpus.digest)
