"""What a run keeps of code that differs from its commit, in a real git checkout and a real store."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

import gpt_experiments
from gpt_experiments import names
from gpt_experiments.tracking import Store
from gpt_experiments.tracking.checkout import Checkout, Uncommitted, checkout_of
from gpt_experiments.tracking.parent_run import WantedSweep, open_sweep

SWEEP = WantedSweep(name="grid", key="key", planned="plan", params={}, notes={})
DIRTY = "mlflow.source.git.dirty"


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=someone", "-c", "user.email=someone@example.org")
    done = subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of two modules, below the top of a checkout without changes."""
    folder = tmp_path / "checkout" / "package"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "model.py").write_text("scale = 1\nbias = 2\n")
    (folder.parent / ".gitignore").write_text("*.cache\n")
    (folder.parent / "notes.txt").write_text("of no concern\n")
    git(folder.parent, "init", "-q", "-b", "main")
    git(folder.parent, "add", ".")
    git(folder.parent, "commit", "-q", "-m", "first")
    return folder


def found(package: Path) -> Checkout:
    checkout = checkout_of(package)
    checkout_of.cache_clear()
    assert checkout is not None
    return checkout


def changes(package: Path) -> Uncommitted:
    uncommitted = found(package).uncommitted
    assert uncommitted is not None
    return uncommitted


def test_a_clean_checkout_has_a_commit_and_nothing_else(package: Path) -> None:
    (package.parent / "notes.txt").write_text("changed, but no code\n")
    (package / "model.cache").write_text("ignored")
    commit = git(package, "rev-parse", "HEAD").strip()
    assert found(package) == Checkout(commit=commit, branch="main", is_dirty=False, uncommitted=None)


def test_a_package_that_no_checkout_tracks_has_none(package: Path) -> None:
    installed = package.parent / "site-packages"
    installed.mkdir()
    (installed / "__init__.py").write_text("")
    assert checkout_of(installed) is None


def test_the_text_can_be_applied_to_the_commit_and_gives_the_code_again(package: Path) -> None:
    (package / "model.py").write_text("scale = 1 \nbias = 3")
    (package / "deleted.py").write_text("x = 1\n")
    git(package, "add", ".")
    git(package, "commit", "-q", "-m", "second")
    (package / "model.py").write_text("scale = 4\nbias = 3\n")
    (package / "deleted.py").unlink()
    (package / "new.py").write_text("y = 1\n\nz = 2")
    (package / "staged.py").write_text("s = 1\n")
    git(package, "add", "staged.py")
    git(package, "config", "diff.noprefix", "true")  # a user's own taste

    kept = changes(package)
    assert kept.digest == hashlib.sha256(kept.text.encode()).hexdigest()
    assert kept.file == f"uncommitted/{kept.digest[:12]}.diff"

    again = package.parent.with_name("again")
    git(package.parent, "clone", "-q", ".", str(again))
    (again.parent / "kept.diff").write_text(kept.text)
    git(again, "apply", str(again.parent / "kept.diff"))
    theirs = {path.name: path.read_bytes() for path in package.iterdir()}
    assert {path.name: path.read_bytes() for path in (again / "package").iterdir()} == theirs


def test_another_change_has_another_digest(package: Path) -> None:
    (package / "model.py").write_text("scale = 2\n")
    first = changes(package).digest
    (package / "new.py").write_text("x = 1\n")
    assert changes(package).digest != first
    (package / "new.py").unlink()
    assert changes(package).digest == first


def test_secrets_are_not_kept(package: Path) -> None:
    (package / "model.py").write_text('url = "postgresql://me:hunter2@host/db"\napi_key = "sk-0123456789"\nn = 1\n')
    (package / ".env").write_text("TOKEN=0123456789\n")
    (package / "weights.bin").write_bytes(b"\0" * 50)
    text = changes(package).text
    for secret in ("hunter2", "sk-0123456789", "0123456789"):
        assert secret not in text
    assert "+n = 1" in text
    assert "package/weights.bin" in text
    assert "its 50 bytes are not kept" in text


def test_a_very_long_change_is_cut(package: Path) -> None:
    (package / "model.py").write_text("".join(f"x{i} = {i}\n" for i in range(100_000)))
    first = changes(package)
    assert len(first.text) < 1_001_000
    assert first.text.endswith(" more characters are left out\n")
    with (package / "model.py").open("a") as file:
        file.write("y = 1\n")
    assert changes(package).digest != first.digest


def artifacts(store: Store, run_id: str) -> list[str]:
    return [file.path for file in store.client.list_artifacts(run_id, names.UNCOMMITTED_FOLDER)]


def test_each_run_says_which_change_and_the_sweeps_run_keeps_its_text(
    package: Path, store_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpt_experiments, "__file__", str(package / "__init__.py"))
    (package / "model.py").write_text("scale = 2\n")
    store, first = Store(store_uri), changes(package)
    parent = open_sweep(store, SWEEP)
    trial = store.start_run(kind="trial", run_name="x", params={}, parent_run_id=parent.run_id)
    alone = store.start_run(kind="trial", run_name="x", params={})
    for run_id in (parent.run_id, trial.run_id, alone.run_id):
        assert store.client.get_run(run_id).data.tags[names.UNCOMMITTED] == first.digest
    assert [artifacts(store, run.run_id) for run in (parent, trial, alone)] == [[first.file], [], [first.file]]
    path = store.client.download_artifacts(parent.run_id, first.file)
    assert Path(path).read_text() == first.text

    checkout_of.cache_clear()
    (package / "model.py").write_text("scale = 3\n")
    second = changes(package)
    open_sweep(store, SWEEP)
    assert set(artifacts(store, parent.run_id)) == {first.file, second.file}

    checkout_of.cache_clear()
    git(package, "checkout", "-q", ".")
    open_sweep(store, SWEEP)
    tags = store.client.get_run(parent.run_id).data.tags
    checkout_of.cache_clear()
    assert tags[DIRTY] == "false"
    assert names.UNCOMMITTED not in tags
