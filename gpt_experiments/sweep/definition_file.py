"""Reads sweep definitions from YAML files, shipped or the user's own; an error names line and field."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from gpt_experiments.errors import LONGEST_VALUE, ConfigError, shown
from gpt_experiments.parameters import PARAMETERS, Shape, TrainingSetup, check_value
from gpt_experiments.sweep.definition import (
    BUDGETS,
    LEVELED,
    SweepDefinition,
)
from gpt_experiments.sweep.levels import Level, Range
from gpt_experiments.sweep.methods import METHODS, PRUNERS, Method
from gpt_experiments.sweep.rules import NO_PRUNER, check_levels
from gpt_experiments.sweep.seeds import MOST_SEEDS_LOOKED_AT, check_seeds, first_seeds
from gpt_experiments.sweep.yaml_source import FieldPath, YamlSource, read_yaml

_FIELDS = (
    "name", "description", "method", "baseline", "levels", "training", "budget", "seeds", "trials", "pruner",
    "skip_indivisible", "margin", "until_decided", "own_seeds", "nuisance", "tuning_seeds",
)  # fmt: skip
_REQUIRED = ("name", "method", "levels")
_R = TypeVar("_R")
_Choice = TypeVar("_Choice", bound=str)


def load_definition(name_or_path: str) -> SweepDefinition:
    """The shipped definition of that name, or the one in that YAML file.

    Raises:
        ConfigError: there is none, or it breaks a rule; the message names file, line and field.
    """
    shipped = shipped_definitions()
    path = Path(name_or_path)
    if name_or_path in shipped:
        path = shipped[name_or_path]
    elif path.suffix not in (".yaml", ".yml") and not _exists(path):
        raise ConfigError(
            f"there is no sweep {shown(name_or_path)}; {_hint(name_or_path, shipped)}"
            f"choose from {', '.join(sorted(shipped))}, or give the path of a .yaml file"
        )
    return _Reader(read_yaml(path)).definition()


def sweep_name(reference: str) -> str:
    """The name of the sweep that a YAML file defines; what is no file is the name or the run id of a stored sweep.

    Raises:
        ConfigError: the file is missing or breaks a rule.
    """
    is_file = Path(reference).suffix in (".yaml", ".yml") or _exists(Path(reference))
    return load_definition(reference).name if is_file else reference


def shipped_definitions() -> dict[str, Path]:
    """The definitions that come with the program, by name: inside an installed wheel, or a checkout's `sweeps/`."""
    package = Path(__file__).parent.parent
    folder = package / "definitions"
    if not folder.is_dir():
        folder = package.parent / "sweeps"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long a name, or one with a NUL
        return False


def _hint(given: str, known: Iterable[str]) -> str:
    likely = difflib.get_close_matches(given[:LONGEST_VALUE], known, n=1)
    return f"did you mean {likely[0]}? " if likely else ""


class _Reader:
    """Turns one file's fields into a definition."""

    def __init__(self, source: YamlSource) -> None:
        self._source, self._fields = source, source.fields

    def definition(self) -> SweepDefinition:
        self._check_keys((), _FIELDS)
        for name in _REQUIRED:
            if name not in self._fields:
                raise self._source.error((), f"the field {name!r} is missing; it is required")
        method = self._choice("method", tuple(METHODS))
        values: dict[str, Any] = {
            "name": self._text("name"),
            "method": method,
            "description": self._text("description") if "description" in self._fields else "",
            "baseline": self._parameters("baseline", Shape),
            "training": self._parameters("training", TrainingSetup),
            "levels": self._levels(METHODS[method]),
        }
        if "budget" in self._fields:
            values["budget"] = self._choice("budget", BUDGETS)
        if "seeds" in self._fields:
            given = self._fields["seeds"]
            read = check_seeds if isinstance(given, list) else first_seeds
            values["seeds"] = self._located(("seeds",), partial(read, given))
        elif self._fields.get("until_decided") is True:
            values["seeds"] = first_seeds(MOST_SEEDS_LOOKED_AT)
        if "nuisance" in self._fields:
            values["nuisance"] = self._nuisance()
        if "pruner" in self._fields:
            chosen = self._choice("pruner", (*PRUNERS, NO_PRUNER))
            values["pruner"] = None if chosen == NO_PRUNER else chosen
        for name in ("trials", "skip_indivisible", "margin", "until_decided", "own_seeds", "tuning_seeds"):
            if name in self._fields:
                values[name] = self._fields[name]
        return self._located(("levels",), partial(SweepDefinition, **values))

    def _choice(self, name: str, choices: tuple[_Choice, ...]) -> _Choice:
        given = self._fields[name]
        for known in choices:
            if given == known:
                return known
        raise self._source.error((name,), f"must be one of {', '.join(choices)}, but got {shown(given)}")

    def _text(self, name: str) -> str:
        value = self._fields[name]
        if not isinstance(value, str) or not value.strip():
            raise self._source.error((name,), f"must be a text that is not empty, but got {shown(value)}")
        return value.strip()

    def _parameters(self, name: str, made_of: Callable[..., _R]) -> _R:
        """A shape or a training setup from the mapping under `name`, which may be missing."""
        names = [f.name for f in dataclasses.fields(made_of)]  # type: ignore[arg-type]  # both are dataclasses
        given = self._mapping((name,), names) if name in self._fields else {}
        for key, value in given.items():
            self._located((name, key), partial(check_value, key, value))  # alone first: an error names the one field
        return self._located((name,), partial(made_of, **given))

    def _levels(self, method: type[Method]) -> dict[str, tuple[Level, ...] | Range]:
        levels: dict[str, tuple[Level, ...] | Range] = {}
        given = self._mapping(("levels",), LEVELED)
        for name in LEVELED:
            if name in given:
                where: FieldPath = ("levels", name)
                levels[name] = self._one_parameter(where, given[name])
                self._located(where, partial(check_levels, name, levels[name], method))
        return levels

    def _nuisance(self) -> dict[str, tuple[Level, ...]]:
        nuisance: dict[str, tuple[Level, ...]] = {}
        for name, given in self._mapping(("nuisance",), PARAMETERS).items():
            if not isinstance(given, list):
                raise self._source.error(
                    ("nuisance", name), f"must be a list of values to try, as [1e-4, 1e-3], but got {shown(given)}"
                )
            nuisance[name] = tuple(given)
        return nuisance

    def _one_parameter(self, where: FieldPath, given: Any) -> tuple[Level, ...] | Range:
        if isinstance(given, dict):
            bounds = self._mapping(where, [f.name for f in dataclasses.fields(Range)])
            for bound in ("low", "high"):
                if bound not in bounds:
                    raise self._source.error(where, f"a range needs low and high; {bound} is missing")
            return self._located(where, partial(Range, **bounds))
        if not isinstance(given, list):
            raise self._source.error(where, f"must be a list of levels, as [1, 4], but got {shown(given)}")
        return tuple(given)

    def _mapping(self, where: FieldPath, known: Iterable[str]) -> Mapping[str, Any]:
        value: Any = self._fields
        for part in where:
            value = value[part]
        if not isinstance(value, dict):
            raise self._source.error(where, f"must be a mapping of fields to values, but got {shown(value)}")
        self._check_keys(where, known)
        return value

    def _check_keys(self, where: FieldPath, known: Iterable[str]) -> None:
        value: Any = self._fields
        for part in where:
            value = value[part]
        names = list(known)
        for key in value:
            if key not in names:
                raise self._source.error(
                    (*where, key), f"unknown field; {_hint(key, names)}the fields are {', '.join(names)}"
                )

    def _located(self, where: FieldPath, make: Callable[[], _R]) -> _R:
        """Return what `make` returns; its errors get the file, the line and the field in front."""
        try:
            return make()
        except ConfigError as error:
            raise self._source.error((error.field,) if error.field else where, error) from None
