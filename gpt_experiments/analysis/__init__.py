"""Draws conclusions from a sweep's results: effects, variance shares, beliefs, sentences."""

from gpt_experiments.analysis.beliefs import Belief, beliefs
from gpt_experiments.analysis.effects import Effect, effects, noise
from gpt_experiments.analysis.estimate import Estimate, adjusted, detectable, estimate
from gpt_experiments.analysis.factorial import marginal_means, variance_shares
from gpt_experiments.analysis.results import FINISHED, LOSS, Pretrained, SweepResults, level_name

__all__ = [
    "FINISHED",
    "LOSS",
    "Belief",
    "Effect",
    "Estimate",
    "Pretrained",
    "SweepResults",
    "adjusted",
    "beliefs",
    "detectable",
    "effects",
    "estimate",
    "level_name",
    "marginal_means",
    "noise",
    "variance_shares",
]
