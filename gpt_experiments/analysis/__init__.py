"""Draws conclusions from a sweep's results: effects, variance shares, beliefs, sentences."""

from gpt_experiments.analysis.beliefs import Belief, beliefs
from gpt_experiments.analysis.effects import Effect, effects, noise
from gpt_experiments.analysis.estimate import Estimate, adjusted, estimate
from gpt_experiments.analysis.factorial import marginal_means, variance_shares
from gpt_experiments.analysis.power import power_table
from gpt_experiments.analysis.results import FINISHED, LOSS, Pretrained, SweepResults, level_name
from gpt_experiments.analysis.verdict import MARGIN, Judged, Verdict, judge_all

__all__ = [
    "FINISHED",
    "LOSS",
    "MARGIN",
    "Belief",
    "Effect",
    "Estimate",
    "Judged",
    "Pretrained",
    "SweepResults",
    "Verdict",
    "adjusted",
    "beliefs",
    "effects",
    "estimate",
    "judge_all",
    "level_name",
    "marginal_means",
    "noise",
    "power_table",
    "variance_shares",
]
