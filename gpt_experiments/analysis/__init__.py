"""Draws conclusions from a sweep's results: effects, variance shares, beliefs, sentences."""

from gpt_experiments.analysis.beliefs import beliefs
from gpt_experiments.analysis.effects import Effect, effects, noise
from gpt_experiments.analysis.estimate import Estimate, adjusted, estimate
from gpt_experiments.analysis.factorial import marginal_means, variance_shares
from gpt_experiments.analysis.grid_noise import GridNoise, grid_noise
from gpt_experiments.analysis.judging import Belief, Quantity
from gpt_experiments.analysis.positions import own_characters, same_characters
from gpt_experiments.analysis.power import power_table
from gpt_experiments.analysis.results import FINISHED, LOSS, Pretrained, SweepResults, level_name
from gpt_experiments.analysis.verdict import Judged, Verdict, judge_all
from gpt_experiments.config import MARGIN

__all__ = [
    "FINISHED",
    "LOSS",
    "MARGIN",
    "Belief",
    "Effect",
    "Estimate",
    "GridNoise",
    "Judged",
    "Pretrained",
    "Quantity",
    "SweepResults",
    "Verdict",
    "adjusted",
    "beliefs",
    "effects",
    "estimate",
    "grid_noise",
    "judge_all",
    "level_name",
    "marginal_means",
    "noise",
    "own_characters",
    "power_table",
    "same_characters",
    "variance_shares",
]
