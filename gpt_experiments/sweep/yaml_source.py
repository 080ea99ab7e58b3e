"""Reads a YAML file as plain values with their line numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, NodeEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from gpt_experiments.errors import LONGEST_VALUE, ConfigError, shortened, shown

FieldPath = tuple[str | int, ...]

MOST_BYTES: Final = 64 * 1024  # in a file; a sweep of a hundred levels has 2 KB
MOST_NODES: Final = 5_000  # values and keys, also those that aliases repeat
_DEEPEST: Final = 20
_LONGEST_NUMBER: Final = 50  # characters

_TAGS: Final = "tag:yaml.org,2002:"
_TEXTS: Final = tuple(f"{_TAGS}{kind}" for kind in ("str", "timestamp", "value"))  # 2026-01-31 is a text, and so is =
_WHOLE: Final = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_DECIMAL: Final = re.compile(r"[-+]?((0|[1-9][0-9_]*)(\.[0-9_]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(inf|nan)", re.IGNORECASE)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class YamlSource:
    """A file's top mapping, and the line of each field by its path.

    Attributes:
        fields: the mapping's keys and values.
        lines: line numbers, from 1, of every key and list item, as `("levels", "n_head", 0)`.
    """

    path: Path
    fields: dict[str, Any] = field(default_factory=dict)
    lines: dict[FieldPath, int] = field(default_factory=dict)

    def error(self, where: FieldPath, problem: object) -> ConfigError:
        """An error that names the file, the line and the field."""
        line = next((self.lines[where[:n]] for n in range(len(where), -1, -1) if where[:n] in self.lines), 1)
        name = "".join(
            f"[{part}]" if isinstance(part, int) else f".{shortened(part, LONGEST_VALUE)}" for part in where
        ).lstrip(".")
        return ConfigError(f"{self.path}:{line}: {name}: {problem}" if name else f"{self.path}:{line}: {problem}")


class _Dumper(yaml.SafeDumper):
    """Quotes a text that begins like a number, because only YAML 1.2 reads some of those as numbers."""


_Dumper.add_implicit_resolver(f"{_TAGS}float", re.compile(r"[-+.0-9]"), None)


def dump_yaml(fields: Mapping[str, Any]) -> str:
    """A definition's fields as the text of a file, which readers of YAML 1.1 and of 1.2 understand alike."""
    return yaml.dump(dict(fields), Dumper=_Dumper, sort_keys=False)


def read_yaml(path: Path) -> YamlSource:
    """Read a file whose top is a mapping, as YAML 1.2: `3e-4` is a number, and `yes` a text.

    Size, depth and the number of values are bounded before they can cost anything.

    Raises:
        ConfigError: the file cannot be read, is no YAML, holds no mapping, has a key twice, is too large, or has what
            no definition needs: tags, merge keys, numbers that are not plain decimals.
    """
    text, source = _read_text(path), YamlSource(path)
    try:
        _check_size(text, source)
        node = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = shortened(str(error.problem or error.context), 200)
        raise _at_line(source, mark.line if mark else 0, f"this is not YAML: {problem}") from error
    except ReaderError as error:
        problem = f"the character {shown(chr(error.character))} is not allowed here"
        raise _at_line(source, text.count("\n", 0, error.position), f"this is not YAML: {problem}") from error
    except ConfigError:
        raise
    except (YAMLError, ValueError, OverflowError) as error:  # among others an escape beyond Unicode's last character
        raise ConfigError(f"{path}: this is not YAML: {shortened(str(error), 200)}") from error
    if not isinstance(node, MappingNode):
        raise source.error((), "a sweep definition is a mapping, as `name: mine`; this is empty or something else")
    source.fields.update(_Values(source).of(node, ()))
    return source


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        text = content.decode("utf-8")
    except OSError as error:
        raise ConfigError(
            f"{shortened(str(path), 200)} cannot be read ({error.strerror}); give a shipped sweep's name or a file"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except ValueError as error:  # a NUL in the path
        raise ConfigError(f"{shown(str(path))} cannot be a path; give a shipped sweep's name or a file") from error
    if len(content) > MOST_BYTES:
        raise ConfigError(
            f"{path} has more than {MOST_BYTES:,} bytes, which is too large for a sweep definition; check that it is "
            "the right file, or give a range instead of a list"
        )
    return text


def _check_size(text: str, source: YamlSource) -> None:
    """Check the parsed events before anything recursive reads them.

    Raises:
        ConfigError: it has too many values or too deep ones, or two anchors of one name.
    """
    depth, anchors = 0, set[str]()
    for number, event in enumerate(YAML(typ="safe", pure=True).parse(text)):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if number > MOST_NODES or depth > _DEEPEST:
            raise _at_line(source, event.start_mark.line, _too_much(depth))
        anchor = event.anchor if isinstance(event, NodeEvent) and not isinstance(event, AliasEvent) else None
        if anchor in anchors:
            raise _at_line(source, event.start_mark.line, f"the anchor &{shortened(anchor)} is defined again; keep one")
        if anchor is not None:
            anchors.add(anchor)


def _too_much(depth: int) -> str:
    if depth > _DEEPEST:
        return f"this is nested more than {_DEEPEST} deep, or refers to itself; write it flat, without aliases"
    return f"the file has more than {MOST_NODES:,} values; list fewer, or give ranges"


def _at_line(source: YamlSource, index: int, problem: str) -> ConfigError:
    """An error about no field: a line counted from 0."""
    return ConfigError(f"{source.path}:{index + 1}: {problem}")


class _Values:
    """Makes plain values of nodes, and notes their lines in the source."""

    def __init__(self, source: YamlSource) -> None:
        self._source, self._count = source, 0

    def of(self, node: Node, where: FieldPath) -> Any:
        """The node's value: a dict, a list, a text, a number, a boolean, or None.

        Raises:
            ConfigError: it, or a part of it, breaks a rule; an alias repeats too much, or refers to itself.
        """
        self._count += 1
        if self._count > MOST_NODES or len(where) > _DEEPEST:
            raise self._source.error(where[:1], _too_much(len(where)))
        tag = str(node.tag)
        if isinstance(node, MappingNode) and tag == f"{_TAGS}map":
            return self._mapping(node, where)
        if isinstance(node, SequenceNode) and tag == f"{_TAGS}seq":
            return [self._part(item, (*where, i), item) for i, item in enumerate(node.value)]
        if isinstance(node, ScalarNode):
            try:
                return _scalar(tag, node.value)
            except ConfigError as error:
                raise self._source.error(where, error) from None
        raise self._source.error(where, _unknown_tag(tag))

    def _mapping(self, node: MappingNode, where: FieldPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, ScalarNode) or key.tag == f"{_TAGS}merge":
                problem = (
                    "merge keys (<<) are not read; write" if isinstance(key, ScalarNode) else "a key is a text; give"
                )
                raise _at_line(self._source, line - 1, f"{problem} each field by its name")
            here = (*where, key.value)
            if key.value in values:
                first = self._source.lines[here]
                self._source.lines[here] = line
                again = "twice on this line" if first == line else f"again after line {first}"
                raise self._source.error(here, f"is given {again}; keep one")
            values[key.value] = self._part(value, here, key)
        return values

    def _part(self, node: Node, where: FieldPath, starts_at: Node) -> Any:
        self._source.lines[where] = starts_at.start_mark.line + 1
        return self.of(node, where)


def _scalar(tag: str, text: str) -> str | int | float | bool | None:
    """The value of a scalar; its tag is YAML 1.2's, or one that the file gives.

    Raises:
        ConfigError: it is not what the tag says, or a number not written as a plain decimal.
    """
    if tag in _TEXTS:
        if _SURROGATE.search(text):
            raise ConfigError(f"{shown(text)} holds half of a character; write the character itself")
        return text
    if tag == f"{_TAGS}null" and text in ("", "~", "null", "Null", "NULL"):
        return None
    if tag == f"{_TAGS}bool" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if tag == f"{_TAGS}int":
        return _number(text, _WHOLE, int)
    if tag == f"{_TAGS}float":
        return float(text.replace(".", "")) if _NOT_FINITE.fullmatch(text) else _number(text, _DECIMAL, float)
    if tag == f"{_TAGS}bool":
        raise ConfigError(f"{shown(text)} is neither true nor false; write one of them, or {shown(text)} without a tag")
    if tag == f"{_TAGS}null":
        raise ConfigError(f"{shown(text)} is not null; leave the tag out")
    raise ConfigError(_unknown_tag(tag))


_N = TypeVar("_N", int, float)


def _number(text: str, pattern: re.Pattern[str], made_by: Callable[[str], _N]) -> _N:
    if len(text) > _LONGEST_NUMBER:
        raise ConfigError(f"a number of {len(text)} characters is too long; write it with at most {_LONGEST_NUMBER}")
    if pattern.fullmatch(text):
        return made_by(text.replace("_", ""))
    raise ConfigError(f"{text} is not a plain decimal number; {_remedy(text)}, or {text!r} if it is a text")


def _remedy(text: str) -> str:
    """What to write instead of a number such as `010`, which is 8 to some readers and 10 to others."""
    sign, digits = re.fullmatch(r"([-+]?)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
    try:
        value = str(int(digits, 0))  # 0x1f, 0o17, 0b11
    except ValueError:
        value = digits.lstrip("0_")
    is_decimal = _DECIMAL.fullmatch(value) is not None
    return f"write {sign}{value}" if is_decimal else "write it as one"


def _unknown_tag(tag: str) -> str:
    name = tag.replace(_TAGS, "!!") if tag.startswith(_TAGS) else tag
    return f"the tag {shortened(name)} is not supported here; leave it out"
