"""Any file given as a sweep is a definition that can be planned, stored and read again, or one short error."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import yaml
from hypothesis import event, given
from hypothesis import strategies as st

from gpt_experiments.errors import ConfigError
from gpt_experiments.sweep.definition import SweepDefinition
from gpt_experiments.sweep.definition_file import load_definition, shipped_definitions
from gpt_experiments.sweep.methods import make_method
from gpt_experiments.sweep.yaml_source import dump_yaml
from tests.fuzz.budget import LONGEST_MESSAGE, fuzzed

SHIPPED = [path.read_bytes() for path in shipped_definitions().values()]
ODD = """\
010 1:30 0x1f 0o17 0b11 1_000 1e3 3e-4 -1 0 1e400 .inf -.inf .nan ~ yes true null = << - ? : | > [ ] { } & * ! % @ ` , #
' " --- ... &a *a *b !!bool !!int !!float !!set !!binary !!timestamp !x %YAML 2001-01-01 \\t "\\ud800" "\\UFFFFFFFF"
[1] {a:1} [[[[]]]] [8,16] [1,1] [] {} grid random tpe one-at-a-time cosine bfloat16 head_size tokens flops 0.1 1.0 64
100000 5000 1000 <<: levels: training: seeds: n_head: n_embed: trials: steps: skip_indivisible: method:""".split()
ODD += [
    "{low: 1, high: 8}",
    "{low: 0, high: 0.5, step: 0.3}",
    "{low: 1, high: 8, log: true}",
    "{low: 1, high: 64, step: 3}",
]
ODD += ["9" * 400, "1" + "0" * 30, "x" * 3000, "[" * 300, "{a: " * 100, "- " * 100, "\n", "\x00", "\x85", "\ufeff", "é"]
ODD += ["[" + "*a," * 50 + "]", "\n  ", "\n\t", " " * 300, ", ", "['" + "',".join("ab") + "']", "''", '""']
FIELDS = "name description method baseline levels training budget seeds trials skip_indivisible".split()
INNER = (
    "n_head n_layer n_embed dropout block_size steps batch_size learning_rate eval_interval schedule low high".split()
)


@st.composite
def mutated_files(draw: st.DrawFn) -> bytes:
    """A shipped definition in which some parts are cut out, repeated, or replaced by what is odd."""
    text = draw(st.sampled_from(SHIPPED))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + draw(st.sampled_from([0, 1, 5, 20, 1000])))))
        odd = draw(st.one_of(st.sampled_from(ODD).map(lambda s: s.encode()), st.binary(max_size=4)))
        text = draw(
            st.sampled_from([text[:start] + odd + text[end:], text[:end] + text[start:], text[:start] + text[end:]])
        )
    return text


_TOKENS = st.sampled_from(ODD)
_NUMBERS = st.one_of(st.integers(-2, 70_000), st.integers(), st.floats()).map(str)
_FLOW = st.recursive(
    st.one_of(_TOKENS, _NUMBERS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5).map(lambda parts: f"[{', '.join(parts)}]"),
        st.dictionaries(st.sampled_from(INNER), inner, max_size=4).map(
            lambda parts: "{" + ", ".join(f"{key}: {value}" for key, value in parts.items()) + "}"
        ),
    ),
    max_leaves=12,
)


@st.composite
def made_up_files(draw: st.DrawFn) -> bytes:
    """A definition that is right but for some of its fields."""
    lines = {
        "name": "mine",
        "method": draw(st.sampled_from(["grid", "random", "tpe", "one-at-a-time"])),
        "levels": draw(
            st.sampled_from(["{n_head: [1, 2]}", "{n_layer: {low: 1, high: 9}}", "{dropout: {low: 0.0, high: 0.5}}"])
        ),
    }
    if lines["method"] in ("random", "tpe"):
        lines["trials"] = "5"
    for name in draw(st.lists(st.sampled_from(FIELDS), max_size=4)):
        lines[name] = draw(_FLOW)
    return "".join(f"{name}: {value}\n" for name, value in lines.items()).encode("utf-8", "surrogatepass")


_RANDOM = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.lists(st.one_of(_TOKENS, st.sampled_from(FIELDS + INNER)), max_size=40).map(
        lambda parts: " ".join(parts).encode()
    ),
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "odd.yaml"


def read(file: Path) -> SweepDefinition | str:
    """The definition in the file, or the error."""
    try:
        return load_definition(str(file))
    except ConfigError as error:
        return str(error)


@given(content=st.one_of(mutated_files(), made_up_files(), _RANDOM))
@fuzzed(200)
def test_any_file_is_a_sweep_or_one_short_error(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    definition = read(file)
    event("refused" if isinstance(definition, str) else "accepted")
    if isinstance(definition, str):
        assert definition.startswith(str(file))
        assert definition.isprintable()
        assert len(definition) <= LONGEST_MESSAGE
        return
    is_plannable(definition)
    stored = dump_yaml(definition.as_dict())
    assert yaml.safe_load(stored) == definition.as_dict()
    file.write_text(stored)
    assert read(file) == definition


def is_plannable(definition: SweepDefinition) -> None:
    """It gives variants, whose width is divisible by their number of heads, and their steps are bounded or refused."""
    with contextlib.suppress(ConfigError):
        definition.require_steps(65)
    method, asked = make_method(definition), 0
    assert 1 <= method.planned <= 5000
    while asked < 20 and (variant := method.suggest()) is not None:
        assert variant.shape.n_embed % variant.shape.n_head == 0
        method.update(variant, 1.0)
        asked += 1
    assert asked
