"""The pages about the code hold: what they name exists, their links lead somewhere, their examples run."""

from __future__ import annotations

import ast
import configparser
import dataclasses
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gpt_experiments import names, parameters
from gpt_experiments.cli import program
from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.execution.protocol import Executor, Job, JobDone, JobFailed
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.sweep.definition import SweepDefinition
from gpt_experiments.sweep.methods import METHODS, make_method
from gpt_experiments.training import Evaluation
from tests.support.executors import hardware
from tests.support.parameters_page import COMMAND, PAGE, parameters_page
from tests.support.simulated import simulate
from tests.support.variants import make_variant
from tests.test_readme import blocks, tokens

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "gpt_experiments"
DOCS = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/**/*.md"))
LINKING = [*DOCS, "README.md", "CONTRIBUTING.md"]

PARTS = {f"{path.name}/" for path in PACKAGE.iterdir() if (path / "__init__.py").exists()} | {
    path.name for path in PACKAGE.glob("*.py") if path.name != "__init__.py"
}

WORDS = (
    "corpus, parameter, hyperparameter, shape, variant, baseline, pre-trained model, seed, trial, replica, group, "
    "cell, sweep, method, pruner, executor, checkpoint, report"
).split(", ")
STORED = {value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)}
FILE = re.compile(r"[\w.*/-]+(?:\.(?:py|md|svg|cfg|toml|html)|/)")
DOTTED = re.compile(r"[a-z]\w*(?:\.\w+)+")


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    text = (ROOT / page).read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def inline_code(page: str) -> list[str]:
    return [token.content for token in tokens(page) if token.type == "code_inline"]


def exists(path: str) -> bool:
    """Whether there is such a file or folder, seen from the top or from the package."""
    return any(base.joinpath(path).exists() for base in (ROOT, PACKAGE))


@pytest.mark.parametrize("page", DOCS)
def test_the_files_that_are_named_exist(page: str) -> None:
    named = [code for code in inline_code(page) if FILE.fullmatch(code) and code not in STORED]
    assert [path for path in named if not exists(path)] == []


@pytest.mark.parametrize("page", DOCS)
def test_the_modules_and_functions_that_are_named_exist(page: str) -> None:
    modules = {module.name for module in pkgutil.iter_modules([str(PACKAGE)])}
    for code in inline_code(page):
        first = code.partition(".")[0]
        if code not in STORED and DOTTED.fullmatch(code) and not FILE.fullmatch(code) and first in modules:
            found = pkgutil.resolve_name(f"{PACKAGE.name}.{code}")  # an error says what does not exist
            assert not isinstance(found, ModuleType) or found.__name__ == f"{PACKAGE.name}.{code}", code


@pytest.mark.parametrize("page", DOCS)
def test_the_options_that_are_named_exist(page: str) -> None:
    ours = {option for command in program.commands.values() for given in command.params for option in given.opts}
    assert {code for code in inline_code(page) if code.startswith("--")} <= ours


def anchors(page: Path) -> set[str]:
    """What an address may end with: the headings, as a hosting service writes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", LINKING)
def test_the_links_lead_somewhere(page: str) -> None:
    for token in tokens(page):
        if token.type in ("link_open", "image"):
            target = str(token.attrs["href" if token.type == "link_open" else "src"])
            if "://" in target:
                continue
            path, _, anchor = target.partition("#")
            file = (ROOT / page).parent / path if path else ROOT / page
            assert exists(file.resolve().relative_to(ROOT).as_posix()), target
            assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_the_map_is_found_from_the_first_pages(page: str) -> None:
    targets = {str(token.attrs["href"]) for token in tokens(page) if token.type == "link_open"}
    assert {"docs/architecture.md", "docs/adding.md"} <= targets


def test_every_decision_is_listed_and_has_its_three_parts() -> None:
    records = [path for path in ROOT.glob("docs/decisions/*.md") if path.name != "README.md"]
    listed = re.findall(r"\[([^\]]+)\]\(([^)]+)\)", (ROOT / "docs" / "decisions" / "README.md").read_text("utf-8"))
    assert {path.name for path in records} == {file for _, file in listed}
    for title, file in listed:
        text = (ROOT / "docs" / "decisions" / file).read_text(encoding="utf-8")
        assert text.startswith(f"# {title}\n")
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]


def test_the_glossary_has_every_word() -> None:
    assert [word for word, _ in rows("docs/architecture.md", "The words")] == WORDS


def test_the_parts_are_those_of_the_package_in_the_order_of_the_contract() -> None:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    layers = settings["importlinter:contract:layers"]["layers"].split("\n")[1:]
    expected = {
        (number, f"{name}/" if (PACKAGE / name).is_dir() else f"{name}.py")
        for number, layer in enumerate(reversed(layers), start=1)
        for name in layer.split(" | ")
    }
    listed = [(int(layer), part.strip("`")) for layer, part, *_ in rows("docs/architecture.md", "The parts")]
    assert {part for _, part in listed} == PARTS
    assert {(layer, part) for layer, part in listed} == expected
    assert [layer for layer, _ in listed] == sorted((layer for layer, _ in listed), reverse=True)


def test_the_tree_of_the_readme_is_that_of_the_package() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## How the code is laid out\n")[2]
    top, *lines = readme.partition("```text\n")[2].partition("```")[0].splitlines()
    assert top == "gpt_experiments/"
    listed, folder = [], ""
    for line in lines:
        name, indent = line.split()[0], len(line) - len(line.lstrip())
        if indent == 2:
            listed.append(name)
            folder = name
        else:
            assert exists(f"{PACKAGE.name}/{folder}{name}"), line
    assert sorted(listed) == sorted(PARTS)


def test_every_stored_name_is_on_the_page() -> None:
    code = set(inline_code("docs/architecture.md"))
    assert sorted({*STORED, *names.HEAD_SCORES} - code) == []


def test_the_page_of_parameters_is_up_to_date() -> None:
    is_current = PAGE.exists() and PAGE.read_text(encoding="utf-8") == parameters_page()
    assert is_current, f"docs/parameters.md is out of date; write it anew: {COMMAND}"


def examples() -> Iterator[tuple[str, str]]:
    """The module that each example of `adding.md` belongs to, and its text."""
    for block in blocks("docs/adding.md", "python"):
        first = block.splitlines()[0]
        yield first.removeprefix("# ").removesuffix(".py").replace("/", "."), block


def run_example(module: str, place: int = 0, **more: Any) -> dict[str, Any]:
    """What the example is in its module, which may be a new one; `place` counts those of one module."""
    text = [text for of, text in examples() if of == module][place]
    path = ROOT / f"{module.replace('.', '/')}.py"
    namespace = dict(vars(importlib.import_module(module))) if path.exists() else {"__name__": module}
    exec(compile(ast.parse(text), "docs/adding.md", "exec"), namespace := namespace | more)
    return namespace


@pytest.mark.parametrize(("place", "name", "base"), [(0, "eps", TrainingSetup), (1, "feed_forward_factor", Shape)])
def test_the_examples_of_parameters_change_no_cell(place: int, name: str, base: type[Any]) -> None:
    field = run_example("gpt_experiments.parameters", place)[name]
    later = dataclasses.make_dataclass(
        "Later", [(name, type(field.default), field)], bases=(base,), frozen=True, kw_only=True, order=True
    )
    assert parameters.declared_in(later)[name].is_younger
    part = "shape" if base is Shape else "training"
    assert Trial(**{part: later()}).cell("x") == Trial().cell("x")
    assert Trial(**{part: later(**{name: 1})}).cell("x") != Trial().cell("x")


def test_the_example_of_a_method_suggests_variants(monkeypatch: pytest.MonkeyPatch) -> None:
    method_class = run_example("gpt_experiments.sweep.methods.extremes")["Extremes"]
    monkeypatch.setitem(METHODS, "extremes", method_class)  # type: ignore[arg-type]
    levels = {"n_layer": (1, 2, 8), "dropout": (0.0, 0.1)}
    method = make_method(SweepDefinition(name="x", method="extremes", levels=levels))
    suggested = list(iter(method.suggest, None))
    expected = [{}, {"n_layer": 1}, {"n_layer": 8}, {"dropout": 0.0}]
    assert suggested == [make_variant(**values) for values in expected]
    assert method.planned == len(suggested)


def test_the_example_of_an_executor_trains(corpus: Corpus) -> None:
    shape = Shape(n_head=1, n_layer=1, n_embed=8, dropout=0.0, block_size=8)
    trial = Trial(shape=shape, training=TrainingSetup(steps=4, batch_size=2, eval_interval=2))
    executor: Executor = run_example("gpt_experiments.execution.thread")["ThreadExecutor"](corpus, hardware())
    events: list[Any] = []
    try:
        executor.submit([Job(key="1", trial=trial, label="x")])
        while not events or not isinstance(events[-1], JobDone | JobFailed):
            events += [event for _, event in executor.events(10)]
        assert [event.step for event in events if isinstance(event, Evaluation)] == [0, 2, 4]
        assert isinstance(events[-1], JobDone)
        with events[-1].files.folder() as folder:
            assert (folder / names.SAMPLE_FILE).exists()
    finally:
        executor.close()
    assert executor.has_room


def test_the_examples_of_a_figure_draw() -> None:
    results = simulate(lambda shape: 2.5, seeds=2)
    draw = run_example("gpt_experiments.figures.speed")["speed_bars"]
    picture = run_example("gpt_experiments.report.pictures", speed_bars=draw)["speed"](results)
    (axes,) = picture.figure.axes
    assert sorted(bar.get_width() for bar in axes.patches) == sorted(results.by_variant["tokens_per_second"])


def test_the_example_of_a_belief_is_judged() -> None:
    claim = run_example("gpt_experiments.analysis.beliefs")["_NARROWER"]
    (test,) = claim.tests(simulate(lambda shape: 2.5, seeds=3))
    assert len(test.values) == 3


def test_every_example_is_run() -> None:
    assert [module.removeprefix("gpt_experiments.") for module, _ in examples()] == [
        "parameters",
        "parameters",
        "sweep.methods.extremes",
        "execution.thread",
        "figures.speed",
        "report.pictures",
        "analysis.beliefs",
    ]
