"""The model's expensive operations by the fastest way that there is: kernels for the CPU, else PyTorch's own."""

from __future__ import annotations

import os
import warnings
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from gpt_experiments.errors import ConfigError, shown
from gpt_experiments.kernels.feed_forward_parts import FeedForward, is_one_part

SWITCH: Final = "GPT_EXPERIMENTS_KERNELS"
"""The environment variable that turns the kernels off."""


class KernelWarning(RuntimeWarning):
    """The compiled kernels are missing, or must be compiled anew: the results are the same, but come later."""


def are_switched_on() -> bool:
    """Whether the user leaves the kernels on.

    Raises:
        ConfigError: the switch is neither on nor off.
    """
    value = os.environ.get(SWITCH) or "on"
    if value not in ("on", "off"):
        raise ConfigError(f"{SWITCH} must be on or off, but got {shown(value)}; unset it to leave the kernels on")
    return value == "on"


def switch_kernels(*, on: bool) -> None:
    """Turn the kernels on or off for this process, and for those that it starts from now on."""
    os.environ[SWITCH] = "on" if on else "off"


def why_not_compiled() -> str | None:
    """Why PyTorch's own attention will train on a CPU, in words for the user; None where the compiled one will.

    This takes no time, but does not find out whether an installed Numba runs; `compiled_functions` does.

    Raises:
        ConfigError: the switch is neither on nor off.
    """
    if not are_switched_on():
        return f"{SWITCH} is off, so training uses PyTorch's attention, which is slower; unset it to use the kernels"
    if find_spec("numba") is None:
        return "Numba is not installed, so training uses PyTorch's attention, which is slower; run `pip install numba`"
    return None


@cache
def compiled_functions() -> ModuleType | None:
    """The functions on compiled kernels, loaded when first asked for, which takes about a second.

    None where Numba is not installed, or does not run; a warning says the latter.
    """
    if find_spec("numba") is None:
        return None
    try:
        from gpt_experiments.kernels import autograd
    except Exception as error:  # of a version that does not fit, of its compiler, of the system: whatever it is
        _warn(f"Numba does not run here ({error!r:.200}), so PyTorch's own attention serves, which is slower")
        return None
    if not autograd.are_kept():
        _warn(
            "Numba finds no folder with room to keep what it compiles, so every process compiles it anew, which takes "
            "up to a minute; set NUMBA_CACHE_DIR to a folder that can be written"
        )
    return autograd


def _warn(text: str) -> None:
    warnings.warn(text, KernelWarning, stacklevel=3)


def causal_attention(qkv: Tensor, *, scale: float, dropout: float) -> Tensor:
    """Attended values (B, T, n_head, head_size) of queries, keys and values (B, T, 3, n_head, head_size).

    Scores are multiplied by `scale`; attention weights are dropped with probability `dropout`, drawn from torch's
    global generator.
    """
    if _may_serve(qkv) and (functions := compiled_functions()):
        return functions.Attention.apply(qkv.float(), scale, dropout)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)  # three of (B, n_head, T, head_size)
    attended = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True, scale=scale)
    return attended.transpose(1, 2)


def add_dropped(x: Tensor, y: Tensor, *, dropout: float) -> Tensor:
    """The sum x + dropout(y), both (B, T, n_embed), drawn from torch's global generator."""
    if dropout == 0:
        return x + y
    if _may_serve(x, y) and (functions := compiled_functions()):
        return functions.AddDropped.apply(x.float(), y.float(), dropout)
    return x + F.dropout(y, dropout)


def feed_forward(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """Two layers, relu(x @ w1.T + b1) @ w2.T + b2: x (B, T, n_embed), w1 (hidden, n_embed), w2 (n_embed, hidden)."""
    is_short = not torch.is_grad_enabled() and is_one_part(x, w1)  # then the call would cost more than it saves
    if is_short or torch.is_autocast_enabled(x.device.type) or not _may_serve(x):
        return F.linear(F.relu(F.linear(x, w1, b1)), w2, b2)
    return FeedForward.apply(x, w1, b1, w2, b2)  # type: ignore[no-untyped-call]


def _may_serve(*inputs: Tensor) -> bool:
    """Whether kernels may compute with the inputs: on the CPU, in float32 or what autocast made bfloat16."""
    on_cpu = all(x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16) for x in inputs)
    return on_cpu and are_switched_on()
