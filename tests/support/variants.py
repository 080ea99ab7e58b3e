"""Variants by the values of their parameters."""

from __future__ import annotations

from typing import Any

from gpt_experiments.config import Variant


def make_variant(**values: Any) -> Variant:
    """The study's baseline with these parameters changed."""
    return Variant.of(values)
