"""The model's expensive operations, compiled for the CPU where that can be; README.md says how."""

from gpt_experiments.kernels.operations import (
    SWITCH,
    KernelWarning,
    add_dropped,
    are_switched_on,
    causal_attention,
    feed_forward,
    switch_kernels,
    why_not_compiled,
)

__all__ = [
    "SWITCH",
    "KernelWarning",
    "add_dropped",
    "are_switched_on",
    "causal_attention",
    "feed_forward",
    "switch_kernels",
    "why_not_compiled",
]
