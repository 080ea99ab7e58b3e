"""What people give in place of a file of weights, known by its first bytes, and what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from gpt_experiments.corpus.files import file_problem
from gpt_experiments.errors import CheckpointError, shortened

MAX_WEIGHT_BYTES: Final = 4 * 2**30
"""The largest file of weights made elsewhere that is read: a thousand million weights, far beyond what is studied."""

_SAVE: Final = "save the weights with torch.save(model.state_dict(), path)"
_GIVE: Final = "give the file of weights itself"

_KINDS: Final[tuple[tuple[bytes, str, str], ...]] = (
    (b"version https://git-lfs", "a Git LFS pointer, not the weights", "fetch them with `git lfs pull`"),
    (b"<", "a web page, not the weights", "download the file itself, from the page's Download or Raw link"),
    (b"GIF8", "a picture", _GIVE),
    (b"\x89PNG", "a picture", _GIVE),
    (b"\xff\xd8\xff", "a picture", _GIVE),
    (b"%PDF", "a PDF document", _GIVE),
    (b"\x1f\x8b", "compressed (gzip)", "unpack it with gunzip first"),
    (b"BZh", "compressed (bzip2)", "unpack it with bunzip2 first"),
    (b"\xfd7zXZ", "compressed (xz)", "unpack it with unxz first"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it first"),
    (b"Rar!", "a RAR archive", "unpack it first"),
    (b"SQLite format 3", "a database", "give the id of one of its runs, and the database with --tracking-uri"),
    (b"\x89HDF", "an HDF5 file, as Keras writes", _SAVE),
    (b"\x93NUMPY", "a NumPy array", _SAVE),
    (b"GGUF", "a GGUF file", _SAVE),
    (b"{", "JSON text, not the weights", "give the checkpoint's folder, or the file of weights beside it"),
)
_TAR_MARK: Final = slice(257, 262)


def require_weight_file(path: Path) -> bytes:
    """The first bytes of the file at `path`, which may hold weights as far as its kind and size say.

    Raises:
        CheckpointError: it is missing, no regular file, not readable, empty, too large, or of a kind that is known
            to be something else; the message says which, and what to do.
    """
    where, problem = shortened(path), file_problem(path, MAX_WEIGHT_BYTES)
    if problem == "does not exist":
        raise CheckpointError(f"no file of weights at {where}; give the path of a state dict saved as .pth")
    if problem is not None:
        remedy = "copy or download it again" if problem == "is empty" else "give a file of weights that may be read"
        if problem.startswith("has "):
            remedy = "save the weights alone, without the optimizer's state"
        raise CheckpointError(f"{where} {problem}; {remedy}")
    return refuse_other_kinds(path)


def refuse_other_kinds(path: Path) -> bytes:
    """The first bytes of the file at `path`, of which a CheckpointError says if they begin another kind of file."""
    where, size = shortened(path), path.stat().st_size
    with path.open("rb") as file:
        head = file.read(1024)
    if is_safetensors(head, size):  # which begins with a number, and so perhaps as another kind does
        return head
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for begins, what, remedy in _KINDS:
        if text.startswith(begins):
            raise CheckpointError(f"{where} is {what}; {remedy}")
    if head[_TAR_MARK] == b"ustar":
        raise CheckpointError(f"{where} is a tar archive; unpack it first, or {_SAVE}")
    return head


def is_safetensors(head: bytes, size: int) -> bool:
    """Whether a file of `size` bytes that begins with `head` is one of safetensors: a length, and JSON text so long."""
    return head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= size - 8
