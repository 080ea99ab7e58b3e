"""How a sweep chooses its variants: one file for each method. Only this package knows Optuna."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from gpt_experiments.sweep.methods.base import History, Method
from gpt_experiments.sweep.methods.gp import GP
from gpt_experiments.sweep.methods.grid import Grid
from gpt_experiments.sweep.methods.one_at_a_time import OneAtATime
from gpt_experiments.sweep.methods.pruning import PRUNERS, Pruning
from gpt_experiments.sweep.methods.random import Random
from gpt_experiments.sweep.methods.tpe import TPE

if TYPE_CHECKING:
    from gpt_experiments.sweep.definition import SweepDefinition

METHODS: Final[Mapping[str, type[Method]]] = {method.name: method for method in (OneAtATime, Grid, Random, TPE, GP)}
"""The methods by their names in a sweep file."""


def make_method(definition: SweepDefinition, history: History | None = None) -> Method:
    """The method that the definition names, ready to suggest variants."""
    return METHODS[definition.method](definition, history or History())


def make_pruning(definition: SweepDefinition) -> Pruning | None:
    """What stops trials of the sweep early; None where the definition names no pruner."""
    return Pruning(definition) if definition.pruner is not None else None


__all__ = ["METHODS", "PRUNERS", "History", "Method", "Pruning", "make_method", "make_pruning"]
