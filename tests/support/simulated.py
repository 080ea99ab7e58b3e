"""Sweeps whose truth is known: losses from given effects and normal noise over seeds."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gpt_experiments.analysis import SweepResults
from gpt_experiments.analysis.results import Tuning
from gpt_experiments.config import ModelConfig, Variant
from gpt_experiments.parameters import HYPERPARAMETERS, Shape

BASELINE = Shape()
LEVELS: Mapping[str, Sequence[float]] = {
    "n_head": (1, 4, 8),
    "n_layer": (1, 4, 8),
    "n_embed": (32, 64, 128),
    "dropout": (0.0, 0.1, 0.3),
    "block_size": (32, 128, 256),
}

SHARED_RATE = 3e-4
"""The baseline's learning rate."""
STOP_REASON = "stopped at step 50 of 100 by the median pruner: its validation loss 2.5000 was 0.3100 above the median"

Loss = Callable[[Shape], float]


def one_at_a_time() -> list[Shape]:
    base = dataclasses.asdict(BASELINE)
    return [BASELINE] + [
        Shape(**(base | {name: level})) for name in HYPERPARAMETERS for level in LEVELS[name] if level != base[name]
    ]


def full_grid() -> list[Shape]:
    return [
        Shape(**dict(zip(HYPERPARAMETERS, levels, strict=True)))  # type: ignore[arg-type]
        for levels in itertools.product(*(LEVELS[name] for name in HYPERPARAMETERS))
    ]


def simulate_tuned(
    loss_of: Callable[[Shape, float], float],
    *,
    rates: Sequence[float] = (1e-4, 3e-4, 1e-3, 3e-3),
    seeds: int = 3,
    tuning_seeds: int = 2,
    noise: float = 0.003,
    failed: Sequence[tuple[str, float]] = (),
    missing: Sequence[tuple[str, float]] = (),
    **options: Any,
) -> SweepResults:
    """A sweep whose variants were tuned over the learning rate; a trial's loss is `loss_of(variant, rate)` and noise.

    Args:
        failed, missing: label and rate of what was tuned without a result: all trials failed, or none has ended yet.
    """

    def at(rate: float, count: int, random: int) -> SweepResults:
        given = dict(seeds=count, noise=noise, random=random, **options)
        return simulate(lambda shape: loss_of(shape, rate), **given)

    tuning, elsewhere = [], []
    for number, rate in enumerate(rates):
        trials = at(rate, tuning_seeds, 100 + number).trials.assign(learning_rate=rate)
        trials["seed"] += 1_000_000
        for outcome, which in (("failed", failed), ("missing", missing)):
            lost = [(label, rate) in which for label in trials["label"]]
            trials.loc[lost, "outcome"] = outcome
        tuning.append(trials)
        if rate != SHARED_RATE:
            elsewhere.append(at(rate, seeds, number).trials.assign(learning_rate=rate))
    return dataclasses.replace(
        at(SHARED_RATE, seeds, 50),
        tuning=Tuning(
            parameters=("learning_rate",),
            trials=pd.concat(tuning, ignore_index=True),
            elsewhere=pd.concat(elsewhere, ignore_index=True),
        ),
    )


def simulate(
    loss_of: Loss,
    *,
    seeds: int = 3,
    noise: float = 0.005,
    seed_effect: float = 0.003,
    variants: Sequence[Shape] | None = None,
    method: str = "one-at-a-time",
    random: int = 0,
    lost: Sequence[tuple[str, int]] = (),
    stopped: Sequence[tuple[str, int]] = (),
    details: bool = False,
    plot_noise: float = 0.0,
    own_seeds: bool = False,
) -> SweepResults:
    """A sweep in which a trial's loss is `loss_of(variant)`, plus what its seed does to all variants, plus noise.

    Args:
        noise, seed_effect: standard deviations, nats per character.
        lost: label and seed of trials that failed.
        plot_noise: standard deviation of what a seed does to all trials of one size.
        own_seeds: whether each size has seeds of its own; else that of the largest block_size is added to all of its
            trials once more, as text that they share would.
        stopped: of those that a pruner has stopped.
        details: with curves and losses by position, which take longer to make up.
    """
    rng = np.random.default_rng(random)
    shared = rng.normal(0, seed_effect, seeds)
    rows, curves, positions = [], [], []
    of_size: dict[tuple[float, ...], float] = {}
    for variant in one_at_a_time() if variants is None else variants:
        label, config = Variant(shape=variant).label(Variant(shape=BASELINE)), ModelConfig(shape=variant, vocab_size=65)
        for seed in range(seeds):
            failed, was_stopped = (label, seed) in lost, (label, seed) in stopped
            has_result = not failed and not was_stopped
            val = loss_of(variant) + shared[seed] + rng.normal(0, noise)
            if plot_noise:
                sizes = [(seed, variant.n_layer, variant.n_embed, variant.block_size)]
                sizes += [] if own_seeds else [(seed, variant.block_size)]
                val += sum(of_size.setdefault(size, rng.normal(0, plot_noise)) for size in sizes)
            run_id = f"{label} {seed}"
            tokens = 100 * 32 * variant.block_size
            measured = {
                "final_train_loss": val - 0.02,
                "final_val_loss": val,
                "best_val_loss": val,
                "train_seconds": 1e-6 * tokens * variant.n_layer,
                "tokens_per_second": 1e6 / variant.n_layer,
            }
            rows.append(
                {
                    "label": label,
                    **dataclasses.asdict(variant),
                    "seed": 1337 + seed,
                    "run_id": run_id,
                    "outcome": "failed" if failed else "stopped" if was_stopped else "finished",
                    "reason": "loss is nan at step 7" if failed else STOP_REASON if was_stopped else "",
                    "n_params": config.n_params,
                    "steps": 100,
                    "tokens": tokens,
                    "flops": tokens * config.flops_per_token,
                    "device": "cpu",
                    "hardware": "made up",
                    **{name: value if has_result else None for name, value in measured.items()},
                }
            )
            if details and has_result:
                falling = [(at, val + 1 / (at + 1)) for at in (0, 50, 100)]
                curves += [
                    {"run_id": run_id, "step": step, "train_loss": loss - 0.02, "val_loss": loss}
                    for step, loss in falling
                ]
                positions += [
                    {"run_id": run_id, "characters_seen": seen, "val_loss": val + 1 / seen}
                    for seen in range(1, variant.block_size + 1)
                ]
    return SweepResults(
        name="made-up",
        run_id="0" * 32,
        method=method,
        budget="steps",
        baseline=Variant(shape=BASELINE),
        training={"steps": "100", "learning_rate": "0.0003"},
        corpus="made-up",
        corpus_digest="f" * 64,
        vocab_size=65,
        trials=pd.DataFrame(rows),
        own_seeds=own_seeds,
        curves=pd.DataFrame(curves, columns=["run_id", "step", "train_loss", "val_loss"]),
        positions=pd.DataFrame(positions, columns=["run_id", "characters_seen", "val_loss"]),
        heads=pd.DataFrame(columns=["run_id", "layer", "head", "entropy", "name", "repeat_length"]),
        samples={row["run_id"]: "To be" for row in rows},
    )
