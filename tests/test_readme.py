"""What the pages for readers say holds: commands parse, files exist, and sweeps have the trials that are promised."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from markdown_it import MarkdownIt
from markdown_it.token import Token

from gpt_experiments.cli import program
from gpt_experiments.sweep.definition_file import load_definition
from gpt_experiments.sweep.nuisance import settings

ROOT = Path(__file__).parent.parent
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "sweeps/README.md",
    "benchmarks/README.md",
    "gpt_experiments/kernels/README.md",
)
SWEEPS = sorted(path.stem for path in ROOT.glob("sweeps/*.yaml"))
NUMBERS = {"eleven": 11, "243": 243}
"""How the README writes the sizes of sweeps."""


def anchors(text: str) -> set[str]:
    """What a link can name on a Markdown page, as GitHub makes it from a heading."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def tokens(page: str) -> Iterator[Token]:
    """Every token of the page as a Markdown parser sees it, those within paragraphs and tables too."""
    for token in MarkdownIt("commonmark").enable("table").parse((ROOT / page).read_text(encoding="utf-8")):
        yield token
        yield from token.children or ()


def blocks(page: str, *languages: str) -> list[str]:
    """The texts of the fenced blocks of these languages; an indented block counts as one without a language."""
    return [t.content for t in tokens(page) if t.type in ("fence", "code_block") and t.info in languages]


def command_lines() -> list[tuple[str, str]]:
    """Page and line of each shell command, continued lines as one."""
    return [
        (page, line)
        for page in PAGES
        for block in blocks(page, "", "sh", "bash", "console")
        for line in block.replace("\\\n", " ").splitlines()
        if line.strip()
    ]


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def parse(command: click.Command, arguments: Sequence[str]) -> None:
    """Take the arguments as the command would, and run nothing; a click.UsageError says what does not exist."""
    while isinstance(command, click.Group):
        name, *arguments = arguments
        found = command.get_command(click.Context(command), name)
        assert found is not None, f"there is no command {name}"
        command = found
    command.make_context(command.name, [*arguments])


def parse_ours(arguments: Sequence[str]) -> None:
    parse(program, arguments)
    if arguments[0] == "sweep" and not arguments[1].endswith(".yaml"):  # a file of that ending is the reader's own
        assert arguments[1] in SWEEPS


def parse_mlflow(arguments: Sequence[str]) -> None:
    from mlflow.cli import cli

    parse(cli, arguments)


def check_request(arguments: Sequence[str]) -> None:
    """What `curl` sends to a served model has parameters that it knows."""
    from gpt_experiments.tracking.served_model import DEFAULT_PARAMS

    body = json.loads(arguments[arguments.index("-d") + 1])
    assert set(body["params"]) <= set(DEFAULT_PARAMS)


@pytest.mark.parametrize(("page", "line"), command_lines())
def test_a_command_parses(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    while re.fullmatch(r"[A-Z_]+=\S*", words[0]):  # a variable of the environment
        del words[0]
    match words:
        case ["make", *targets]:
            assert set(targets) <= make_targets()
        case ["python" | ".venv/bin/python", "-m", "gpt_experiments", *arguments] | ["gpt-experiments", *arguments]:
            parse_ours(arguments)
        case ["mlflow", *arguments]:
            parse_mlflow(arguments)
        case ["curl", *arguments]:
            check_request(arguments)
        case ["python" | ".venv/bin/python", "-m", "pytest", *arguments]:
            assert all((ROOT / argument).exists() for argument in arguments if argument.startswith("tests/"))
        case ["pre-commit", "install"]:
            assert (ROOT / ".pre-commit-config.yaml").exists()
        case ["source", ".venv/bin/activate"]:
            assert "VENV := .venv" in (ROOT / "Makefile").read_text(encoding="utf-8")
        case unknown:
            pytest.fail(f"{page} has a command that this test does not know: {unknown}")


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_options_within_the_text_exist(page: str) -> None:
    ours = {option for command in program.commands.values() for p in command.params for option in p.opts} | {"--help"}
    for code in [t.content for t in tokens(page) if t.type == "code_inline"]:
        words = code.split()
        if words[0].startswith("--"):
            assert words[0] in ours, code
        elif words[0] in program.commands and len(words) > 1:
            parse(program, words)
        elif words[:3] == ["python", "-m", "gpt_experiments"]:
            parse_ours(words[3:])
        elif words[0] == "mlflow":
            parse_mlflow(words[1:])
        elif words[0] == "make" and len(words) > 1:
            assert set(words[1:]) <= make_targets()


@pytest.mark.parametrize("page", PAGES)
def test_the_files_that_are_named_exist(page: str) -> None:
    top = {path.name for path in ROOT.iterdir()} - {"mlruns", ".venv"}  # those two are made on the reader's machine
    for token in tokens(page):
        if token.type in ("link_open", "image"):
            target = str(token.attrs["href" if token.type == "link_open" else "src"])
            if "://" not in target:
                path, _, anchor = target.partition("#")
                file = (ROOT / page).parent / path if path else ROOT / page
                assert file.exists(), target
                assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), target
        elif token.type == "code_inline" and token.content.split("/")[0] in top:
            assert (ROOT / token.content).exists(), token.content


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_are_python_and_definitions(page: str, tmp_path: Path) -> None:
    for block in blocks(page, "python"):
        ast.parse(block)
    for block in blocks(page, "yaml"):
        file = tmp_path / "sweep.yaml"
        file.write_text(block, encoding="utf-8")
        assert load_definition(str(file)).name


def promised() -> dict[str, tuple[int, str | None]]:
    """What the README's comment beside `sweep NAME` says: the variants, and the steps where it names them."""
    found = {}
    for page, line in command_lines():
        command, _, comment = line.partition("#")
        match command.split():
            case [*_, "sweep", name] if page == "README.md" and name in SWEEPS and comment:
                size = next(NUMBERS[word] for word in comment.split() if word in NUMBERS)
                steps = re.search(r"([\d,]+) steps", comment)
                found[name] = (size, steps and steps[1])
    return found


@pytest.mark.parametrize("name", SWEEPS)
def test_a_shipped_sweep_plans_the_trials_that_the_readme_promises(
    name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, steps = promised()[name]
    definition = load_definition(name)
    if definition.nuisance:  # what compares the variants follows from what tunes them
        size *= len(settings(definition.nuisance)) * definition.tuning_seeds
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    # Timing a few steps of each size takes minutes, and is tested elsewhere.
    monkeypatch.setattr("gpt_experiments.sweep.dry_run.estimate_seconds", lambda trials, *_: [1.0] * len(trials))

    answer = CliRunner().invoke(program, ["sweep", name, "--dry-run", "--data", "text.txt", "--device", "cpu"])
    assert answer.exit_code == 0, answer.output
    (summary,) = [line for line in answer.output.splitlines() if line.startswith(f"{name}: ")]
    assert summary.startswith(f"{name}: {size} trials of {steps or ''}")
    assert summary.endswith(f" 0 done, {size} to train")
