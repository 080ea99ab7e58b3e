"""Figures: plain values in, `matplotlib.figure.Figure` out, without pyplot's global state."""

from gpt_experiments.figures.costs import cost_scatter
from gpt_experiments.figures.curves import loss_curve
from gpt_experiments.figures.factorial import interactions, main_effects, share_bars
from gpt_experiments.figures.head_maps import head_score_maps
from gpt_experiments.figures.head_mosaic import head_mosaic
from gpt_experiments.figures.heatmaps import attention_heads, attention_mean
from gpt_experiments.figures.levels import level_curves
from gpt_experiments.figures.pairs import pair_curves, pair_panels
from gpt_experiments.figures.positions import position_curves
from gpt_experiments.figures.sensitivity import sensitivity_curves
from gpt_experiments.figures.style import save_png, save_svg
from gpt_experiments.figures.variants import effect_plot, variant_bars

__all__ = [
    "attention_heads",
    "attention_mean",
    "cost_scatter",
    "effect_plot",
    "head_mosaic",
    "head_score_maps",
    "interactions",
    "level_curves",
    "loss_curve",
    "main_effects",
    "pair_curves",
    "pair_panels",
    "position_curves",
    "save_png",
    "save_svg",
    "sensitivity_curves",
    "share_bars",
    "variant_bars",
]
