"""What is trained: the five hyperparameters, the training setup, and a trial's identity."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from gpt_experiments import names
from gpt_experiments.errors import ConfigError, shown

TRAINING_VERSION: Final = 3
"""Raised whenever the same inputs would train to another result; part of every cell. The golden-loss test holds it."""

AttentionScale = Literal["n_embed", "head_size"]
Precision = Literal["float32", "bfloat16"]
LearningRateSchedule = Literal["constant", "cosine"]
Budget = Literal["steps", "tokens", "flops"]

HYPERPARAMETERS: Final = ("n_head", "n_layer", "n_embed", "dropout", "block_size")


# What a whole number may be: generous for one large GPU, small enough that a slip of the hand is caught.
_WHOLE_NUMBERS: Final = {
    "n_head": (1, 1_024),
    "n_layer": (1, 512),
    "n_embed": (1, 16_384),
    "block_size": (1, 65_536),
    "steps": (1, 10_000_000),
    "batch_size": (1, 65_536),
    "eval_interval": (1, 10_000_000),
    "warmup_steps": (0, 10_000_000),
    "seed": (0, 2**63 - 1),
    "vocab_size": (1, 1_114_112),  # as many characters as Unicode has
}
# What a number may be, the rule in words, and a remedy. The largest learning rate is one that float32 holds: where a
# smaller one is too large for the model, training ends in an error of its own, which names the step.
_NUMBERS: Final[Mapping[str, tuple[Callable[[float], bool], str, str]]] = {
    "dropout": (lambda value: 0 <= value < 1, "must be at least 0 and below 1", "try 0.1"),
    "learning_rate": (lambda value: 0 < value <= 1e30, "must be positive and at most 1e30", "the default is 3e-4"),
    "min_learning_rate": (lambda value: value >= 0, "must not be negative", "the default is 0"),
    "weight_decay": (lambda value: 0 <= value <= 1000, "must be at least 0 and at most 1,000", "the default is 0.01"),
    "beta1": (lambda value: 0 <= value < 1, "must be at least 0 and below 1", "the default is 0.9"),
    "beta2": (lambda value: 0 <= value < 1, "must be at least 0 and below 1", "the default is 0.999"),
}
_CHOICES: Final = {
    "attention_scale": get_args(AttentionScale),
    "precision": get_args(Precision),
    "schedule": get_args(LearningRateSchedule),
}
MOST_WEIGHTS: Final = 5_000_000_000  # of the blocks: with gradients and AdamW's moments that is 80 GB in float32
MOST_TOKENS: Final = 2**24  # of a batch
MOST_EVALUATIONS: Final = 10_000  # of a trial


def check_whole_number(name: str, value: Any, low: int, high: int) -> None:
    """Raise a ConfigError unless `value` is a whole number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{name} must be a whole number, but got {shown(value)}")
    if value < low:
        raise ConfigError(f"{name} must be at least {low:,}, but got {shown(value)}")
    if value > high:
        raise ConfigError(f"{name} must be at most {high:,}, but got {shown(value)}; give a smaller one")


def is_finite_number(value: Any) -> bool:
    """Whether it is a number that a float can hold, and neither infinite nor NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of more than 308 digits
        return False


def check_value(name: str, value: Any) -> None:
    """Raise a ConfigError for a value that the parameter `name` cannot have, whatever the other parameters are."""
    if name in _WHOLE_NUMBERS:
        check_whole_number(name, value, *_WHOLE_NUMBERS[name])
    elif name in _NUMBERS:
        accepts, rule, remedy = _NUMBERS[name]
        if not is_finite_number(value):
            raise ConfigError(f"{name} must be a finite number, but got {shown(value)}; {remedy}")
        if not accepts(value):
            raise ConfigError(f"{name} {rule}, but got {value:g}; {remedy}")
    elif value not in _CHOICES[name]:
        raise ConfigError(f"{name} must be one of {', '.join(_CHOICES[name])}, but got {shown(value)}")


def _check_values(settings: Variant | TrainingSetup) -> None:
    """Check each field by itself, and keep numbers that need not be whole as floats."""
    for field in dataclasses.fields(settings):
        if field.name not in _WHOLE_NUMBERS and field.name not in _NUMBERS and field.name not in _CHOICES:
            continue  # a subclass's own
        value = getattr(settings, field.name)
        check_value(field.name, value)
        if field.name in _NUMBERS:
            object.__setattr__(settings, field.name, float(value))


def check_weights(n_layer: int, n_embed: int) -> None:
    """Raise a ConfigError if so many blocks of that width are more than one GPU trains."""
    weights = 12 * n_layer * n_embed**2
    if weights > MOST_WEIGHTS:
        raise ConfigError(
            f"n_layer={n_layer} blocks of n_embed={n_embed} have {weights:,} weights, but a model may have at most "
            f"{MOST_WEIGHTS:,}; lower n_layer or n_embed"
        )


def check_batch(batch_size: int, block_size: int) -> None:
    """Raise a ConfigError if a batch holds more tokens than one step should take."""
    if batch_size * block_size > MOST_TOKENS:
        raise ConfigError(
            f"batch_size={batch_size} windows of block_size={block_size} are {batch_size * block_size:,} characters, "
            f"but a batch may have at most {MOST_TOKENS:,}; lower batch_size to at most {MOST_TOKENS // block_size}",
            field="training",
        )


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
        _check_values(self)
        check_weights(self.n_layer, self.n_embed)
        if self.n_embed % self.n_head:
            divisors = [
                d for d in range(1, min(self.n_embed, _WHOLE_NUMBERS["n_head"][1]) + 1) if self.n_embed % d == 0
            ]
            nearest = sorted(divisors, key=lambda divisor: abs(divisor - self.n_head))[:12]
            raise ConfigError(
                f"n_embed={self.n_embed} is not divisible by n_head={self.n_head}; "
                f"choose n_head from {', '.join(map(str, sorted(nearest)))}"
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
        _check_values(self)
        evaluations = self.steps // self.eval_interval
        if evaluations > MOST_EVALUATIONS:
            raise ConfigError(
                f"steps={self.steps} with eval_interval={self.eval_interval} are {evaluations:,} evaluations, but a "
                f"trial may have at most {MOST_EVALUATIONS:,}; raise eval_interval to at least "
                f"{-(-self.steps // MOST_EVALUATIONS)}"
            )
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
        check_value("vocab_size", self.vocab_size)
        check_value("attention_scale", self.attention_scale)

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

    Raises:
        ConfigError: that would take more steps than a trial may have.
    """
    if budget == "steps":
        return setup

    def cost(v: Variant) -> float:
        config = ModelConfig(variant=v, vocab_size=vocab_size, attention_scale=setup.attention_scale)
        return v.block_size * (config.flops_per_token if budget == "flops" else 1.0)

    ratio = cost(baseline) / cost(variant)
    steps, most = max(1, round(setup.steps * ratio)), _WHOLE_NUMBERS["steps"][1]
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
    """One variant trained with one seed under one training setup; it becomes one MLflow run."""

    variant: Variant
    seed: int = names.DEFAULT_SEED
    training: TrainingSetup = TrainingSetup()

    def __post_init__(self) -> None:
        check_value("seed", self.seed)
        check_batch(self.training.batch_size, self.variant.block_size)

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
