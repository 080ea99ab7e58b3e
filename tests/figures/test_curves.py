import math
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from gpt_experiments.figures.curves import loss_curve
from gpt_experiments.figures.style import save_png
from gpt_experiments.training.events import Evaluation

UNIFORM = math.log(65)


def evaluations(n: int, last_step: int = 3000, overfit: float = 0.4) -> list[Evaluation]:
    """Losses that fall from about ln 65; the validation loss rises again at the end."""
    found = []
    for part in np.linspace(0, 1, n):
        loss = 1.5 + 2.67 * math.exp(-5 * part)
        val_loss = loss + overfit * part**2
        found.append(Evaluation(step=round(part * last_step), train_loss=loss - 0.1 * part, val_loss=val_loss))
    return found


def lines(figure: Figure) -> dict[str, Any]:
    return {str(line.get_label()): line for line in figure.axes[0].lines}


def written(figure: Figure) -> list[str]:
    return [text.get_text() for text in [*figure.texts, *figure.axes[0].texts]]


def visible_tick_labels(axis: Any) -> list[Any]:
    low, high = sorted(axis.get_view_interval())
    return [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]


@pytest.mark.parametrize("n", [1, 2, 7, 300])
def test_both_losses_are_drawn_over_their_steps(tmp_path: Path, n: int) -> None:
    given = evaluations(n)
    figure = loss_curve(given, title="n_head=8, seed 1337", uniform_loss=UNIFORM)
    (axes,) = figure.axes
    assert axes.get_ylabel() == "loss (nats per character)"
    assert axes.get_xlabel() == "optimisation step"
    drawn = lines(figure)
    for name, losses in (("training", [e.train_loss for e in given]), ("validation", [e.val_loss for e in given])):
        assert list(drawn[name].get_xdata()) == [e.step for e in given]
        assert list(drawn[name].get_ydata()) == losses
        assert f"{name} {losses[-1]:.3f}" in written(figure)
    assert "n_head=8, seed 1337" in written(figure)
    save_png(figure, tmp_path / "curve.png")
    with Image.open(tmp_path / "curve.png") as image:
        assert image.size == figure.canvas.get_width_height()


def test_the_best_validation_loss_is_ringed_and_said() -> None:
    given = evaluations(31)
    best = min(given, key=lambda e: e.val_loss)
    assert 0 < best.step < 3000
    figure = loss_curve(given, title="title")
    ring = lines(figure)["best validation loss"]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (best.step, best.val_loss)
    assert f"best validation loss {best.val_loss:.3f} at step {best.step:,} (ringed)" in written(figure)


def test_the_uniform_guess_is_a_dotted_line_where_asked_for() -> None:
    figure = loss_curve(evaluations(7), title="title", uniform_loss=UNIFORM)
    line = lines(figure)["uniform guess"]
    assert line.get_linestyle() == ":"
    assert set(line.get_ydata()) == {UNIFORM}
    assert "uniform guess 4.174" in written(figure)
    assert "uniform guess" not in lines(loss_curve(evaluations(7), title="title"))


@pytest.mark.parametrize(
    "given",
    [
        evaluations(1),
        evaluations(2, last_step=1),
        evaluations(7, overfit=0.0),
        evaluations(300, last_step=1_000_000),
        [Evaluation(step=0, train_loss=UNIFORM, val_loss=UNIFORM)],
        [Evaluation(step=0, train_loss=4.2, val_loss=4.2), Evaluation(step=10, train_loss=2e7, val_loss=3e9)],
        [Evaluation(step=0, train_loss=4.2, val_loss=4.2), Evaluation(step=10, train_loss=math.nan, val_loss=math.inf)],
        [Evaluation(step=0, train_loss=math.nan, val_loss=math.inf)],
    ],
)
def test_no_text_overlaps_or_is_clipped(given: list[Evaluation]) -> None:
    title = "n_head=8 n_layer=8 n_embed=128 dropout=0.3 block_size=256, seed 1337, learning_rate=0.0003, bfloat16"
    figure = loss_curve(given, title=title, uniform_loss=UNIFORM)
    figure.canvas.draw()
    (axes,) = figure.axes
    shown = [label for axis in (axes.xaxis, axes.yaxis) for label in visible_tick_labels(axis)]
    names = [*figure.texts, *axes.texts, axes.xaxis.label, axes.yaxis.label, axes.yaxis.get_offset_text()]
    boxes = [text.get_window_extent() for text in [*shown, *names] if text.get_text()]
    for box in boxes:
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_losses_that_are_not_finite_leave_the_others_readable() -> None:
    given = [*evaluations(6), Evaluation(step=3600, train_loss=math.nan, val_loss=math.inf)]
    figure = loss_curve(given, title="title")
    low, high = figure.axes[0].get_ylim()
    assert 1 < low < high < 5
    assert "validation inf" in written(figure)
    assert "training nan" in written(figure)


def test_no_evaluations_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one evaluation"):
        loss_curve([], title="title")
