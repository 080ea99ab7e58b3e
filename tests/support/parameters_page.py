"""The page that lists every parameter: `python -m tests.support.parameters_page` writes it anew."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from gpt_experiments.parameters import SHAPE, TRAINING, Parameter

PAGE: Final = Path(__file__).parents[2] / "docs" / "parameters.md"
COMMAND: Final = "python -m tests.support.parameters_page"


def parameters_page() -> str:
    """The page as it must be, from the declarations in `parameters.py`."""
    return f"""# Parameters

What a trial's result depends on and a user can set, beside its seed. `train` has an option for each of them, as
`--n-head` for `n_head`; a sweep file names them as they stand here. [adding.md](adding.md) says how to add one. This
page is made from `gpt_experiments/parameters.py` by `{COMMAND}`.

## The hyperparameters, which make the shape

{_table(SHAPE.values())}

## The training

{_table(TRAINING.values())}
"""


def _table(parameters: Iterable[Parameter]) -> str:
    head = "| name | type | range or choices | default | what it is |\n| --- | --- | --- | --- | --- |\n"
    return head + "\n".join(_row(parameter) for parameter in parameters)


def _row(parameter: Parameter) -> str:
    kind = {int: "whole number", float: "number", str: "text"}[parameter.kind]
    default = parameter.default if isinstance(parameter.default, str) else f"{parameter.default:g}"
    return f"| `{parameter.name}` | {kind} | {_range(parameter)} | {default} | {parameter.help} |"


def _range(parameter: Parameter) -> str:
    if parameter.kind is int:
        return f"{parameter.low:,} to {parameter.high:,}"
    if parameter.kind is float:
        return parameter.rule.removeprefix("must be ")
    return ", ".join(f"`{choice}`" for choice in parameter.choices)


if __name__ == "__main__":
    PAGE.write_text(parameters_page(), encoding="utf-8")
