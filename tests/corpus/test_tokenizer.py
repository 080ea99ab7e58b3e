"""Characters to token ids and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gpt_experiments.corpus import Tokenizer
from gpt_experiments.errors import CorpusError


@given(st.text(st.characters(), min_size=1))
def test_every_text_comes_back_from_its_own_tokens(text: str) -> None:
    tokenizer = Tokenizer.from_text(text)
    tokens = tokenizer.encode(text)

    assert tokens.dtype == np.int64
    assert tokens.tolist() == [sorted(set(text)).index(character) for character in text]
    assert tokenizer.decode(tokens) == text


@given(st.lists(st.characters(), min_size=1, unique=True), st.data())
def test_ids_follow_the_order_of_the_vocabulary(characters: list[str], data: st.DataObject) -> None:
    tokenizer = Tokenizer("".join(characters))
    ids = data.draw(st.lists(st.integers(0, len(characters) - 1)))

    assert tokenizer.vocab_size == len(characters)
    assert tokenizer.decode(ids) == "".join(characters[i] for i in ids)
    assert tokenizer.encode(tokenizer.decode(ids)).tolist() == ids


def test_newline_sorts_first() -> None:
    assert Tokenizer.from_text("First Citizen:\n").encode("\nC").tolist() == [0, 3]


@pytest.mark.parametrize(
    ("text", "name", "place"),
    [
        ("abcé", "'é' (LATIN SMALL LETTER E WITH ACUTE)", "line 1, column 4 (offset 3)"),
        ("ab\nc\n 😀b", "' ' (SPACE)", "line 3, column 1 (offset 5)"),
        ("a\x07", "'\\x07' (U+0007)", "line 1, column 2 (offset 1)"),
        ("\nZ", "'Z' (LATIN CAPITAL LETTER Z)", "line 2, column 1 (offset 1)"),
        ("\ud800", "'\\ud800' (U+D800)", "line 1, column 1 (offset 0)"),
    ],
)
def test_an_unknown_character_is_named_with_its_place(text: str, name: str, place: str) -> None:
    with pytest.raises(CorpusError) as error:
        Tokenizer("\nabc😂").encode(text)

    assert str(error.value).startswith(f"{name} at {place} is not in the vocabulary")
    assert repr("\nabc😂") in str(error.value)


@given(st.text(min_size=1), st.characters())
def test_no_character_outside_the_vocabulary_is_encoded(text: str, other: str) -> None:
    assume(other not in text)

    with pytest.raises(CorpusError, match=f"offset {len(text)}. is not in the vocabulary"):
        Tokenizer.from_text(text).encode(text + other)


def test_a_large_vocabulary_is_not_listed_in_full() -> None:
    with pytest.raises(CorpusError, match=r"one of its 3000 characters: .{80,90} and 2920 more$"):
        Tokenizer("".join(map(chr, range(0x4E00, 0x4E00 + 3000)))).encode("a")


@pytest.mark.parametrize("ids", [[0, 3], [2, -1], np.array([99])])
def test_an_id_out_of_range_is_refused(ids: list[int]) -> None:
    with pytest.raises(CorpusError, match=r"token id (3|-1|99) at position [01] is out of range: .* ids 0 to 2"):
        Tokenizer("abc").decode(ids)


@pytest.mark.parametrize("ids", [np.zeros((2, 2), dtype=np.int64), [0.5]])
def test_only_a_row_of_whole_numbers_is_decoded(ids: object) -> None:
    with pytest.raises(TypeError, match="shape"):
        Tokenizer("abc").decode(ids)  # type: ignore[arg-type]


def test_nothing_is_encoded_and_decoded_as_nothing() -> None:
    tokenizer = Tokenizer("ab")

    assert tokenizer.encode("").shape == (0,)
    assert tokenizer.decode([]) == ""


def test_a_character_that_a_very_large_vocabulary_holds_twice_is_found() -> None:
    with pytest.raises(CorpusError, match=r"U\+10FFFD\) twice"):
        Tokenizer("".join(map(chr, range(0x10000, 0x10FFFE))) + chr(0x10FFFD))


@pytest.mark.parametrize(("vocabulary", "reason"), [("", "empty"), ("abca", r"'a' \(LATIN SMALL LETTER A\) twice")])
def test_a_vocabulary_has_distinct_characters(vocabulary: str, reason: str) -> None:
    with pytest.raises(CorpusError, match=reason):
        Tokenizer(vocabulary)
