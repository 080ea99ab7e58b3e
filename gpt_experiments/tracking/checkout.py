"""The git checkout that the code runs from: its commit, and what the code differs in from it."""

from __future__ import annotations

import hashlib
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from gpt_experiments import names
from gpt_experiments.errors import without_secrets

_MOST_CHARACTERS: Final = 1_000_000  # of a text that is kept
_MOST_BYTES_NEW: Final = 200_000  # of a new file whose text is kept
_CODE: Final = (".py", ".pyi", ".jinja", ".css", ".js", ".yaml", ".md")
"""What a new file of the package may end with for its text to be kept; another one may hold anything."""
_PLAIN_DIFF: Final = ("--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/")
_SECRET: Final = re.compile(
    r"""(?i)((?:password|passwd|secret|token|api_?key|credentials?)["']?\s*[:=]\s*)(["'])[^"'\s]{6,}\2"""
)


@dataclass(frozen=True, kw_only=True)
class Uncommitted:
    """What the code differs in from its commit, as `git diff` shows it, without secrets.

    Attributes:
        digest: SHA-256 of the whole text, hexadecimal.
        text: the text, of a very long one the beginning.
    """

    digest: str
    text: str

    @property
    def file(self) -> str:
        """The artifact that keeps the text."""
        return f"{names.UNCOMMITTED_FOLDER}/{self.digest[:12]}.diff"


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """A checkout that tracks the code.

    Attributes:
        is_dirty: whether a file of the code is changed, new or deleted.
        uncommitted: in what; None where nothing is, or git does not say.
    """

    commit: str
    branch: str
    is_dirty: bool
    uncommitted: Uncommitted | None


@cache
def checkout_of(folder: Path) -> Checkout | None:
    """The checkout that tracks the package in `folder`; None for one that was installed from a wheel.

    It is read once in a process: what was imported then stays, whatever becomes of the files.
    """
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit, branch = _git(folder, "rev-parse", "HEAD"), _git(folder, "rev-parse", "--abbrev-ref", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--", ".")
    if commit is None or changes is None:
        return None
    return Checkout(
        commit=commit.strip(),
        branch=(branch or "").strip(),
        is_dirty=bool(changes),
        uncommitted=_uncommitted(folder) if changes else None,
    )


def _uncommitted(folder: Path) -> Uncommitted | None:
    changed = _git(folder, "diff", "HEAD", *_PLAIN_DIFF, "--", ".")
    top, new = _git(folder, "rev-parse", "--show-toplevel"), _git(folder, "ls-files", "-o", "--exclude-standard", "-z")
    if changed is None or top is None or new is None:
        return None
    above = folder.resolve().relative_to(Path(top.strip()).resolve())
    files = sorted(filter(None, new.split("\0")))
    text = changed + "".join(_new_file(folder / name, (above / name).as_posix()) for name in files)
    text = _SECRET.sub(r"\1\2***\2", without_secrets(text))
    if not text:
        return None
    digest = hashlib.sha256(text.encode()).hexdigest()
    if len(text) > _MOST_CHARACTERS:
        text = f"{text[:_MOST_CHARACTERS]}\n... {len(text) - _MOST_CHARACTERS:,} more characters are left out\n"
    return Uncommitted(digest=digest, text=text)


def _new_file(path: Path, name: str) -> str:
    """A file that git does not know yet, in the form of a diff; of one that may be no code, only its name and size."""
    try:
        size = path.lstat().st_size
        is_code = path.suffix in _CODE and not path.is_symlink() and size <= _MOST_BYTES_NEW
        text = path.read_text(encoding="utf-8") if is_code else None
    except (OSError, UnicodeDecodeError):
        size, text = 0, None
    head = f"diff --git a/{name} b/{name}\nnew file mode 100644\n"
    if text is None:
        return f"{head}(its {size:,} bytes are not kept)\n"
    if not text:
        return head
    lines = text.split("\n")
    ending = "" if lines[-1] == "" else "\n\\ No newline at end of file"
    lines = lines[:-1] if lines[-1] == "" else lines
    body = "\n".join(f"+{line}" for line in lines)
    return f"{head}--- /dev/null\n+++ b/{name}\n@@ -0,0 +1,{len(lines)} @@\n{body}{ending}\n"


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, or None if git or the checkout is missing."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            timeout=10,
            check=True,
            encoding="utf-8",
            errors="replace",
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
