"""Figures over a whole sweep: what they draw, from numbers that are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from gpt_experiments.figures import (
    cost_scatter,
    effect_plot,
    head_score_maps,
    interactions,
    level_curves,
    position_curves,
    sensitivity_curves,
    share_bars,
    variant_bars,
)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_the_front_joins_what_nothing_is_both_cheaper_and_better_than() -> None:
    variants = pd.DataFrame(
        {"label": list("abcde"), "n_params": [10, 20, 20, 40, 80], "final_val_loss": [3.0, 2.5, 2.6, 2.7, 2.4]}
    )
    figure = cost_scatter(variants, "n_params", title="t", unit="parameters")
    (front,) = figure.axes[0].get_lines()
    assert list(zip(front.get_xdata(), front.get_ydata(), strict=True)) == [(10, 3.0), (20, 2.5), (80, 2.4)]
    assert sorted(texts(figure)) == list("abcde")


def test_many_points_are_named_by_number_on_the_front_alone() -> None:
    rng = np.random.default_rng(0)
    variants = pd.DataFrame(
        {
            "label": [f"n_head={i}" for i in range(60)],
            "flops": rng.uniform(1e9, 1e13, 60),
            "final_val_loss": rng.uniform(2, 3, 60),
        }
    )
    figure = cost_scatter(variants, "flops", title="t", unit="operations")
    numbers = texts(figure)
    assert sorted(numbers, key=int) == [str(i) for i in range(1, len(numbers) + 1)]
    (legend,) = figure.legends
    assert [text.get_text().split()[0] for text in legend.get_texts()] == sorted(numbers, key=int)


def test_names_of_neighbouring_points_do_not_cover_each_other() -> None:
    variants = pd.DataFrame(
        {
            "label": [f"variant number {i}" for i in range(8)],
            "n_params": [200_000, 210_000, 200_000, 205_000, 400_000, 60_000, 66_000, 800_000],
            "final_val_loss": [2.50, 2.50, 2.51, 2.505, 2.4, 2.8, 2.79, 2.2],
        }
    )
    figure = cost_scatter(variants, "n_params", title="t", unit="parameters")
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_bars_carry_their_numbers_and_intervals() -> None:
    variants = pd.DataFrame(
        {
            "label": ["baseline", "n_head=8"],
            "final_train_loss": [2.4, 2.5],
            "final_val_loss": [2.45, 2.55],
            "half_width": [0.01, float("nan")],
            "train_half_width": [0.002, float("nan")],
        }
    )
    axes = variant_bars(variants).axes[0]
    (right,) = axes.child_axes
    shown = [label.get_text() for label in right.get_yticklabels()]
    assert shown == ["2.450 ± 0.010", "2.550", "2.4000 ± 0.0020", "2.500"]
    assert [[*line.get_xdata()] for line in axes.get_lines()] == [
        pytest.approx([2.44, 2.46]),
        pytest.approx([2.398, 2.402]),
    ]


def test_effects_stand_left_of_zero_where_they_are_better() -> None:
    effects = pd.DataFrame(
        {
            "name": ["n_embed=128", "n_head=1"],
            "mean": [-0.1, 0.02],
            "low": [-0.12, float("nan")],
            "high": [-0.08, float("nan")],
            "verdict": ["better", "no verdict"],
        }
    )
    axes = effect_plot(effects).axes[0]
    points = [line.get_xdata() for line in axes.get_lines()]
    assert [list(x) for x in points[:3]] == [[-0.12, -0.08], [-0.1], [0.02]]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["n_embed=128", "n_head=1"]


def test_level_curves_are_means_over_seeds_within_a_band() -> None:
    rows = [
        {"level": level, "seed": seed, "step": step, "train_loss": 2.0, "val_loss": level + seed + step}
        for level in (1, 4)
        for seed in (0, 2)
        for step in (0, 10, 20)
    ]
    axes = level_curves(pd.DataFrame(rows), "n_head").axes[0]
    first = next(line for line in axes.get_lines() if line.get_label() == "1 validation")
    assert list(first.get_xdata()) == [10, 20]  # step 0 is left out
    assert list(first.get_ydata()) == [12, 22]
    assert len(axes.collections) == 4  # a band for each curve


def test_positions_have_bands_and_are_dashed_where_a_context_is_too_short() -> None:
    rows = [
        (
            level,
            first,
            last,
            last <= level,
            loss,
            loss - 0.1,
            loss + 0.1,
            difference,
            difference - 0.01,
            difference + 0.01,
        )
        for level, difference in ((8, float("nan")), (2, 0.3))
        for first, last, loss in ((1, 2, 3.0), (3, 8, 2.5))
    ]
    columns = ["level", "first", "last", "sees_all", "loss", "low", "high", "difference", "less", "more"]
    above, below = position_curves(pd.DataFrame(rows, columns=columns), base=8).axes
    styles = [(line.get_linestyle(), len(line.get_xdata())) for line in above.get_lines()]
    assert styles == [("-", 1), ("--", 2), ("-", 2)]  # the shorter context, dashed from its end on, then the longer one
    assert len(above.collections) == 2
    assert len(below.collections) == 1
    lower = position_curves(pd.DataFrame(rows, columns=columns).assign(difference=float("nan")))
    assert len(lower.axes) == 1


def test_sensitivity_has_a_curve_a_level_with_its_chosen_value_ringed_on_one_scale() -> None:
    def panel(levels: list[float]) -> pd.DataFrame:
        return pd.DataFrame(
            [
                {"level": level, "value": value, "loss": loss, "low": loss - 0.1, "high": loss + 0.1, "chosen": chosen}
                for level in levels
                for value, loss, chosen in ((1e-4, 3.0 + level, False), (1e-3, 2.0, True), (1e-2, np.nan, False))
            ]
        )

    figure = sensitivity_curves({"n_head": panel([1, 4]), "n_layer": panel([2, 4, 8])}, "learning_rate", shared=3e-4)
    heads, layers = figure.axes
    assert [text.get_text() for text in layers.get_legend().get_texts()] == ["2", "4", "8"]
    assert heads.get_ylim() == layers.get_ylim()
    assert heads.get_xscale() == "log"
    lines = heads.get_lines()
    assert list(lines[0].get_xdata()) == [3e-4, 3e-4]  # the baseline's value
    rings = [line for line in lines if line.get_markerfacecolor() == "none"]
    assert [(list(line.get_xdata()), list(line.get_ydata())) for line in rings] == [([1e-3], [2.0])] * 2
    assert len(heads.collections) == 2  # ranges over seeds
    zero = panel([1, 4]).assign(value=[0.0, 0.1, 0.2] * 2)
    assert sensitivity_curves({"n_head": zero}, "weight_decay", shared=0.1).axes[0].get_xscale() == "linear"


def test_small_shares_are_gathered() -> None:
    shares = pd.DataFrame(
        {
            "term": ["a", "b", "c", "d", "rest"],
            "share": [0.9, 0.0993, 0.0004, 0.0003, 0.0],
            "noise": [0.01, 0.2, 0.01, 0.01, float("nan")],
        }
    )
    axes = share_bars(shares).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert [[*line.get_xdata()] for line in axes.get_lines()] == [[0.01, 0.2]]  # what noise could do
    assert labels == ["a", "b", "rest", "2 others together"]
    one = [label.get_text() for label in share_bars(shares.drop(index=3)).axes[0].get_yticklabels()]
    assert one == ["a", "b", "c", "rest"]


def test_interactions_have_a_panel_a_pair_on_one_scale() -> None:
    names = ["a", "b", "c"]
    means = {
        pair: pd.DataFrame(
            {pair[0]: [1, 1, 2, 2], pair[1]: [5, 6, 5, 6], "loss": [1.0, 2.0, 3.0, 4.0], "half_width": [0.1] * 4}
        )
        for pair in [("a", "b"), ("a", "c"), ("b", "c")]
    }
    drawn = [axes for axes in interactions(names, means).axes if axes.get_lines()]
    assert len(drawn) == 3
    assert len({axes.get_ylim() for axes in drawn}) == 1
    assert all(len(axes.collections) == 2 for axes in drawn)  # intervals of both curves


@pytest.mark.parametrize("shape", [(1, 1), (8, 8)])
def test_head_maps_show_every_number_and_what_could_not_be_measured(shape: tuple[int, int]) -> None:
    scores = {"entropy": np.full(shape, 0.5), "induction": np.full(shape, np.nan)}
    labels = [artist.get_label() for artist in head_score_maps(scores, title="t").artists]
    shown = [word for label in labels for word in str(label).split()]
    assert shown.count("0.50") == shown.count("n/a") == shape[0] * shape[1]
