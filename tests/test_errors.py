"""How messages repeat what they were given: on one line, short, whatever it is."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt_experiments.errors import ConfigError, first_line, shortened, shown

_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=300), st.binary(max_size=300), st.dates()
)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=9), inner), max_leaves=60
)


@given(_VALUES)
@settings(deadline=None)
def test_any_value_is_shown_on_one_short_line(value: object) -> None:
    assert shown(value).isprintable()
    assert len(shown(value)) <= 70


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("\n no such thing \nSearch for it"), "no such thing"),
        (ValueError(), "ValueError"),
        (ValueError("x" * 301), "x" * 296 + " ..."),
        (ValueError("cannot reach postgresql://ann:secret@host/db"), "cannot reach postgresql://***@host/db"),
    ],
)
def test_an_error_is_reported_by_its_first_line(error: Exception, line: str) -> None:
    assert first_line(error) == line


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("four", "'four'"),
        (2.0, "2.0"),
        (None, "None"),
        ("a\nb", r"'a\nb'"),
        (10**400, "a number of 401 digits"),
        ([-(10**5000)], "[a number of 5,001 digits]"),
        ({"n_head": [1, 2], "a": "b"}, "{'n_head': [1, 2], 'a': 'b'}"),
    ],
)
def test_values_are_shown_as_they_are_written(value: object, text: str) -> None:
    assert shown(value) == text


def test_both_ends_of_a_long_text_are_kept() -> None:
    assert shortened("begin" + "x" * 1000 + "end", 20) == "beginxxxxx ... xxend"
    assert shortened("short") == "short"
    assert shortened("\x1b[31m\n") == r"\x1b[31m"
    assert shortened("a\n\tb") == "a b"


def test_a_configuration_error_crosses_a_process_boundary_with_its_field() -> None:
    copy = pickle.loads(pickle.dumps(ConfigError("wrong", field="seeds")))
    assert (str(copy), copy.field) == ("wrong", "seeds")
