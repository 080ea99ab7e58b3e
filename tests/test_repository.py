"""The files that a hosting service and contributors' tools read: they parse, and they run what the Makefile runs."""

from __future__ import annotations

import configparser
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
YAML_FILES = [ROOT / ".pre-commit-config.yaml", *sorted(ROOT.glob(".github/**/*.yml"))]


def read(path: Path) -> Any:
    """The content by the rules of YAML 1.2, by which `on` is a text; a key that stands twice is an error."""
    return YAML(typ="safe").load(path)


def lint_commands() -> list[list[str]]:
    """What `make lint` runs."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = re.search(r"^lint:.*\n((?:\t.+\n)+)", makefile, re.MULTILINE)
    assert recipe is not None
    expanded = recipe[1].replace("$(VENV_PYTHON)", "$(VENV)/bin/python").replace("$(VENV)", ".venv")
    return [shlex.split(line) for line in expanded.splitlines()]


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: path.name)
def test_every_yaml_file_parses(path: Path) -> None:
    assert isinstance(read(path), dict)


def test_the_hooks_run_what_make_lint_runs() -> None:
    (repository,) = read(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    assert [shlex.split(hook["entry"]) for hook in repository["hooks"]] == lint_commands()
    for hook in repository["hooks"]:
        assert (hook["language"], hook["pass_filenames"]) == ("system", False), "each checks the whole tree from .venv"
        assert [name for name in ("config.py", "setup.cfg", "README.md") if re.search(hook["files"], name)] == [
            "config.py",
            "setup.cfg",
        ]


def test_the_workflow_runs_the_whole_check_on_every_supported_python() -> None:
    workflow = read(ROOT / ".github" / "workflows" / "ci.yml")
    assert set(workflow["on"]) == {"push", "pull_request"}
    (job,) = workflow["jobs"].values()
    assert job["runs-on"].startswith("ubuntu-")
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    classifiers = re.findall(r"Python :: (3\.\d+)$", settings["metadata"]["classifiers"], re.MULTILINE)
    assert job["strategy"]["matrix"]["python"] == classifiers
    assert job["steps"][-1]["run"] == ".ci/run"
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


@pytest.mark.parametrize("path", sorted(ROOT.glob(".github/ISSUE_TEMPLATE/*.yml")), ids=lambda path: path.stem)
def test_an_issue_form_asks_labelled_questions(path: Path) -> None:
    form = read(path)
    assert form["name"]
    assert form["description"]
    assert all(field["type"] in ("input", "textarea") and field["attributes"]["label"] for field in form["body"])
    assert len({field["id"] for field in form["body"]}) == len(form["body"])
    assert any(field["validations"]["required"] for field in form["body"] if "validations" in field)
