"""Pixels as a PNG file, written for figures: large areas of one colour, and rows that repeat the row above."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_RGBA: Final = 6  # the colour type of PNG's header
_UP: Final = 2  # the filter that stores each byte's difference to the one above it
_LEVEL: Final = 1  # of zlib's 9; with rows that mostly vanish, the higher ones save a hundredth of the bytes
_INCHES_PER_METRE: Final = 1 / 0.0254


def write_png(pixels: NDArray[np.uint8], path: Path, *, dpi: float) -> None:
    """Writes `pixels` (height, width, 4), red, green, blue and opacity. The same pixels give the same bytes.

    After the PNG specification (W3C, third edition). Pillow chooses a filter for each row by trying all of them, which
    takes three times as long, and on figures comes to the same size.
    """
    height, width, _ = pixels.shape
    rows = pixels.reshape(height, width * 4)
    filtered = np.empty((height, 1 + width * 4), dtype=np.uint8)  # before each row stands its filter
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])  # modulo 256, as the specification wants it
    per_metre = round(dpi * _INCHES_PER_METRE)
    path.write_bytes(
        _SIGNATURE
        + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _RGBA, 0, 0, 0))
        + _chunk(b"pHYs", struct.pack(">IIB", per_metre, per_metre, 1))
        + _chunk(b"IDAT", zlib.compress(filtered.data, _LEVEL))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
