"""Bytes as they are after an accident, and values as nobody would write them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from random import Random
from typing import Any, Final

ODD_VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 12, 255, 2**31 - 1, 2**31, 2**63, 10**12, 10**400, -(10**30)),
    *(0.0, 0.5, 1e308, 1e-320, float("nan"), float("inf"), "", "n_embed", "0", "\0", "ab", "aa", "x" * 5000, "\ud800"),
    *([], {}, [1, 2], {"a": 1}, [[[[]]]], {"variant": {}}),
)
_EXTREME_BYTES: Final = (b"\xff\xff\xff\x7f", b"\xff" * 8, b"\0" * 8, b"\x80", b"J\xff\xff\xff\x7f", b"PK\x03\x04")
BEGINNINGS: Final = (
    *(b"", b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", b"\x80\x02", b"\x80\x04\x95", b"GIF89a"),
    *(b"\x20\0\0\0\0\0\0\0{", b"version https://git-lfs", b"<html>", b"{", b"\x1f\x8b", b"\xef\xbb\xbf", b"\xff\xfe"),
)


def mutated(content: bytes, random: Random, *, reach: int | None = None) -> bytes:
    """The bytes with one to eight changes, in the first `reach` bytes where that is given."""
    changed = bytearray(content)
    for _ in range(random.randint(1, 8)):
        end = min(len(changed), reach or len(changed))
        at = random.randrange(end + 1)
        length = random.choice((1, 1, 1, 2, 8, 60))
        match random.randrange(6):
            case 0 if at < end:
                changed[at] ^= 1 << random.randrange(8)
            case 1:
                changed[at : at + length] = random.randbytes(length)
            case 2:
                del changed[at : at + length]
            case 3:
                changed[at:at] = changed[at : at + length]
            case 4:
                extreme = random.choice(_EXTREME_BYTES)
                changed[at : at + len(extreme)] = extreme
            case _:
                other = random.randrange(end + 1)
                changed[at : at + length] = changed[other : other + length]
    return bytes(changed)


def mutated_archive(content: bytes, random: Random) -> bytes:
    """A zip file with changes inside its records, and checksums that fit them."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as whole, zipfile.ZipFile(packed, "w") as changed:
        names = whole.namelist()
        struck = {names[0], random.choice(names)} if random.random() < 0.8 else {random.choice(names)}
        for name in names:
            record = whole.read(name)
            if random.random() > 0.02:  # else it is left out
                changed.writestr(name, mutated(record, random) if name in struck else record)
    return packed.getvalue()


def truncated(content: bytes, random: Random) -> bytes:
    return content[: random.randrange(len(content))]


def noise(random: Random) -> bytes:
    """Random bytes, often behind the beginning of a known kind of file."""
    return random.choice(BEGINNINGS) + random.randbytes(random.choice((0, 1, 10, 100, 4000)))


def with_odd_value(described: Any, random: Random, values: Sequence[Any] = ODD_VALUES) -> Any:
    """A nested value with one of its parts replaced, left out or added."""
    if not isinstance(described, dict) or not described or random.random() < 0.02:
        return random.choice(values)
    changed, name = dict(described), random.choice(list(described))
    match random.randrange(12):
        case 0:
            del changed[name]
        case 1:
            changed[str(random.choice(values))] = random.choice(values)
        case _:
            changed[name] = with_odd_value(described[name], random, values)
    return changed
