"""No text of any figure leaves the canvas or covers another, however many variants, and however wide their intervals.

Warnings are errors here as in every test, so that what matplotlib would say of a layout that fails fails the test.
"""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from gpt_experiments.figures import (
    attention_heads,
    attention_mean,
    head_score_maps,
    interactions,
    level_curves,
    loss_curve,
    main_effects,
    position_curves,
    variant_bars,
)
from gpt_experiments.parameters import Shape
from gpt_experiments.report.content import Extras, make_document
from tests.analysis.test_beliefs import as_believed
from tests.figures.geometry import faults
from tests.support.simulated import BASELINE, full_grid, simulate

LONG = [
    Shape(n_head=n_head, n_layer=n_layer, n_embed=1024, dropout=0.15, block_size=block_size)
    for n_head, n_layer, block_size in itertools.product((1, 2, 16), (1, 12), (512, 1024))
]
SWEEPS: dict[str, dict[str, Any]] = {
    "one variant, one seed": {"variants": [BASELINE], "seeds": 1},
    "one variant, two seeds": {"variants": [BASELINE], "seeds": 2, "noise": 0.5},
    "two variants, wide": {"variants": [BASELINE, Shape(n_head=8)], "seeds": 2, "noise": 0.8},
    "eleven variants, one seed": {"seeds": 1},
    "eleven variants, narrow": {"seeds": 2, "noise": 1e-4, "seed_effect": 0.0},
    "eleven variants, wide": {"seeds": 2, "noise": 0.6},
    "long labels": {"variants": [BASELINE, *LONG], "method": "random", "seeds": 2, "noise": 0.05},
    "equal losses": {"seeds": 2, "noise": 0.0, "seed_effect": 0.0},
    "the grid": {"variants": full_grid(), "method": "grid", "seeds": 2, "noise": 0.3},
}


@pytest.mark.parametrize(
    "name",
    [
        name
        if name in ("one variant, one seed", "eleven variants, wide")
        else pytest.param(name, marks=pytest.mark.slow)
        for name in SWEEPS
    ],
)
def test_every_figure_of_a_report_is_laid_out(name: str) -> None:
    loss_of = (lambda variant: 2.5) if name == "equal losses" else as_believed
    results = simulate(loss_of, details=True, **SWEEPS[name])
    pictures = make_document(results, Extras()).pictures()
    assert {picture.name: faults(picture.figure) for picture in pictures} == {p.name: [] for p in pictures}


@pytest.mark.slow
@pytest.mark.parametrize("half_width", [float("nan"), 1e-4, 0.5, 40.0])
@pytest.mark.parametrize("count", [1, 2, 11, 40])
def test_bars_keep_their_numbers_whatever_the_interval(count: int, half_width: float) -> None:
    rows = [(f"n_layer={i}", 2.5 + i / 100, 2.4, half_width, half_width) for i in range(count)]
    columns = ["label", "final_val_loss", "final_train_loss", "half_width", "train_half_width"]
    frame = pd.DataFrame(rows, columns=columns)
    figure = variant_bars(frame)
    assert faults(figure) == []
    low, high = figure.axes[0].get_xlim()
    assert low == 0
    assert high < 3 * 2.5 + count / 50  # the bars stay long enough to be compared


def test_every_level_of_an_interaction_is_drawn() -> None:
    """Nine levels, of which there are colours for six."""
    levels = list(range(1, 10))
    rows = [{"a": a, "b": b, "loss": a + b / 10, "half_width": 0.01} for a in (1, 2) for b in levels]
    figure = interactions(["a", "b"], {("a", "b"): pd.DataFrame(rows)})
    (axes,) = [axes for axes in figure.axes if axes.get_lines()]
    assert [line.get_label() for line in axes.get_lines()] == [str(level) for level in levels]
    assert faults(figure) == []


@pytest.mark.parametrize("count", [1, 8, 40])
def test_curves_of_many_levels_are_distinguished_and_laid_out(count: int) -> None:
    rows = [
        {
            "level": level,
            "seed": 0,
            "step": step,
            "train_loss": 2.0,
            "val_loss": 2 + level / 10,
        }
        for level in range(1, count + 1)
        for step in (1, 10, 20)
    ]
    frame = pd.DataFrame(rows)
    loss = frame["val_loss"]
    unknown = dict.fromkeys(("difference", "less", "more"), float("nan"))
    at = {"first": frame["step"], "last": frame["step"], "sees_all": True}
    positions = frame.assign(**at, loss=loss, low=loss - 0.1, high=loss + 0.1, **unknown)
    for figure in (level_curves(frame, "block_size"), position_curves(positions)):
        assert faults(figure) == []
        solid = [line for line in figure.axes[0].get_lines() if line.get_linestyle() == "-"]
        assert len({(line.get_color(), line.get_marker()) for line in solid}) == min(count, 36)


def test_many_levels_of_a_factorial_are_named_without_overlap() -> None:
    levels = [8 * i for i in range(1, 21)]
    pair = pd.DataFrame(
        [{"n_embed": e, "n_head": h, "loss": 2 + e / h / 99, "half_width": 0.1} for e in levels for h in (1, 2, 4, 8)]
    )
    means = {name: pair.groupby(name)[["loss", "half_width"]].mean().reset_index() for name in ("n_head", "n_embed")}
    assert faults(main_effects(means)) == []
    assert faults(interactions(["n_head", "n_embed"], {("n_head", "n_embed"): pair})) == []


def evaluations(*rows: tuple[int, float, float]) -> list[Any]:
    return [SimpleNamespace(step=step, train_loss=train, val_loss=val) for step, train, val in rows]


@pytest.mark.parametrize(
    "rows",
    [
        [(0, 4.2, 4.2)],
        [(0, float("nan"), float("nan"))],
        [(0, 4.2, 4.2), (10, 1e30, 1e35), (20, float("inf"), float("nan"))],
        [(0, 2.0, 2.0), (3_000_000, 2.0, 2.0)],
    ],
    ids=["one point", "not finite", "diverging", "flat"],
)
def test_loss_curves_are_laid_out(rows: list[tuple[int, float, float]]) -> None:
    title = "n_head=16 n_layer=12 n_embed=1024 dropout=0.15 block_size=1024 $x_1$ \N{CJK UNIFIED IDEOGRAPH-4E2D}"
    assert faults(loss_curve(evaluations(*rows), title=title, uniform_loss=4.17)) == []


def causal(panels: int, length: int) -> NDArray[np.floating[Any]]:
    weights = np.tril(np.ones((panels, length, length)))
    return weights / weights.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize(
    ("heads", "text"),
    [(1, "a"), (1, "\N{CJK UNIFIED IDEOGRAPH-4E2D}\n"), (1, "KING HENRY:"), (64, "KING HENRY:"), (3, "\t\u0301" * 90)],
    ids=["one character", "not in the font", "one head", "many heads", "sparse labels"],
)
def test_heatmaps_are_laid_out(heads: int, text: str) -> None:
    maps = causal(heads, len(text))
    assert faults(attention_heads(maps, text, title="n_head=16 n_layer=12 n_embed=1024: attention in layer 1")) == []
    assert faults(attention_mean(maps[None], text, title="baseline: attention, mean over heads")) == []


@pytest.mark.parametrize("shape", [(1, 1), (12, 12), (1, 16)])
def test_head_maps_are_laid_out(shape: tuple[int, int]) -> None:
    scores = {name: np.full(shape, 123.45) for name in ("previous_position", "entropy", "same_character", "induction")}
    assert faults(head_score_maps(scores, title="n_head=16 n_layer=12 n_embed=1024: what each head does")) == []
