"""Whatever is typed after a command: it gets as far as its work would begin, or ends in one short message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import event, given
from hypothesis import strategies as st

import gpt_experiments.bench.run
import gpt_experiments.sweep.dry_run
import gpt_experiments.sweep.runner
from gpt_experiments.cli import program
from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import ExperimentError
from gpt_experiments.sweep.definition import SweepDefinition
from gpt_experiments.sweep.methods import make_method
from gpt_experiments.sweep.plan import Schedule, sweep_key
from gpt_experiments.sweep.resources import RunOptions, find_hardware
from tests.fuzz.budget import LONGEST_MESSAGE, fuzzed

WHOLE = "0 -1 1 2 3 8 64 1000 100000 1.5 1e3 010 1_000 0x10 ٣ x nan inf 2147483648 9223372036854775807".split()
WHOLE += ["", " 5", "5\n6", "9223372036854775808", "9" * 30, "9" * 400, "-" + "9" * 400, "x" * 300]
REAL = [*WHOLE, *"0.1 -0.0 0.5 1e-400 1e30 1e31 1e400 -1e400 -inf 1e-3 1e-40 . 1,5".split()]
TEXT = "a .. / /dev/null . a/b é null auto cpu CPU cpu:5 cuda cuda:99 cuda:-1 mps meta models:/a/1 -- -x".split()
TEXT += ["", " ", "a\nb", "\x1b[31m", "x" * 300, "0" * 32, "cuda:" + "9" * 30]
BEGINS = "here the work would begin"
SWEEPS = ["quick", "fair", "grid", "one-at-a-time", "mine.yaml", "mine.yaml", "gird", "absent.yaml"]


def values_of(option: click.Option, name: str) -> st.SearchStrategy[list[str]]:
    """The option with a value that fits, nearly fits, or does not."""
    if option.is_flag:
        return st.just([name])
    if isinstance(option.type, click.Choice):
        pool = st.sampled_from([*option.type.choices, "", "x"])
    elif option.type is click.INT:
        pool = st.one_of(st.sampled_from("1248"), st.sampled_from(WHOLE), st.integers().map(str))
    elif option.type is click.FLOAT:
        pool = st.one_of(st.just("0.001"), st.sampled_from(REAL), st.floats().map(str))
    else:
        pool = st.one_of(st.just("cpu"), st.sampled_from(TEXT))
    return pool.map(lambda value: [f"{name}={value}"])


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """A command, options of its own with odd values, and something where its argument stands."""
    name = draw(st.sampled_from([*program.commands, "train", "sweep", "sweep"]))
    command = program.commands[name]
    options = [o for o in command.params if isinstance(o, click.Option) and o.name not in ("tracking_uri", "data")]
    words = [name]
    if any(isinstance(parameter, click.Argument) for parameter in command.params):
        words.append(draw(st.one_of(st.sampled_from(SWEEPS[:5]), st.sampled_from([*SWEEPS, *TEXT]))))
    for option in draw(st.lists(st.sampled_from(options), max_size=5)) if options else []:
        words += draw(values_of(option, option.opts[0]))
    if draw(st.integers(0, 19)) == 0:
        words.append(draw(st.sampled_from(["--absent", "--" + "x" * 300, "-z", "again"])))
    return words


def plan(definition: SweepDefinition, corpus: Corpus, options: RunOptions) -> None:
    """All of a sweep's planning that needs no store."""
    corpus.require_context(definition.longest_context)
    definition.require_steps(corpus.vocab_size)
    sweep_key(definition, corpus)
    schedule = Schedule(definition, corpus, {}, make_method(definition))
    schedule.form_groups(lambda trial: options.replicas or 1, find_hardware(options, schedule.total).workers)


@pytest.fixture
def stopped_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command that would train for long stops where that would begin."""

    def run_sweep(definition: SweepDefinition, corpus: Corpus, store: Any, options: RunOptions, *_: Any) -> NoReturn:
        plan(definition, corpus, options)
        raise ExperimentError(BEGINS)

    def dry_run(definition: SweepDefinition, corpus: Corpus, options: RunOptions, *_: Any) -> NoReturn:
        run_sweep(definition, corpus, None, options)

    def run_single(trial: Trial, corpus: Corpus, store: Any, options: RunOptions, *_: Any) -> NoReturn:
        corpus.require_context(trial.shape.block_size)
        find_hardware(options, 1)
        raise ExperimentError(BEGINS)

    def run_bench(*_: Any) -> NoReturn:
        raise ExperimentError(BEGINS)

    monkeypatch.setattr(gpt_experiments.sweep.runner, "run_sweep", run_sweep)
    monkeypatch.setattr(gpt_experiments.sweep.runner, "run_single", run_single)
    monkeypatch.setattr(gpt_experiments.sweep.dry_run, "dry_run", dry_run)
    monkeypatch.setattr(gpt_experiments.bench.run, "run_bench", run_bench)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Path:
    """The working directory, with a text and a definition in it."""
    (tmp_path / "text.txt").write_text(text)
    definition = "name: mine\nmethod: random\ntrials: 4\nlevels: {dropout: {low: 0, high: 0.5}}\n"
    (tmp_path / "mine.yaml").write_text(definition)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(words: list[str], store_uri: str) -> Result:
    takes = {parameter.name for parameter in program.commands[words[0]].params}
    data = ["--data=text.txt"] * ("data" in takes)
    store = [f"--tracking-uri={store_uri}"] * ("tracking_uri" in takes)
    return CliRunner().invoke(program, [words[0], *data, *store, *words[1:]])


@pytest.mark.parametrize(
    "words", [["train"], ["bench"], ["sweep", "mine.yaml"], ["sweep", "quick", "--dry-run"]], ids=str
)
def test_a_command_line_without_a_mistake_gets_as_far_as_its_work(
    stopped_short: None, folder: Path, store_uri: str, words: list[str]
) -> None:
    assert BEGINS in run(words, store_uri).stderr


@given(words=command_lines())
@fuzzed(60)
def test_any_command_line_reaches_its_work_or_ends_in_one_short_message(
    stopped_short: None, folder: Path, store_uri: str, words: list[str]
) -> None:
    result = run(words, store_uri)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (0, 1, 2), result.output
    event(f"{words[0]}: {'has begun' if BEGINS in result.output else result.exit_code}")
    if result.exit_code:
        assert result.stderr.strip()
        assert len(result.stderr) <= LONGEST_MESSAGE + 300, result.stderr  # the usage line stands before it
        assert len(result.stderr.splitlines()) <= 8, result.stderr
    if "--json" in words and "--" not in words:
        assert json.loads(result.stdout)["command"] in (words[0], "evaluate")
