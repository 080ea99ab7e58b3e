"""What a person installs: the wheel, the source archive, the declared dependencies and the pinned set."""

from __future__ import annotations

import ast
import configparser
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("gpt_experiments/**/*.py"))
TEMPLATES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in ROOT.glob("gpt_experiments/**/*")
    if path.suffix in {".jinja", ".css", ".js"}
)
READMES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("gpt_experiments/**/*.md"))
DEFINITIONS = sorted(path.name for path in ROOT.glob("sweeps/*.yaml"))


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source archive; the wheel is built from the archive."""
    source, dist = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("gpt_experiments", "sweeps", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(dist), str(source)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return dist


@pytest.fixture(scope="module")
def installed_wheel(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files as an installation lays them out."""
    site = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    return site


def test_the_wheel_holds_modules_templates_readmes_and_definitions_and_nothing_else(installed_wheel: Path) -> None:
    files = [path.relative_to(installed_wheel) for path in installed_wheel.rglob("*") if path.is_file()]
    shipped = sorted(path.as_posix() for path in files if not path.parts[0].endswith(".dist-info"))
    elsewhere = [f"gpt_experiments/definitions/{name}" for name in DEFINITIONS]
    elsewhere.append("gpt_experiments/reference/plain_gpt.py")
    assert shipped == sorted(MODULES + TEMPLATES + READMES + elsewhere)
    for name in DEFINITIONS:
        in_wheel = installed_wheel / "gpt_experiments" / "definitions" / name
        assert in_wheel.read_bytes() == (ROOT / "sweeps" / name).read_bytes()


def test_the_source_archive_holds_all_that_a_wheel_is_built_from(dist: Path) -> None:
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= {
        *MODULES,
        *TEMPLATES,
        *READMES,
        *(f"sweeps/{name}" for name in DEFINITIONS),
        "setup.cfg",
        "pyproject.toml",
        "LICENSE",
    }


@pytest.mark.slow
@pytest.mark.parametrize("installation", ["wheel", "checkout"])
def test_the_shipped_definitions_are_found_from_an_empty_directory(
    installation: str, installed_wheel: Path, text: str, tmp_path: Path
) -> None:
    (tmp_path / "corpus.txt").write_text(text, encoding="utf-8")
    empty = tmp_path / "empty"
    empty.mkdir()
    answer = subprocess.run(
        [sys.executable, "-m", "gpt_experiments", "sweep", "quick", "--dry-run", "--data", "../corpus.txt"],
        cwd=empty,
        env={**os.environ, "PYTHONPATH": str(installed_wheel if installation == "wheel" else ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    for label in ("baseline", "n_head=8", "n_layer=1", "n_embed=128", "dropout=0.3", "block_size=256"):
        assert label in answer.stdout


def requirements(*extras: str) -> list[Requirement]:
    """What setup.cfg asks for, and with which of its extras."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    texts = [settings["options"]["install_requires"]]
    texts += [settings["options.extras_require"][extra] for extra in extras]
    return [Requirement(line) for text in texts for line in text.split("\n") if line]


def test_every_dependency_is_pinned_to_a_version_in_its_range() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = [Requirement(line) for line in lines if not line.startswith("#")]
    versions = {}
    for pin in pinned:
        (exact,) = pin.specifier
        assert exact.operator == "=="
        versions[canonicalize_name(pin.name)] = Version(exact.version)
    for requirement in requirements("dev", "ray"):
        assert versions[canonicalize_name(requirement.name)] in requirement.specifier, requirement
    # PyTorch's CUDA packages, and its CPU build's local version, would bind every machine to one kind of device.
    # nvidia-ml-py is none of them: it is a few modules that ask a driver, where there is one.
    bound = {name for name in versions if name.startswith(("nvidia", "cuda", "triton"))} - {"nvidia-ml-py"}
    assert bound == set()
    assert not [name for name, version in versions.items() if version.local]


def test_every_package_that_is_imported_is_declared() -> None:
    imported: set[str] = set()
    for path in MODULES:
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
    foreign = imported - set(sys.stdlib_module_names) - {"gpt_experiments"}
    declared = {canonicalize_name(requirement.name) for requirement in requirements("ray")}
    providers = packages_distributions()
    undeclared = {
        name for name in foreign if not declared & {canonicalize_name(provider) for provider in providers[name]}
    }
    assert not undeclared
