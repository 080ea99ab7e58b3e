"""The frame of a page that stands alone: it loads nothing, runs only its own script, and is light or dark."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Final

from jinja2 import Environment, FunctionLoader, StrictUndefined

_HERE: Final = "gpt_experiments.explorer"


def render_page(
    package: str,
    template: str,
    *,
    styles: Sequence[str],
    scripts: Sequence[str],
    data: Mapping[str, object],
    **values: object,
) -> str:
    """The page of a template that extends `frame.html.jinja`.

    Args:
        package: whose folder holds the template, styles and scripts.
        styles: added to `frame.css`.
        scripts: put together in this order: a later one uses what an earlier one defines.
        data: what the script reads; it becomes the page's element `data`.
        values: what the template shows; `title` among them.
    """
    style = "\n".join([_asset(_HERE, "frame.css"), *(_asset(package, name) for name in styles)])
    script = "\n".join(_asset(package, name) for name in scripts)
    return (
        _environment()
        .from_string(_asset(package, template))
        .render(
            **values,
            data=data,
            style=style,
            script=script,
            style_digest=_digest(style),
            script_digest=_digest(script),
        )
    )


@cache
def _environment() -> Environment:
    return Environment(
        loader=FunctionLoader(lambda name: _asset(_HERE, name)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _asset(package: str, name: str) -> str:
    return files(package).joinpath(name).read_text(encoding="utf-8")


def _digest(content: str) -> str:
    """The digest by which the page's content security policy allows its script and its style sheet."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode("ascii")
