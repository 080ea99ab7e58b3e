"""`--json`: one JSON object on standard output instead of text; `docs/json.md` lists the fields of every object."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from gpt_experiments import __version__

SCHEMA: Final = 1
"""Raised whenever a field is renamed, removed, or gets another meaning; a new field does not raise it."""

Fields = dict[str, Any]
"""The fields of an object by their names, in their order; `docs/json.md` has all of them."""


def _show_nothing() -> None:
    """Stands in where everything was shown on the way."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command has found: one value for both outputs.

    Attributes:
        fields: those of the JSON object, beside the first four.
        show: prints the same as text, as far as that was not done on the way.
        exit_status: 0 if all is done.
    """

    fields: Fields
    show: Callable[[], None] = _show_nothing
    exit_status: int = 0


@dataclass
class Invocation:
    """What is known of one invocation of the program: `json_of` is the command that owes an object, if one does."""

    json_of: str | None = None


def json_option(function: Callable[..., Answer]) -> Callable[..., None]:
    """Make a command of a function that returns its answer: it prints the answer as text, or with `--json` as JSON.

    With `--json`, what the function prints goes to standard error, and with `--quiet` nowhere. Standard output has the
    object alone, whatever a library prints.
    """

    @functools.wraps(function)
    def command(*, as_json: bool, **values: Any) -> None:
        if as_json:
            with _nothing_printed(quiet=values.get("quiet", False)):
                answer = function(**values)
            print_object(function.__name__, {"exit_status": answer.exit_status, **answer.fields})
        else:
            answer = function(**values)
            answer.show()
        if answer.exit_status:
            sys.exit(answer.exit_status)

    option = click.option(
        "--json",
        "as_json",
        is_flag=True,
        is_eager=True,  # so that a wrong value of another option is answered with an object too
        callback=_note,
        help="Print one JSON object; all else goes to standard error.",
    )
    return option(command)


def print_object(command: str, fields: Fields) -> None:
    """Print an object of that command on one line of standard output, as UTF-8 whatever the terminal's encoding is."""
    whole = {"command": command, "version": __version__, "schema": SCHEMA, **fields}
    text = json.dumps(_as_json(whole), ensure_ascii=False, allow_nan=False)
    # What cannot be written, such as a byte in a file's name that is no UTF-8, becomes an escape that JSON has too.
    click.echo(text.encode("utf-8", "backslashreplace"))


def print_error(command: str, message: str, exit_status: int) -> None:
    """Print the object of a command that has no answer."""
    print_object(command, {"error": {"message": message, "exit_status": exit_status}})


def owes_object(ctx: click.Context, typed: Sequence[str], error: click.ClickException) -> str | None:
    """The command that was asked for an object and has printed none; None where text was asked for.

    Args:
        ctx: of the program.
        typed: the arguments of the command.
        error: what ended it; after one of the options' parser it is not known what was asked for, but it was typed.
    """
    if isinstance(error, click.NoSuchOption | click.BadOptionUsage) and error.ctx is not None and "--json" in typed:
        return _name(error.ctx.command)
    return ctx.ensure_object(Invocation).json_of


def _note(ctx: click.Context, _: click.Parameter, value: bool) -> bool:
    """Remember that an error must be printed as an object too."""
    if value:
        ctx.ensure_object(Invocation).json_of = _name(ctx.command)
    return value


def _name(command: click.Command) -> str:
    """The command's own name, also where it was called by an earlier one."""
    return getattr(command.callback, "__name__", command.name or "")


@contextlib.contextmanager
def _nothing_printed(*, quiet: bool) -> Iterator[None]:
    """In the block, standard error stands in for standard output, or nothing does."""
    if not quiet:
        with contextlib.redirect_stdout(sys.stderr):
            yield
        return
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def _as_json(value: Any) -> Any:
    """The value as JSON has it: a number that is not finite is null, a path is absolute."""
    if isinstance(value, Mapping):
        return {str(key): _as_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(one) for one in value]
    if isinstance(value, Path):
        return os.path.abspath(value)
    if hasattr(value, "item"):  # a number of NumPy
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
