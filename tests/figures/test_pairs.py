"""Figures of two trials, or two sweeps: what they draw, from numbers that are known."""

from __future__ import annotations

import pandas as pd

from gpt_experiments.figures import pair_curves, pair_panels


def rows(side: str, losses: dict[int, float], **more: object) -> list[dict[str, object]]:
    return [
        {"side": side, "step": step, "train_loss": loss - 0.5, "val_loss": loss, **more}
        for step, loss in losses.items()
    ]


def drawn(axes: object) -> dict[str, list[tuple[float, float]]]:
    lines = axes.get_lines()  # type: ignore[attr-defined]
    return {
        line.get_label(): list(zip(line.get_xdata(), line.get_ydata(), strict=True))
        for line in lines
        if not line.get_label().startswith("_")
    }


def test_the_losses_of_both_and_how_far_they_are_apart() -> None:
    curves = pd.DataFrame(rows("a", {0: 4.0, 10: 3.0, 20: 2.0}) + rows("b", {0: 4.0, 10: 3.0, 20: 2.25, 30: 1.0}))
    figure = pair_curves(curves)
    losses, differences = figure.axes
    assert drawn(losses)["A, validation"] == [(10, 3.0), (20, 2.0)]  # not step 0
    assert drawn(losses)["B, training"] == [(10, 2.5), (20, 1.75), (30, 0.5)]
    assert drawn(differences) == {
        "B minus A, validation": [(10, 0.0), (20, 0.25)],
        "B minus A, training": [(10, 0.0), (20, 0.25)],
    }


def test_one_evaluation_and_a_side_without_any_are_drawn() -> None:
    figure = pair_curves(pd.DataFrame(rows("a", {0: 4.0})))
    losses, differences = figure.axes
    assert drawn(losses)["A, validation"] == [(0, 4.0)]
    assert drawn(differences) == {}


def test_each_variant_has_a_panel_with_the_means_of_both_sweeps() -> None:
    curves = pd.DataFrame(
        [
            row
            for variant, extra in (("n_head=8", 0.0), ("baseline", 1.0), ("n_layer=1", 2.0))
            for side, lower in (("a", 0.0), ("b", 0.5))
            for seed in (1, 2)
            for row in rows(side, {0: 4.0, 10: 2.0 + extra - lower + seed}, variant=variant, seed=seed)
        ]
    )
    figure = pair_panels(curves)
    visible = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in visible] == ["n_head=8", "baseline", "n_layer=1"]
    assert drawn(visible[1]) == {"A": [(10, 4.5)], "B": [(10, 4.0)]}
