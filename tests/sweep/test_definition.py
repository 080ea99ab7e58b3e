"""Sweep definitions: what the shipped ones say, and what every mistake in a file is answered with."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gpt_experiments.config import Variant
from gpt_experiments.errors import ConfigError, shown
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.sweep.definition import Range, SweepDefinition
from gpt_experiments.sweep.definition_file import load_definition, shipped_definitions
from gpt_experiments.sweep.yaml_source import dump_yaml
from tests.support.variants import make_variant

GOOD = """\
name: mine
method: grid
levels:
  n_head: [1, 2]
  dropout: [0, 0.5]
training:
  learning_rate: 3e-4
seeds: 2
"""


def load(tmp_path: Path, text: str | bytes) -> SweepDefinition:
    path = tmp_path / "my.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_definition(str(path))


def test_the_shipped_sweeps_are_the_studys() -> None:
    assert shipped_definitions().keys() == {"one-at-a-time", "grid", "quick", "fair"}
    study = load_definition("one-at-a-time")
    expected = [Variant()]
    for change in (
        {"n_head": 1}, {"n_head": 8}, {"n_layer": 1}, {"n_layer": 8}, {"n_embed": 32}, {"n_embed": 128},
        {"dropout": 0.0}, {"dropout": 0.3}, {"block_size": 32}, {"block_size": 256},
    ):  # fmt: skip
        expected.append(make_variant(**change))
    assert study.one_at_a_time() == expected
    assert study.training == TrainingSetup()
    assert [variant.shape for variant in load_definition("quick").one_at_a_time()] == [v.shape for v in expected]
    fair = load_definition("fair")
    assert fair.one_at_a_time() == expected
    assert fair.training == TrainingSetup()
    assert fair.nuisance == {"learning_rate": (1e-4, 3e-4, 1e-3, 3e-3)}
    grid = load_definition("grid")
    assert grid.training == TrainingSetup()
    for name, levels in grid.levels.items():
        assert isinstance(levels, tuple)
        assert set(levels) == {variant.value(name) for variant in expected}
    for name, path in shipped_definitions().items():
        assert yaml.safe_load(path.read_text())["name"] == name
        assert load_definition(name).description


def test_a_file_is_read_with_the_studys_defaults(tmp_path: Path) -> None:
    definition = load(tmp_path, GOOD)
    assert definition.name == "mine"
    assert definition.baseline == Shape()
    assert definition.training == TrainingSetup(learning_rate=3e-4)
    assert definition.levels == {"n_head": (1, 2), "dropout": (0, 0.5)}
    assert definition.seeds == (1337, 1338)
    assert definition.trials is None


@pytest.mark.parametrize("number", ["3e-4", "3E-04", "0.0003", "3.0e-4", ".3e-3", "+3e-4"])
def test_numbers_are_numbers_however_they_are_written(tmp_path: Path, number: str) -> None:
    assert load(tmp_path, GOOD.replace("3e-4", number)).training.learning_rate == pytest.approx(3e-4)


def test_a_definition_survives_being_written_and_read_again(tmp_path: Path) -> None:
    text = "name: r\nmethod: random\nlevels: {n_layer: {low: 1, high: 9, step: 2}, n_head: [1, 2]}\ntrials: 4\n"
    definition = load(tmp_path, text)
    assert definition.levels["n_layer"] == Range(low=1, high=9, step=2)
    assert load(tmp_path, dump_yaml(definition.as_dict())) == definition


def test_ranges_from_zero_and_seeds_of_ones_own_survive_it_too(tmp_path: Path) -> None:
    text = "name: r\nmethod: random\nlevels: {dropout: {low: 0.0, high: 0.5}}\ntrials: 4\nseeds: [7, 1]\n"
    definition = load(tmp_path, text)
    assert definition.seeds == (7, 1)
    assert load(tmp_path, dump_yaml(definition.as_dict())) == definition


@given(st.one_of(st.text(min_size=1, max_size=30), st.from_regex(r"[-+]?[0-9_.oxeE:~-]{1,6}", fullmatch=True)))
@settings(deadline=None)
@pytest.mark.slow
def test_every_name_survives_being_stored(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    """Also `yes`, which YAML 1.1 takes for a boolean, and `3e4`, which YAML 1.2 takes for a number."""
    try:
        definition = SweepDefinition(name=name.strip(), method="grid", levels={"n_head": (1, 2)}, description=name)
    except ConfigError:
        assume(False)
    text = dump_yaml(definition.as_dict())
    assert yaml.safe_load(text) == definition.as_dict()
    read = load(tmp_path_factory.mktemp("stored"), text)
    assert read.name == definition.name
    assert read.description == name.strip()


@pytest.mark.parametrize("name", ["steps", "eval_interval", "warmup_steps"])
def test_what_the_budget_sets_has_no_levels_of_its_own(name: str) -> None:
    """Two of them may become the same trial once the budget has rounded them."""
    levels = {name: (1, 2), "block_size": (128, 256)}
    assert SweepDefinition(name="a", method="grid", levels=levels).levels == levels
    with pytest.raises(ConfigError, match=f"{name} has levels, but with budget=tokens the budget sets it"):
        SweepDefinition(name="a", method="grid", levels=levels, budget="tokens")


def test_the_baselines_own_level_counts_once(tmp_path: Path) -> None:
    text = "name: a\nmethod: one-at-a-time\nlevels: {n_head: [1, 4], dropout: [0.1, 0.3]}\n"
    assert load(tmp_path, text).one_at_a_time() == [Variant(), make_variant(n_head=1), make_variant(dropout=0.3)]


def test_the_longest_context_is_found_in_lists_ranges_and_the_baseline(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD).longest_context == 128
    assert load_definition("grid").longest_context == 256
    text = "name: a\nmethod: random\ntrials: 2\nlevels: {block_size: {low: 8, high: 900, log: true}}\n"
    assert load(tmp_path, text).longest_context == 900


def test_overrides_are_validated_and_leave_the_rest(tmp_path: Path) -> None:
    definition = load(tmp_path, GOOD)
    changed = definition.with_overrides(steps=7, seeds=3, trials=2)
    assert (changed.training.steps, changed.seeds, changed.trials) == (7, (1337, 1338, 1339), 2)
    assert definition.with_overrides() == definition
    for wrong, message in (
        ({"steps": 0}, "steps must be at least 1, but got 0"),
        ({"seeds": 0}, "seeds must be a whole number of at least 1, but got 0"),
        ({"trials": -1}, "trials must be a whole number of at least 1, but got -1"),
    ):
        with pytest.raises(ConfigError, match=message):
            definition.with_overrides(**wrong)
    with pytest.raises(ConfigError, match="trials is only for grid, random, tpe and gp"):
        load_definition("quick").with_overrides(trials=3)


@pytest.mark.parametrize(
    ("listed", "count", "seeds"),
    [
        ("[1, 2, 3]", 5, (1, 2, 3, 1337, 1338)),
        ("[1338, 7]", 4, (1338, 7, 1337, 1339)),
        ("[9, 8, 7]", 2, (9, 8)),
        ("[9, 8]", 2, (9, 8)),
        ("2", 3, (1337, 1338, 1339)),
        ("4", 1, (1337,)),
    ],
)
def test_another_number_of_seeds_keeps_those_that_are_listed(
    tmp_path: Path, listed: str, count: int, seeds: tuple[int, ...]
) -> None:
    definition = load(tmp_path, GOOD.replace("seeds: 2", f"seeds: {listed}"))
    assert definition.with_overrides(seeds=count).seeds == seeds


MISTAKES = [
    (GOOD.replace("name: mine\n", ""), "my.yaml:1: the field 'name' is missing"),
    (GOOD.replace("mine", "''"), "my.yaml:1: name: must be a text that is not empty, but got ''"),
    (
        GOOD.replace("grid", "gird"),
        "my.yaml:2: method: must be one of one-at-a-time, grid, random, tpe, gp, but got 'gird'",
    ),
    (GOOD.replace("seeds:", "seed:"), "my.yaml:8: seed: unknown field; did you mean seeds?"),
    (GOOD.replace("n_head:", "n_heads:"), "my.yaml:4: levels.n_heads: unknown field; did you mean n_head?"),
    (GOOD.replace("learning_rate", "lr"), "my.yaml:7: training.lr: unknown field; the fields are steps, batch_size"),
    (GOOD.replace("[1, 2]", "[]"), "my.yaml:4: levels.n_head: has no levels"),
    (GOOD.replace("[1, 2]", "4"), r"my.yaml:4: levels.n_head: must be a list of levels, as \[1, 4\], but got 4"),
    (GOOD.replace("[1, 2]", "[1, four]"), "my.yaml:4: levels.n_head: n_head must be a whole number, but got 'four'"),
    (
        GOOD.replace("[1, 2]", "[1, 2.0]"),
        "my.yaml:4: levels.n_head: n_head must be a whole number, but got 2.0; write 2",
    ),
    (GOOD.replace("[1, 2]", "[1, 0]"), "my.yaml:4: levels.n_head: n_head must be at least 1, but got 0"),
    (GOOD.replace("[1, 2]", "[true]"), "my.yaml:4: levels.n_head: n_head must be a whole number, but got True"),
    (GOOD.replace("[1, 2]", "[1, 1]"), "my.yaml:4: levels.n_head: level 1 is listed twice"),
    (GOOD.replace("[1, 2]", "[1, 3]"), "my.yaml:3: levels: n_embed=64 is not divisible by n_head=3"),
    (GOOD.replace("[0, 0.5]", "[0, 0.0]"), "my.yaml:5: levels.dropout: level 0.0 is listed twice"),
    (GOOD.replace("[0, 0.5]", "['0.1']"), "my.yaml:5: levels.dropout: dropout must be a finite number, but got '0.1'"),
    (GOOD.replace("[0, 0.5]", "[1]"), "my.yaml:5: levels.dropout: dropout must be at least 0 and below 1, but got 1"),
    (
        GOOD.replace("[0, 0.5]", "{low: 0, high: 0.5}"),
        "my.yaml:5: levels.dropout: a range is only for the methods random",
    ),
    (
        GOOD.replace("3e-4", "-1"),
        "my.yaml:7: training.learning_rate: learning_rate must be positive and at most 1e30, but got -1",
    ),
    (
        GOOD.replace("3e-4", "1\n  schedule: step"),
        "my.yaml:8: training.schedule: schedule must be one of constant, cosine",
    ),
    (GOOD.replace("3e-4", "1\n  warmup_steps: -1"), "my.yaml:8: training.warmup_steps: .* at least 0, but got -1"),
    (
        GOOD.replace("3e-4", "1\n  min_learning_rate: 2\n  schedule: cosine"),
        "my.yaml:6: training: min_learning_rate must be at most learning_rate, but got 2 and 1",
    ),
    (GOOD.replace("3e-4", ".nan"), "my.yaml:7: training.learning_rate: learning_rate must be a finite number"),
    (GOOD.replace("seeds: 2", "seeds: many"), "my.yaml:8: seeds: seeds must be a whole number of at least 1"),
    (GOOD + "trials: 0\n", "my.yaml:9: trials: trials must be a whole number of at least 1, but got 0"),
    (GOOD + "name: again\n", "my.yaml:9: name: is given again after line 1; keep one"),
    (GOOD.replace("grid", "tpe"), "trials is missing; tpe needs the number of variants"),
    (GOOD + "baseline: 3\n", "my.yaml:9: baseline: must be a mapping of fields to values, but got 3"),
    (GOOD + "baseline: {n_head: 3}\n", "my.yaml:9: baseline: n_embed=64 is not divisible by n_head=3"),
    (GOOD + "baseline: {block_size: 0}\n", "my.yaml:9: baseline.block_size: block_size must be at least 1, but got 0"),
    (GOOD.replace("  n_head: [1, 2]\n  dropout: [0, 0.5]", "  - 1"), "my.yaml:3: levels: must be a mapping of fields"),
    (GOOD.replace("[1, 2]", "[1, 2"), r"my.yaml:\d+: this is not YAML"),
    ("", "my.yaml:1: a sweep definition is a mapping"),
    ("- 1\n- 2\n", "my.yaml:1: a sweep definition is a mapping"),
    ("just text", "my.yaml:1: a sweep definition is a mapping"),
    ("method: grid\nname: \x07\n", r"my.yaml:2: this is not YAML: the character '\\x07' is not allowed here"),
    ('name: "\\UFFFFFFFF"\n', "my.yaml: this is not YAML"),
    (b"name: \xff\n", r"my.yaml is not UTF-8 text \(byte 6\)"),
    ("name: !!python/object:os.system x\n", "my.yaml:1: name: the tag !!python/object:os.system is not supported"),
    (GOOD.replace("mine", "x" * 101), "my.yaml:1: name: name may have at most 100 characters, but has 101"),
    (GOOD.replace("mine", '"a\\nb"'), r"my.yaml:1: name: name must be one line of text .*, but got 'a\\nb'"),
    (GOOD.replace("mine", "../x"), "my.yaml:1: name: name must be one line of text without slashes, but got '../x'"),
    (GOOD.replace("mine", '"\\ud800"'), r"my.yaml:1: name: '\\ud800' holds half of a character"),
    (
        GOOD.replace("mine", "a\ndescription: " + "x" * 2001),
        "my.yaml:2: description: description may have at most 2,000",
    ),
    (GOOD.replace("seeds: 2", "seeds: !!bool x"), "my.yaml:8: seeds: 'x' is neither true nor false"),
    (GOOD.replace("seeds: 2", "seeds: !!int x"), "my.yaml:8: seeds: x is not a plain decimal number; write it as one"),
    (GOOD.replace("seeds: 2", "seeds: !!null x"), "my.yaml:8: seeds: 'x' is not null"),
    (GOOD.replace("seeds: 2", "seeds: !!set {a}"), "my.yaml:8: seeds: the tag !!set is not supported here"),
    (GOOD.replace("seeds: 2", "seeds: 010"), "my.yaml:8: seeds: 010 is not a plain decimal number; write 10, or '010'"),
    (GOOD.replace("seeds: 2", "seeds: 0x1f"), "my.yaml:8: seeds: 0x1f is not a plain decimal number; write 31"),
    (
        GOOD.replace("seeds: 2", "seeds: 1:30"),
        "my.yaml:8: seeds: seeds must be a whole number of at least 1, but got '1:30'",
    ),
    ("%YAML 1.1\n---\n" + GOOD.replace("2\n", "1:30\n"), "my.yaml:10: seeds: 1:30 is not a plain decimal number"),
    (GOOD.replace("3e-4", "03.5"), "my.yaml:7: training.learning_rate: 03.5 is not a plain decimal number; write 3.5"),
    (
        GOOD.replace("3e-4", "1e400"),
        "my.yaml:7: training.learning_rate: learning_rate must be a finite number, but got inf",
    ),
    (GOOD.replace("seeds: 2", "seeds: " + "9" * 400), "my.yaml:8: seeds: a number of 400 characters is too long"),
    (
        GOOD.replace("seeds: 2", "seeds: 1000000000"),
        "my.yaml:8: seeds: seeds must be at most 1,000, but got 1000000000",
    ),
    (GOOD.replace("seeds: 2", "seeds: [1, 2, 1]"), "my.yaml:8: seeds: seed 1 is listed twice; keep one"),
    (GOOD.replace("seeds: 2", "seeds: [-1]"), "my.yaml:8: seeds: seed must be at least 0, but got -1"),
    (GOOD.replace("seeds: 2", "seeds: []"), "my.yaml:8: seeds: seeds must be a number of seeds or a list of them"),
    (
        GOOD.replace("seeds: 2", f"seeds: {list(range(1001))}"),
        "my.yaml:8: seeds: seeds may be at most 1,000, but are 1,001; list fewer",
    ),
    (GOOD + "trials: 100001\n", "my.yaml:9: trials: trials must be at most 5,000, but got 100001; give a smaller one"),
    (GOOD + "baseline: {n_embed: 1000000000}\n", "my.yaml:9: baseline.n_embed: n_embed must be at most 16,384"),
    (GOOD.replace("3e-4", "3e-4\n  steps: 10000000"), "my.yaml:6: training: .* 20,000 evaluations.* at least 1000"),
    (
        GOOD.replace("3e-4", "3e-4\n  batch_size: 65536\nbaseline: {block_size: 512}"),
        "my.yaml:6: training: .* 33,554,432 characters, but a batch may have at most 16,777,216; .* at most 32768",
    ),
    (
        GOOD.replace("n_head: [1, 2]", "n_layer: [1, 512]\n  n_embed: [64, 4096]"),
        "my.yaml:3: levels: n_layer=512 blocks of n_embed=4096 have 103,079,215,104 weights, .* at most 5,000,000,000",
    ),
    (
        GOOD.replace("[1, 2]", str(list(range(1, 1002)))),
        "my.yaml:4: levels.n_head: has 1,001 levels, but may have at most 1,000; list fewer",
    ),
    (GOOD + "training: {steps: 5}\n", "my.yaml:9: training: is given again after line 6; keep one"),
    (
        GOOD.replace("3e-4", "1\n  'learning_rate': 2"),
        "my.yaml:8: training.learning_rate: is given again after line 7",
    ),
    (
        GOOD + "baseline: {n_layer: 5, 'n_layer': 6}\n",
        "my.yaml:9: baseline.n_layer: is given twice on this line; keep one",
    ),
    (GOOD + "baseline: &b {n_layer: 5}\n<<: *b\n", r"my.yaml:10: merge keys \(<<\) are not read"),
    (GOOD + "baseline: {n_head: &a 4, n_layer: &a 4}\n", "my.yaml:9: the anchor &a is defined again; keep one"),
    (GOOD + "? [a]\n: 5\n", "my.yaml:9: a key is a text"),
    (GOOD + "baseline: " + "[" * 2000 + "\n", "my.yaml:9: this is nested more than 20 deep"),
    (
        GOOD + "baseline: &a {n_head: 4, n_layer: *a}\n",
        "my.yaml:9: baseline: this is nested more than 20 deep, or refers to",
    ),
    ("name: " + "[" + "1," * 6000 + "]\n", "my.yaml:1: the file has more than 5,000 values"),
    (
        f"a: &a [1{', 1' * 9}]\nb: &b [*a{', *a' * 9}]\nc: &c [*b{', *b' * 9}]\nd: [*c{', *c' * 9}]\n",
        "my.yaml:4: d: the file has more than 5,000 values",
    ),
    ("name: a\n#" + "x" * 2**16, "my.yaml has more than 65,536 bytes, which is too large"),
    (
        GOOD.replace("n_head: [1, 2]", f"block_size: {list(range(1, 101))}\n  n_layer: {list(range(1, 101))}"),
        "my.yaml:3: levels: this grid has 20,000 variants, but may have at most 5,000; .* choose the method random",
    ),
    (
        GOOD.replace("n_head: [1, 2]", f"block_size: {list(range(1, 101))}").replace("seeds: 2", "seeds: 51"),
        "my.yaml:8: seeds: 200 variants with 51 seeds are 10,200 trials, but a sweep may have at most 10,000",
    ),
    (GOOD + "skip_indivisible: 1\n", "my.yaml:9: skip_indivisible: skip_indivisible must be true or false, but got 1"),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES, ids=[message[:60] for _, message in MISTAKES])
def test_every_mistake_is_reported_with_file_line_and_field(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as reported:
        load(tmp_path, text)
    assert str(reported.value).startswith(str(tmp_path))


RANGES = [
    ("{low: 4, high: 4}", "low must be below high, but got low=4 and high=4"),
    ("{low: 1}", "a range needs low and high; high is missing"),
    ("{low: 1, high: 8, steps: 2}", "unknown field; did you mean step?"),
    ("{low: 1, high: 8, step: 0}", "step must be positive, but got 0"),
    ("{low: 1, high: 8, step: 2, log: true}", "log needs a positive low and no step"),
    ("{low: 1, high: 8.5}", "high must be a whole number, but got 8.5"),
    ("{low: 0, high: 8}", "n_layer must be at least 1, but got 0"),
    ("{low: 1, high: 8, log: maybe}", "log must be true or false, but got 'maybe'"),
    ("{low: one, high: 8}", "low must be a finite number, but got 'one'"),
    ("{low: 1, high: 99999999}", "n_layer must be at most 512, but got 99999999; give a smaller one"),
    (f"{{low: 1, high: 1{'0' * 30}}}", "n_layer must be at most 512, but got a number of 31 digits"),
    ("{low: 1, high: 8, step: 8}", "step must be at most high - low, but got 8"),
    ("{low: 010, high: 80}", "010 is not a plain decimal number; write 10"),
]


@pytest.mark.parametrize(("given", "message"), RANGES)
def test_ranges_are_checked(tmp_path: Path, given: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"my\.yaml:4: levels\.n_layer(\.\w+)?: {re.escape(message)}"):
        load(tmp_path, f"name: r\nmethod: random\ntrials: 3\nlevels: {{n_layer: {given}}}\n")


def test_indivisible_pairs_are_refused_where_the_method_lets_them_meet(tmp_path: Path) -> None:
    levels = "levels: {n_head: [1, 8], n_embed: [12, 64]}\n"
    load(tmp_path, f"name: a\nmethod: one-at-a-time\n{levels}")  # 8 heads meet 64 alone, and width 12 four heads
    with pytest.raises(ConfigError, match="n_embed=12 is not divisible by n_head=8, and grid combines them"):
        load(tmp_path, f"name: a\nmethod: grid\n{levels}")
    inside = "levels: {n_head: [4], n_embed: {low: 32, high: 40, step: 2}}\n"
    with pytest.raises(ConfigError, match="n_embed=34 is not divisible by n_head=4"):
        load(tmp_path, f"name: a\nmethod: tpe\ntrials: 2\n{inside}")


def test_what_does_not_divide_is_named_with_what_would(tmp_path: Path) -> None:
    text = "name: a\nmethod: random\ntrials: 5\nlevels:\n  n_head: {low: 1, high: 8}\n  n_embed: [8, 16]\n"
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, text)
    assert str(refused.value) == (
        f"{tmp_path}/my.yaml:4: levels: n_embed=8 is not divisible by n_head=3, 5, 6, 7, "
        "n_embed=16 is not divisible by n_head=3, 5, 6, 7, and random combines them; "
        "keep n_head=1, 2, 4, 8, or set skip_indivisible: true to leave such pairs out"
    )
    skipping = load(tmp_path, text + "skip_indivisible: true\n")
    assert skipping.skip_indivisible
    assert load(tmp_path, dump_yaml(skipping.as_dict())) == skipping
    with pytest.raises(ConfigError, match=r"my.yaml:4: levels: no n_embed is divisible by any n_head"):
        load(tmp_path, text.replace("{low: 1, high: 8}", "[3, 5]") + "skip_indivisible: true\n")
    with pytest.raises(ConfigError, match=r"my.yaml:3: skip_indivisible: .* one-at-a-time always takes every level"):
        load(tmp_path, "name: a\nmethod: one-at-a-time\nskip_indivisible: true\nlevels: {n_head: [1]}\n")


def test_a_budget_that_needs_too_many_steps_is_refused(tmp_path: Path) -> None:
    text = "name: a\nmethod: METHOD\nbudget: BUDGET\nlevels: {block_size: [1, 512]}\nbaseline: {block_size: 512}\n"
    for method in ("grid", "one-at-a-time"):
        definition = load(tmp_path, text.replace("METHOD", method).replace("BUDGET", "tokens"))
        definition.require_steps(65)
        longer = definition.with_overrides(steps=40_000)
        with pytest.raises(
            ConfigError, match=r"budget=tokens .* block_size=1 would take 20,480,000 steps .* 10,000,000"
        ):
            longer.require_steps(65)
        longer.with_overrides(budget="steps").require_steps(65)


ODD = [10**400, -(10**400), float("nan"), float("inf"), 10**5000, None, [1], "x" * 10_000]


@pytest.mark.parametrize("name", ["n_head", "n_layer", "n_embed", "block_size", "dropout"])
@pytest.mark.parametrize("value", ODD, ids=map(shown, ODD))
def test_no_value_is_too_odd_for_a_short_answer(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be") as refused:
        SweepDefinition(name="a", method="grid", levels={name: (value,)})  # type: ignore[arg-type, dict-item]
    assert len(str(refused.value)) < 200
    with pytest.raises(ConfigError, match="low must be") as refused:
        Range(low=value, high=value)  # type: ignore[arg-type]
    assert len(str(refused.value)) < 200


def test_names_and_paths_that_lead_nowhere_are_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"did you mean one-at-a-time\? choose from fair, grid, one-at-a-time, quick"):
        load_definition("one-at-time")
    with pytest.raises(ConfigError, match=r"absent\.yaml cannot be read \(No such file"):
        load_definition(str(tmp_path / "absent.yaml"))
    for odd in ("a\0b", "a\0b.yaml", "x" * 5000, "x" * 5000 + ".yaml", "/dev/zero"):
        with pytest.raises(ConfigError) as refused:
            load_definition(odd)
        assert len(str(refused.value)) < 300
    with pytest.raises(ConfigError, match=r"cannot be read .*directory"):
        load_definition(str(tmp_path))


def test_a_schedule_of_the_learning_rate_is_read_and_written(tmp_path: Path) -> None:
    given = "1e-3\n  schedule: cosine\n  warmup_steps: 100\n  min_learning_rate: 1e-4"
    definition = load(tmp_path, GOOD.replace("3e-4", given))
    expected = TrainingSetup(learning_rate=1e-3, schedule="cosine", warmup_steps=100, min_learning_rate=1e-4)
    assert definition.training == expected
    assert load(tmp_path, dump_yaml(definition.as_dict())) == definition


def test_a_budget_is_one_of_three(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("name: x\nmethod: grid\nlevels: {n_head: [1, 2]}\nbudget: flops\n")
    assert load_definition(str(file)).budget == "flops"
    file.write_text("name: x\nmethod: grid\nlevels: {n_head: [1, 2]}\nbudget: euros\n")
    with pytest.raises(ConfigError, match="must be one of steps, tokens, flops, but got 'euros'"):
        load_definition(str(file))
