"""The explorer's page: checked, cut to size, and put together from the files beside this module."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from jinja2.utils import htmlsafe_json_dumps
from numpy.typing import NDArray

from gpt_experiments.explorer.frame import render_page
from gpt_experiments.explorer.packing import pack, packed_size

PAGE_LIMIT: Final = 1_000_000
"""No page has more bytes."""

# One script, in this order: a later part uses what an earlier one defines.
_SCRIPTS: Final = ("weights.js", "words.js", "drawing.js", "building.js", "explorer.js")
_TOLERANCE: Final = 1e-2  # for weights that were computed in bfloat16


def explorer_page(
    maps: NDArray[np.floating[Any]],
    text: str,
    *,
    title: str,
    scores: Mapping[str, NDArray[np.floating[Any]]] | None = None,
    head_names: Sequence[Sequence[str]] | None = None,
    scores_note: str = "",
) -> str:
    """A page of HTML that shows every head's attention on a text; it loads nothing from elsewhere.

    It has less than a megabyte: where the weights would need more, the text is cut, and the page says so. They are
    rounded as `packing.pack` describes, to within 0.004.

    Args:
        maps: causal attention weights (n_layer, n_head, T, T), [layer, head, query, key], from 0 to 1.
        text: the T characters that the weights belong to.
        title: stands above the page.
        scores: for each name (n_layer, n_head), shown with the chosen head; one that is not finite as not measured.
        head_names: what each head does, n_layer sequences of n_head strings, "" where it is not clear.
        scores_note: what the scores were measured on, shown with them.

    Raises:
        ValueError: the shapes do not fit, a query looks at its future, a weight is not from 0 to 1, or not even one
            character fits the page.
    """
    scores = {} if scores is None else scores
    _check(maps, text, scores, head_names)
    n_layer, n_head = maps.shape[:2]
    data: dict[str, object] = {
        "layers": n_layer,
        "heads": n_head,
        "scores": [{"name": name, "values": _numbers(values)} for name, values in scores.items()],
        "names": [list(row) for row in head_names] if head_names is not None else [[""] * n_head] * n_layer,
    }
    about = {"title": title, "scores_note": scores_note, "n_layer": n_layer, "n_head": n_head, "given": len(text)}
    empty = _render(about | {"shown": 0}, data | {"text": "", "weights": ""})
    shown = _fitting_length(n_layer * n_head, text, PAGE_LIMIT - _n_bytes(empty) - 100)  # a number may take more digits
    weights = pack(maps[:, :, :shown, :shown])
    return _render(about | {"shown": shown}, data | {"text": text[:shown], "weights": weights})


def _check(
    maps: NDArray[np.floating[Any]],
    text: str,
    scores: Mapping[str, NDArray[np.floating[Any]]],
    head_names: Sequence[Sequence[str]] | None,
) -> None:
    length = len(text)
    if maps.ndim != 4 or maps.shape[-2:] != (length, length) or not maps.size:
        raise ValueError(
            f"maps of {length} characters must be (n_layer, n_head, {length}, {length}) and not empty, "
            f"but their shape is {maps.shape}"
        )
    if not (maps.min() >= 0 and maps.max() <= 1 + _TOLERANCE):  # a NaN fails this, too
        raise ValueError(f"attention weights must be from 0 to 1, but are from {maps.min()} to {maps.max()}")
    if np.triu(maps, k=1).any():
        raise ValueError("a query looks at its future: the weights above the diagonal must be 0")
    shape = maps.shape[:2]
    for name, values in scores.items():
        if values.shape != shape:
            raise ValueError(f"the score {name!r} must have the shape {shape} of the heads, but has {values.shape}")
    if head_names is not None and [len(row) for row in head_names] != [shape[1]] * shape[0]:
        raise ValueError(f"head_names must name {shape[0]} layers of {shape[1]} heads, but got {head_names!r}")


def _numbers(values: NDArray[np.floating[Any]]) -> list[list[float | None]]:
    return [[float(f"{value:.4g}") if np.isfinite(value) else None for value in row] for row in values]


def _fitting_length(n_maps: int, text: str, room: int) -> int:
    """How many characters fit `room` bytes together with their weights."""

    def size(length: int) -> int:
        return packed_size(n_maps, length) + len(htmlsafe_json_dumps(text[:length]))

    length = bisect.bisect_right(range(len(text) + 1), room, key=size) - 1
    if length < 1:
        raise ValueError(
            f"not even one character of {text[:20]!r} with its weights fits a page of {PAGE_LIMIT:,} bytes "
            f"(number of heads: {n_maps:,}); give fewer layers, fewer scores or a shorter title"
        )
    return length


def _render(about: Mapping[str, object], data: Mapping[str, object]) -> str:
    return render_page(
        "gpt_experiments.explorer",
        "explorer.html.jinja",
        styles=("explorer.css",),
        scripts=_SCRIPTS,
        data=data,
        limit=PAGE_LIMIT,
        **about,
    )


def _n_bytes(page: str) -> int:
    return len(page.encode())
