"""Objects that commands print with `--json`, and `docs/json.md` as rules for their fields."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gpt_experiments import __version__
from gpt_experiments.cli import program

PAGE = Path(__file__).parents[2] / "docs" / "json.md"
PLAIN = {
    "text": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "map": lambda value: isinstance(value, dict),
}


class JsonPage:
    """The page's tables by their headings, each with the types of its fields, and its examples.

    Attributes:
        seen: heading and field of every value that was checked and was neither null nor an empty list.
    """

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, str]] = {}
        self.examples: dict[str, dict[str, Any]] = {}
        self.seen: set[tuple[str, str]] = set()
        for section in re.split(r"^#{2,3} ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            heading, _, text = section.partition("\n")
            rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|[^|]*\|[^|]*\|$", text, re.MULTILINE)
            if rows:
                self.tables[heading] = {name: kind.strip() for name, kind in rows}
            for example in re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
                self.examples[heading] = json.loads(example)

    def differences(self, heading: str, whole: dict[str, Any]) -> list[str]:
        """In what an object of a command is not as the section of that heading says; empty if it is."""
        start = {"command": "text", "version": "text", "schema": "integer"}
        if "error" in whole:
            return list(self._object("", whole, start | {"error": "An error"}))
        assert list(whole)[:4] == list(self.tables["Every object"])
        return list(self._object(heading, whole, self.tables["Every object"] | self.tables[heading]))

    def differences_of_part(self, heading: str, part: dict[str, Any]) -> list[str]:
        """In what a part of an object is not as its own section says."""
        return list(self._object(heading, part, self.tables[heading]))

    def _object(self, heading: str, value: Any, fields: dict[str, str]) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{heading}: {value!r} is no object"
            return
        for name in sorted(value.keys() ^ fields.keys()):
            yield f"{heading}: {name} is {'not documented' if name in value else 'missing'}"
        for name in value.keys() & fields.keys():
            if value[name] not in (None, []):
                self.seen.add((heading, name))
            yield from self._value(f"{heading}: {name}", value[name], fields[name])

    def _value(self, where: str, value: Any, kind: str) -> Iterator[str]:
        kind, _, null = kind.partition(" or ")
        if value is None and null == "null":
            return
        if kind.startswith("list of ") and isinstance(value, list):
            for one in value:
                yield from self._value(where, one, kind.removeprefix("list of "))
        elif kind in PLAIN:
            if not PLAIN[kind](value):
                yield f"{where} is {value!r}, not {kind}"
        elif kind in self.tables:
            yield from self._object(kind, value, self.tables[kind])
        else:
            yield f"{where} is {value!r}, not {kind}"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(program, [str(argument) for argument in arguments])


def answer(result: Result) -> dict[str, Any]:
    """The object on standard output, which must have nothing else."""
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    (line,) = result.stdout.splitlines()
    whole: dict[str, Any] = json.loads(line, parse_constant=pytest.fail)
    assert list(whole)[:3] == ["command", "version", "schema"]
    assert (whole["version"], whole["schema"]) == (__version__, 1)
    status = whole["error"]["exit_status"] if "error" in whole else whole["exit_status"]
    assert status == result.exit_code
    return whole
