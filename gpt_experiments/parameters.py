"""The parameters of a trial: each is declared once, and everything that must know them derives from that.

A declaration says what a value may be, and describes it to the user. From it come the checks, the options of the
command line, the fields of a sweep file, the search spaces, what trials that train as one batched model may differ in,
how a run's text is read back, and the table in the documentation.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast, get_args

from gpt_experiments import names
from gpt_experiments.errors import ConfigError, shown

AttentionScale = Literal["n_embed", "head_size"]
Precision = Literal["float32", "bfloat16"]
LearningRateSchedule = Literal["constant", "cosine"]

Value = int | float | str

MOST_WEIGHTS: Final = 5_000_000_000  # in the blocks; with gradients and AdamW's moments they take 80 GB in float32
MOST_TOKENS: Final = 2**24  # in a batch
MOST_EVALUATIONS: Final = 10_000  # in a trial

_DECLARATION: Final = "parameter"
_FROM_0_BELOW_1: Final = (lambda value: 0 <= value < 1, "must be at least 0 and below 1")


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """What a value of one parameter may be.

    Attributes:
        kind: the type of its values; a whole number is also a number.
        help: what it is, in a few words, for `--help` and the documentation.
        low, high: the bounds of a whole number, both included.
        accepts, rule, remedy: for any other number: the check, the same in words, and what to try instead.
        choices: for a text.
        may_differ: whether trials that train as one batched model may differ in it.
        is_younger: whether it came after TRAINING_VERSION, so that earlier trials have none. Its default must then be
            what the program did without it, and may change only together with TRAINING_VERSION; the parameter is then
            no longer a younger one.
    """

    name: str = ""
    kind: type[int] | type[float] | type[str]
    default: Value = 0
    help: str = ""
    low: int = 0
    high: int = 0
    accepts: Callable[[float], bool] = math.isfinite
    rule: str = ""
    remedy: str = ""
    choices: tuple[str, ...] = ()
    may_differ: bool = False
    is_younger: bool = False

    @property
    def is_number(self) -> bool:
        return self.kind is not str

    def check(self, value: Any) -> None:
        """Raise a ConfigError for a value that the parameter cannot have, whatever the others are."""
        if self.kind is int:
            check_whole_number(self.name, value, self.low, self.high)
        elif self.kind is float:
            if not is_finite_number(value):
                raise ConfigError(f"{self.name} must be a finite number, but got {shown(value)}; {self.remedy}")
            if not self.accepts(value):
                raise ConfigError(f"{self.name} {self.rule}, but got {value:g}; {self.remedy}")
        elif value not in self.choices:
            raise ConfigError(f"{self.name} must be one of {', '.join(self.choices)}, but got {shown(value)}")

    def parse(self, text: str) -> Value:
        """The value from its text in a run. Raises ValueError where it is none."""
        return self.kind(text)


def as_text(name: str, value: Value) -> str:
    """A level as people read it: `n_head=8`, `learning_rate=0.0003`."""
    return f"{name}={value}" if isinstance(value, str) else f"{name}={value:g}"


def check_whole_number(name: str, value: Any, low: int, high: int) -> None:
    """Raise a ConfigError unless `value` is a whole number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int):
        is_written_as_float = isinstance(value, float) and value.is_integer() and low <= value <= high
        remedy = f"; write {int(value)}" if is_written_as_float else ""
        raise ConfigError(f"{name} must be a whole number, but got {shown(value)}{remedy}")
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


def _whole(default: int, low: int, high: int, help: str, *, is_younger: bool = False) -> int:
    """The declaration of a whole number; to be used as a dataclass field's default."""
    return cast(int, _declare(default, Parameter(kind=int, low=low, high=high, help=help, is_younger=is_younger)))


def _number(
    default: float,
    accepts: Callable[[float], bool],
    rule: str,
    remedy: str,
    help: str,
    *,
    may_differ: bool = False,
    is_younger: bool = False,
) -> float:
    """The declaration of a number that need not be whole."""
    declared = Parameter(
        kind=float,
        accepts=accepts,
        rule=rule,
        remedy=remedy,
        help=help,
        may_differ=may_differ,
        is_younger=is_younger,
    )
    return cast(float, _declare(default, declared))


def _choice(default: str, of: Any, help: str, *, is_younger: bool = False) -> Any:
    """The declaration of one of several texts."""
    return _declare(default, Parameter(kind=str, choices=get_args(of), help=help, is_younger=is_younger))


def _declare(default: Value, declared: Parameter) -> Any:
    return dataclasses.field(default=default, metadata={_DECLARATION: declared})


def _check_each(values: Shape | TrainingSetup) -> None:
    """Check each field by itself, and keep numbers that need not be whole as floats."""
    for name, declared in declared_in(type(values)).items():
        value = getattr(values, name)
        declared.check(value)
        if declared.kind is float:
            object.__setattr__(values, name, float(value))


def declared_in(of: Any) -> dict[str, Parameter]:
    """The parameters that a dataclass declares, by name."""
    return {
        field.name: dataclasses.replace(field.metadata[_DECLARATION], name=field.name, default=field.default)
        for field in dataclasses.fields(of)
        if _DECLARATION in field.metadata
    }


# The bounds of whole numbers are generous for one large GPU, and small enough that a typing mistake is caught.


@dataclass(frozen=True, kw_only=True, order=True)
class Shape:
    """The five hyperparameters, which decide a model's shape; the defaults are the study's reduced baseline.

    Raises:
        ConfigError: a value of the wrong type or out of range, or `n_embed` not divisible by `n_head`.
    """

    n_head: int = _whole(4, 1, 1_024, "Attention heads in each block.")
    n_layer: int = _whole(4, 1, 512, "Transformer blocks.")
    n_embed: int = _whole(64, 1, 16_384, "Width of the model; divisible by n_head.")
    dropout: float = _number(
        0.1,
        *_FROM_0_BELOW_1,
        "try 0.1",
        "Probability that a value is dropped while training.",
        may_differ=True,
    )
    block_size: int = _whole(128, 1, 65_536, "Context length, in characters.")

    def __post_init__(self) -> None:
        _check_each(self)
        check_weights(self.n_layer, self.n_embed)
        if self.n_embed % self.n_head:
            divisors = [d for d in range(1, min(self.n_embed, SHAPE["n_head"].high) + 1) if self.n_embed % d == 0]
            nearest = sorted(divisors, key=lambda divisor: abs(divisor - self.n_head))[:12]
            raise ConfigError(
                f"n_embed={self.n_embed} is not divisible by n_head={self.n_head}; "
                f"choose n_head from {', '.join(map(str, sorted(nearest)))}"
            )

    @property
    def head_size(self) -> int:
        return self.n_embed // self.n_head


@dataclass(frozen=True, kw_only=True, order=True)
class TrainingSetup:
    """How a model is trained; the defaults are the study's.

    Attention scores are multiplied by `n_embed ** -0.5` (the model being studied, and what pre-trained files expect) or
    by `head_size ** -0.5` (Vaswani et al. 2017). With precision `bfloat16`, autocast takes matrix products in it, and
    weights stay float32. Losses are taken at step 0, every `eval_interval`, and after the last step. The learning rate
    rises over the warm-up to its value, and stays there (`constant`) or falls to min_learning_rate (`cosine`).

    Raises:
        ConfigError: a value of the wrong type or out of range.
    """

    steps: int = _whole(3000, 1, 10_000_000, "Optimisation steps.")
    batch_size: int = _whole(32, 1, 65_536, "Windows in each batch.")
    # The largest rate is one that float32 holds: where a smaller one is too large for the model, training ends in an
    # error of its own, which names the step.
    learning_rate: float = _number(
        3e-4,
        lambda value: 0 < value <= 1e30,
        "must be positive and at most 1e30",
        "the default is 3e-4",
        "Learning rate of AdamW.",
        may_differ=True,
    )
    schedule: LearningRateSchedule = _choice("constant", LearningRateSchedule, "Learning rate after the warm-up.")
    warmup_steps: int = _whole(0, 0, 10_000_000, "Steps over which the learning rate rises to its value.")
    min_learning_rate: float = _number(
        0.0,
        lambda value: value >= 0,
        "must not be negative",
        "the default is 0",
        "Last learning rate of a cosine.",
    )
    weight_decay: float = _number(
        0.01,
        lambda value: 0 <= value <= 1000,
        "must be at least 0 and at most 1,000",
        "the default is 0.01",
        "Weight decay of AdamW.",
    )
    beta1: float = _number(
        0.9,
        *_FROM_0_BELOW_1,
        "the default is 0.9",
        "AdamW's first beta.",
    )
    beta2: float = _number(
        0.999,
        *_FROM_0_BELOW_1,
        "the default is 0.999",
        "AdamW's second beta.",
    )
    eval_interval: int = _whole(500, 1, 10_000_000, "Steps between evaluations.")
    attention_scale: AttentionScale = _choice(
        "n_embed", AttentionScale, "Scores are multiplied by this width to the power of -1/2; the study's is n_embed."
    )
    precision: Precision = _choice("float32", Precision, "Precision of the matrix products.")

    def __post_init__(self) -> None:
        _check_each(self)
        evaluations = self.steps // self.eval_interval
        if evaluations > MOST_EVALUATIONS:
            raise ConfigError(
                f"steps={self.steps} with eval_interval={self.eval_interval} are {evaluations:,} evaluations, but a "
                f"trial may have at most {MOST_EVALUATIONS:,}; raise eval_interval to at least "
                f"{-(-self.steps // MOST_EVALUATIONS)}"
            )
        if self.min_learning_rate and self.schedule != "cosine":
            raise ConfigError(
                f"min_learning_rate={self.min_learning_rate:g} needs schedule=cosine, but the schedule is "
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


SHAPE: Final[Mapping[str, Parameter]] = declared_in(Shape)
TRAINING: Final[Mapping[str, Parameter]] = declared_in(TrainingSetup)
PARAMETERS: Final[Mapping[str, Parameter]] = {**SHAPE, **TRAINING}
"""All that a variant consists of, by name."""

HYPERPARAMETERS: Final = tuple(SHAPE)

DRAWS: Final = ("n_layer", "n_embed", "block_size", "batch_size")
"""The parameters that what a seed draws depends on: the initial weights, and which windows of text make a batch."""

_BESIDE: Final = {
    names.SEED: Parameter(name=names.SEED, kind=int, low=0, high=2**63 - 1, may_differ=True),
    names.VOCAB_SIZE: Parameter(name=names.VOCAB_SIZE, kind=int, low=1, high=1_114_112),  # as many as Unicode has
}


def check_value(name: str, value: Any) -> None:
    """Raise a ConfigError for a value that the parameter `name`, the seed or the vocabulary's size cannot have."""
    (PARAMETERS.get(name) or _BESIDE[name]).check(value)


def block_weights(n_layer: int, n_embed: int) -> int:
    """Weights of the matrix products in so many blocks.

    In units of n_embed**2, a block has three for queries, keys and values, one for the output, and four for each layer
    of the feed-forward.
    """
    return n_layer * (3 + 1 + 4 + 4) * n_embed**2


def check_weights(n_layer: int, n_embed: int) -> None:
    """Raise a ConfigError if so many blocks of that width are more than one GPU trains."""
    weights = block_weights(n_layer, n_embed)
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
