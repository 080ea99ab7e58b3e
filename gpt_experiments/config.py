"""What is trained: a variant, a trial, its identity, and what it costs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from gpt_experiments import names
from gpt_experiments.errors import ConfigError, shown
from gpt_experiments.parameters import (
    DRAWS,
    MOST_EVALUATIONS,
    PARAMETERS,
    SHAPE,
    TRAINING,
    AttentionScale,
    Shape,
    TrainingSetup,
    Value,
    as_text,
    block_weights,
    check_batch,
    check_value,
    declared_in,
)

TRAINING_VERSION: Final = 3
"""Raised whenever the same inputs would give another result; part of every cell. The golden-loss test checks it."""

Budget = Literal["steps", "tokens", "flops"]
BUDGETED: Final = ("steps", "eval_interval", "warmup_steps")
"""The parameters of a variant's training that a budget other than steps changes."""


@dataclass(frozen=True, kw_only=True, order=True)
class Variant:
    """One choice of all parameters but the seed."""

    shape: Shape = field(default_factory=Shape)
    training: TrainingSetup = field(default_factory=TrainingSetup)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Variant:
        """The variant with these values, by the parameters' names; missing ones have their defaults.

        Raises:
            ConfigError: a value of the wrong type or out of range, alone or together with others.
        """
        return cls().with_values(values)

    def with_values(self, values: Mapping[str, Any]) -> Variant:
        """The variant with some parameters changed."""
        shape = {name: value for name, value in values.items() if name in SHAPE}
        training = {name: value for name, value in values.items() if name in TRAINING}
        return Variant(
            shape=dataclasses.replace(self.shape, **shape) if shape else self.shape,
            training=dataclasses.replace(self.training, **training) if training else self.training,
        )

    def value(self, name: str) -> Any:
        """The value of the parameter of that name."""
        return getattr(self.shape if name in SHAPE else self.training, name)

    def values(self) -> dict[str, Value]:
        """The value of every parameter, by name."""
        return {name: self.value(name) for name in PARAMETERS}

    def differing(self, other: Variant) -> list[str]:
        """The parameters in which the two differ."""
        return [name for name in PARAMETERS if self.value(name) != other.value(name)]

    def label(self, baseline: Variant) -> str:
        """`baseline`, or what differs from it: `n_head=8`, `n_head=8 dropout=0.3`."""
        return " ".join(as_text(name, self.value(name)) for name in self.differing(baseline)) or "baseline"


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """All that decides a model's arithmetic: its shape, a vocabulary size and the attention scale."""

    shape: Shape
    vocab_size: int
    attention_scale: AttentionScale = "n_embed"

    def __post_init__(self) -> None:
        check_value("vocab_size", self.vocab_size)
        check_value("attention_scale", self.attention_scale)

    @property
    def score_scale(self) -> float:
        """The factor on the attention scores, `q @ k.T * score_scale`."""
        width = self.shape.n_embed if self.attention_scale == "n_embed" else self.shape.head_size
        return float(width**-0.5)

    @property
    def matmul_weights(self) -> int:
        """Weights that each token is multiplied with: those of the blocks and of the head, without biases and norms."""
        return block_weights(self.shape.n_layer, self.shape.n_embed) + self.vocab_size * self.shape.n_embed

    @property
    def n_params(self) -> int:
        """Trainable parameters: an exact count from the shapes, no model is built."""
        v, d = self.shape, self.shape.n_embed
        embeddings = (self.vocab_size + v.block_size) * d
        biases = v.n_layer * (d + 4 * d + d) + self.vocab_size
        norms = (2 * v.n_layer + 1) * 2 * d
        return self.matmul_weights + embeddings + biases + norms

    @property
    def flops_per_token(self) -> float:
        """Floating-point operations that training spends on a token, a multiply-add counted as two.

        Six for each weight of a matrix product (two forward, four backward), and for attention 12 * n_layer * n_embed *
        block_size: Chowdhery et al. 2022, "PaLM", appendix B. Embedding look-ups, norms and softmax are left out.
        """
        v = self.shape
        return float(6 * self.matmul_weights + 12 * v.n_layer * v.n_embed * v.block_size)


def setup_at_budget(variant: Variant, baseline: Variant, *, vocab_size: int, budget: Budget) -> TrainingSetup:
    """The training with which a variant spends what the baseline's shape would spend in as many steps.

    At a budget of `steps` that is the variant's own setup; at `tokens` or `flops` the steps, and in proportion those
    between evaluations and those of the warm-up, are as many as use up the baseline's training tokens or floating-point
    operations.

    Raises:
        ConfigError: that would take more steps than a trial may have.
    """
    setup = variant.training
    if budget == "steps":
        return setup

    def cost(v: Variant) -> float:
        config = ModelConfig(shape=v.shape, vocab_size=vocab_size, attention_scale=v.training.attention_scale)
        tokens = v.training.batch_size * v.shape.block_size
        return tokens * (config.flops_per_token if budget == "flops" else 1.0)

    ratio = cost(baseline) / cost(variant)
    steps, most = max(1, round(setup.steps * ratio)), TRAINING["steps"].high
    if steps > most:
        raise ConfigError(
            f"with budget={budget} a variant as small as {variant.label(baseline)} would take {steps:,} steps to spend "
            f"what the baseline spends, but a trial may have at most {most:,}; lower steps, or leave that level out"
        )
    return dataclasses.replace(
        setup,
        steps=steps,
        eval_interval=min(most, max(1, round(setup.eval_interval * ratio), -(-steps // MOST_EVALUATIONS))),
        warmup_steps=min(most, round(setup.warmup_steps * ratio)),
    )


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One variant trained with one seed; it becomes one MLflow run.

    Under another budget than steps its training differs in length from its variant's in the sweep.
    """

    shape: Shape = field(default_factory=Shape)
    seed: int = names.DEFAULT_SEED
    training: TrainingSetup = field(default_factory=TrainingSetup)

    def __post_init__(self) -> None:
        check_value("seed", self.seed)
        check_batch(self.training.batch_size, self.shape.block_size)

    @property
    def variant(self) -> Variant:
        return Variant(shape=self.shape, training=self.training)

    def model_config(self, vocab_size: int) -> ModelConfig:
        return ModelConfig(shape=self.shape, vocab_size=vocab_size, attention_scale=self.training.attention_scale)

    def flops(self, vocab_size: int) -> float:
        """Floating-point operations of the whole training, a multiply-add counted as two."""
        tokens = self.training.steps * self.training.batch_size * self.shape.block_size
        return tokens * self.model_config(vocab_size).flops_per_token

    def cell(self, corpus_digest: str) -> str:
        """The trial's identity, 16 hexadecimal digits: equal cells train to equal results on the same device."""
        return identity(
            {
                "variant": identity_fields(self.shape),
                "seed": self.seed,
                "training": identity_fields(self.training),
                "corpus": corpus_digest,
            }
        )


MARGIN: Final = 0.01
"""The usual margin, nats per character: two variants whose losses differ by less are as good as each other."""


def check_margin(value: Any) -> None:
    """Raise a ConfigError for what is no margin."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ConfigError(
            f"margin must be a number of nats per character above 0, as {MARGIN}, but got {shown(value)}",
            field="margin",
        )


SEED_STREAM: Final = 10_000
"""The seeds that each size of model has of its own; see `own_seed`."""


def own_seed(variant: Variant, seed: int) -> int:
    """A seed that no other size of model has; the same for all variants of that size. `seed` is below SEED_STREAM."""
    size = identity({name: variant.value(name) for name in DRAWS})
    return (1 + int(size, 16) % 100_000) * SEED_STREAM + seed


def seed_of_own(seed: int) -> int:
    """The seed from which `own_seed` made this one."""
    return seed % SEED_STREAM


def identity_fields(of: Shape | TrainingSetup) -> dict[str, Value]:
    """The fields of a shape or a training setup that are part of an identity.

    A parameter that is newer than TRAINING_VERSION is left out if it has its default, so that adding it changes no
    identity of an existing store.
    """
    return {
        name: getattr(of, name)
        for name, declared in declared_in(of).items()
        if not declared.is_younger or getattr(of, name) != declared.default
    }


def identity(described: Mapping[str, Any]) -> str:
    """A digest of what is described and of TRAINING_VERSION: 16 hexadecimal digits."""
    text = json.dumps({**described, "version": TRAINING_VERSION}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
