"""The model's expensive operations, compiled for the CPU where that can be; README.md says how."""

from gpt_experiments.kernels.operations import (
    KernelWarning,
    add_dropped,
    can_be_compiled,
    causal_attention,
    feed_forward,
)

__all__ = [
    "KernelWarning",
    "add_dropped",
    "can_be_compiled",
    "causal_attention",
    "feed_forward",
]
