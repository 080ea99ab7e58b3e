"""What is trained: the five hyperparameters, the training setup, and a trial's identity."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from gpt_experiments.errors import ConfigError

TRAINING_VERSION: Final = 3
"""Raised whenever the same inputs would train to another result; part of every cell. The golden-loss test holds it."""

AttentionScale = Literal["n_embed", "head_size"]
Precision = Literal["float32", "bfloat16"]
LearningRateSchedule = Literal["constant", "cosine"]
Budget = Literal["steps", "tokens", "flops"]

HYPERPARAMETERS: Final = ("n_head", "n_layer", "n_embed", "dropout", "block_size")


def _require_int(name: str, value: Any, *, minimum: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{name} must be a whole number, but got {value!r}")
    if value < minimum:
        raise ConfigError(f"{name} must be at least {minimum}, but got {value}")


def _require_real(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{name} must be a finite number, but got {value!r}")
    return float(value)


def _require_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{name} must be one of {', '.join(choices)}, but got {value!r}")


@dataclass(frozen=True, kw_only=True, order=True)
class Variant:
    """One setting of the five hyperparameters; the defaults are the study's reduced baseline.

    Args:
        n_head: attention heads in each block; must divide `n_embed`.
        n_layer: transformer blocks.
        n_embed: width of the residual stream.
        dropout: probability of dropping an attention weight or a block's output, in [0, 1).
        block_size: context length, characters.

    Raises:
        ConfigError: a value of the wrong type or out of range, or `n_embed` not divisible by `n_head`.
    """

    n_head: int = 4
    n_layer: int = 4
    n_embed: int = 64
    dropout: float = 0.1
    block_size: int = 128

    def __post_init__(self) -> None:
        for name in ("n_head", "n_layer", "n_embed", "block_size"):
            _require_int(name, getattr(self, name), minimum=1)
        object.__setattr__(self, "dropout", _require_real("dropout", self.dropout))
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must be at least 0 and below 1, but got {self.dropout:g}; try 0.1")
        if self.n_embed % self.n_head:
            divisors = [str(d) for d in range(1, self.n_embed + 1) if self.n_embed % d == 0]
            raise ConfigError(
                f"n_embed={self.n_embed} is not divisible by n_head={self.n_head}; "
                f"choose n_head from {', '.join(divisors)}"
            )

    @property
    def head_size(self) -> int:
        return self.n_embed // self.n_head

    def label(self, baseline: Variant) -> str:
        """`baseline`, or what differs from it: `n_head=8`, `n_head=8 dropout=0.3`."""
        mine, theirs = dataclasses.asdict(self), dataclasses.asdict(baseline)
        changed = [f"{name}={mine[name]:g}" for name in HYPERPARAMETERS if mine[name] != theirs[name]]
        return " ".join(changed) or "baseline"


@dataclass(frozen=True, kw_only=True)
class TrainingSetup:
    """How a variant is trained; the defaults are the study's.

    Args:
        steps: optimisation steps.
        batch_size: windows in a batch.
        learning_rate: AdamW's, after the warm-up and before the cosine.
        weight_decay: AdamW's.
        beta1, beta2: AdamW's.
        eval_interval: steps between evaluations; step 0 and the last step are always evaluated.
        attention_scale: attention scores are multiplied by `n_embed ** -0.5` (the model being studied, and what
            pre-trained files expect) or by `head_size ** -0.5` (Vaswani et al. 2017).
        precision: `float32`, or `bfloat16` for autocast of the matrix products (weights stay float32).
        schedule: of the learning rate after the warm-up: `constant`, or `cosine`, down to min_learning_rate.
        warmup_steps: steps over which the learning rate rises linearly to its value.
        min_learning_rate: where the cosine ends; at most learning_rate.

    Raises:
        ConfigError: a value of the wrong type or out of range.
    """

    steps: int = 3000
    batch_size: int = 32
    learning_rate: float = 3e-4
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.999
    eval_interval: int = 500
    attention_scale: AttentionScale = "n_embed"
    precision: Precision = "float32"
    schedule: LearningRateSchedule = "constant"
    warmup_steps: int = 0
    min_learning_rate: float = 0.0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "eval_interval"):
            _require_int(name, getattr(self, name), minimum=1)
        _require_int("warmup_steps", self.warmup_steps, minimum=0)
        for name in ("learning_rate", "weight_decay", "beta1", "beta2", "min_learning_rate"):
            object.__setattr__(self, name, _require_real(name, getattr(self, name)))
        if self.learning_rate <= 0:
            raise ConfigError(f"learning_rate must be positive, but got {self.learning_rate:g}; the default is 3e-4")
        if self.weight_decay < 0:
            raise ConfigError(f"weight_decay must not be negative, but got {self.weight_decay:g}; the default is 0.01")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 0 and below 1, but got {getattr(self, name):g}")
        _require_choice("attention_scale", self.attention_scale, get_args(AttentionScale))
        _require_choice("precision", self.precision, get_args(Precision))
        _require_choice("schedule", self.schedule, get_args(LearningRateSchedule))
        self._check_min_learning_rate()

    def _check_min_learning_rate(self) -> None:
        if self.min_learning_rate < 0:
            raise ConfigError(f"min_learning_rate must not be negative, but got {self.min_learning_rate:g}; try 0")
        if self.min_learning_rate and self.schedule != "cosine":
            raise ConfigError(
                f"min_learning_rate={self.min_learning_rate:g} goes with schedule=cosine, but the schedule is "
                f"{self.schedule}; choose cosine, or leave min_learning_rate out"
            )
        if self.min_learning_rate > self.learning_rate:
            raise ConfigError(
                f"min_learning_rate must be at most learning_rate, but got {self.min_learning_rate:g} and "
                f"{self.learning_rate:g}; try {self.learning_rate / 10:g}"
            )

    def evaluation_steps(self) -> list[int]:
        """The steps at which losses are taken: 0, every `eval_interval`, and the last."""
        return sorted({*range(0, self.steps + 1, self.eval_interval), self.steps})


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """All that decides a model's shape and arithmetic: a variant, a vocabulary size and the attention scale."""

    variant: Variant
    vocab_size: int
    attention_scale: AttentionScale = "n_embed"

    def __post_init__(self) -> None:
        _require_int("vocab_size", self.vocab_size, minimum=1)
        _require_choice("attention_scale", self.attention_scale, get_args(AttentionScale))

    @property
    def score_scale(self) -> float:
        """The factor on the attention scores, `q @ k.T * score_scale`."""
        width = self.variant.n_embed if self.attention_scale == "n_embed" else self.variant.head_size
        return float(width**-0.5)

    @property
    def n_params(self) -> int:
        """Trainable parameters: an exact count from the shapes, no model is built."""
        v, d = self.variant, self.variant.n_embed
        block = 3 * d * d + (d * d + d) + (4 * d * d + 4 * d) + (4 * d * d + d) + 4 * d
        return (self.vocab_size + v.block_size) * d + v.n_layer * block + 2 * d + self.vocab_size * (d + 1)

    @property
    def flops_per_token(self) -> float:
        """Floating-point operations that training spends on a token, a multiply-add counted as two.

        Six for each weight of a matrix product (two forward, four backward), and for attention 12 * n_layer * n_embed *
        block_size: Chowdhery et al. 2022, "PaLM", appendix B. Embedding look-ups, norms and softmax are left out.
        """
        v, d = self.variant, self.variant.n_embed
        return float(6 * (v.n_layer * 12 * d * d + self.vocab_size * d) + 12 * v.n_layer * d * v.block_size)


def setup_at_budget(
    setup: TrainingSetup, variant: Variant, baseline: Variant, *, vocab_size: int, budget: Budget
) -> TrainingSetup:
    """`setup` for a variant that is to spend what the baseline spends in `setup.steps` steps.

    At a budget of `steps` that is the setup as it stands; at `tokens` or `flops` the steps, and in proportion those
    between evaluations and those of the warm-up, are as many as use up the baseline's training tokens or floating-point
    operations.
    """
    if budget == "steps":
        return setup

    def cost(v: Variant) -> float:
        config = ModelConfig(variant=v, vocab_size=vocab_size, attention_scale=setup.attention_scale)
        return v.block_size * (config.flops_per_token if budget == "flops" else 1.0)

    ratio = cost(baseline) / cost(variant)
    return dataclasses.replace(
        setup,
        steps=max(1, round(setup.steps * ratio)),
        eval_interval=max(1, round(setup.eval_interval * ratio)),
        warmup_steps=round(setup.warmup_steps * ratio),
    )


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One variant trained with one seed under one training setup; it becomes one MLflow run."""

    variant: Variant
    seed: int = 1337
    training: TrainingSetup = TrainingSetup()

    def __post_init__(self) -> None:
        _require_int("seed", self.seed, minimum=0)
        if self.seed >= 2**63:
            raise ConfigError(f"seed must be below 2**63, but got {self.seed}")

    def model_config(self, vocab_size: int) -> ModelConfig:
        return ModelConfig(variant=self.variant, vocab_size=vocab_size, attention_scale=self.training.attention_scale)

    def cell(self, corpus_digest: str) -> str:
        """The trial's identity, 16 hexadecimal digits: equal cells train to equal results on the same device."""
        return identity(
            {
                "variant": identity_fields(self.variant),
                "seed": self.seed,
                "training": identity_fields(self.training),
                "corpus": corpus_digest,
            }
        )


FIRST_FIELDS: Final = frozenset(
    "n_head n_layer n_embed dropout block_size "
    "steps batch_size learning_rate weight_decay beta1 beta2 eval_interval attention_scale precision schedule "
    "warmup_steps min_learning_rate".split()
)
"""Fields of variants and training setups that TRAINING_VERSION began with: every run has them, and every identity."""


def identity_fields(of: Variant | TrainingSetup) -> dict[str, Any]:
    """What an identity says of a variant or a training setup.

    A field that is younger than TRAINING_VERSION is left out where it has its default, so that adding it changes no
    identity of an existing store. Its default must therefore be what the program did without the field, and may change
    only together with TRAINING_VERSION.
    """
    values = dataclasses.asdict(of)
    return {
        field.name: values[field.name]
        for field in dataclasses.fields(of)
        if field.name in FIRST_FIELDS or values[field.name] != field.default
    }


def identity(described: Mapping[str, Any]) -> str:
    """A digest of what is described and of TRAINING_VERSION: 16 hexadecimal digits."""
    text = json.dumps({**described, "version": TRAINING_VERSION}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
