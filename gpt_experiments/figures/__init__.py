"""What a person looks at: plain values in, `matplotlib.figure.Figure` out, without pyplot's global state."""

from gpt_experiments.figures.curves import loss_curve
from gpt_experiments.figures.head_maps import head_score_maps
from gpt_experiments.figures.heatmaps import attention_heads, attention_mean
from gpt_experiments.figures.style import save_png

__all__ = ["attention_heads", "attention_mean", "head_score_maps", "loss_curve", "save_png"]
