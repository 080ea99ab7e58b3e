"""A YAML file as plain values that remember the lines they stand on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gpt_experiments.errors import ConfigError

FieldPath = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """YAML as people write it: `3e-4` is a number, which YAML 1.1 alone would read as a string."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)


@dataclass(frozen=True)
class YamlSource:
    """A file's top mapping, and the line of each field by its path.

    Attributes:
        fields: the mapping's keys and values.
        lines: line numbers, from 1, of every key and list item, as `("levels", "n_head", 0)`.
    """

    path: Path
    fields: dict[str, Any]
    lines: dict[FieldPath, int]

    def error(self, where: FieldPath, problem: object) -> ConfigError:
        """An error that names the file, the line and the field."""
        line = next((self.lines[where[:n]] for n in range(len(where), -1, -1) if where[:n] in self.lines), 1)
        name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where).lstrip(".")
        return ConfigError(f"{self.path}:{line}: {name}: {problem}" if name else f"{self.path}:{line}: {problem}")


def read_yaml(path: Path) -> YamlSource:
    """Read a file whose top is a mapping.

    Raises:
        ConfigError: the file cannot be read, is no YAML, holds no mapping, or has a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=_Loader)
        value = yaml.load(text, Loader=_Loader)  # a SafeLoader: plain values only
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); give a shipped sweep's name or a file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{path}:{line}: this is not YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError) as error:  # a control character; an impossible date
        raise ConfigError(f"{path}: this is not YAML: {error}") from error
    source = YamlSource(path, value if isinstance(value, dict) else {}, {})
    if not isinstance(node, yaml.MappingNode):
        raise source.error((), "a sweep definition is a mapping, as `name: mine`; this is empty or something else")
    for where, line in _walk(node, ()):
        first = source.lines.setdefault(where, line)
        if first != line:
            source.lines[where] = line
            raise source.error(where, f"stands here again after line {first}; keep one")
    return source


def _walk(node: yaml.Node, path: FieldPath) -> Iterator[tuple[FieldPath, int]]:
    """Every field's path and its line; a key that stands in a mapping twice comes twice."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            where = (*path, str(key.value))
            yield where, key.start_mark.line + 1
            yield from _walk(value, where)
    elif isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            yield (*path, i), item.start_mark.line + 1
            yield from _walk(item, (*path, i))
