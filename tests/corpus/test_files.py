"""Texts in files: what is read, what is refused, and that a write leaves a whole file or none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gpt_experiments.corpus.files import read_text, write_whole
from gpt_experiments.errors import CorpusError


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Grüße, 世界 😀\n".encode(), "Grüße, 世界 😀\n"),
        (b"\xef\xbb\xbfwith a mark", "with a mark"),
        (b"one\r\ntwo\rthree\n", "one\ntwo\nthree\n"),
    ],
)
def test_any_utf8_text_is_read(tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / "a.txt").write_bytes(content)

    assert read_text(tmp_path / "a.txt") == text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"caf\xe9 noir", "not UTF-8 text: byte 0xe9 at offset 3 .* save the text as UTF-8"),
        (b"\xef\xbb\xbfcaf\xe9 noir", "not UTF-8 text: byte 0xe9 at offset 6 "),
        (b"\xff rest", "not UTF-8 text: byte 0xff at offset 0 "),
        (b"\xed\xa0\x80 half a character", "not UTF-8 text: byte 0xed at offset 0 "),
        ("text".encode("utf-16"), "UTF-16 text.* save the text as UTF-8"),
        ("text".encode("utf-32"), "UTF-32 text.* save the text as UTF-8"),
        ("text".encode("utf-16-le"), "zero byte at offset 1"),
        (b"PK\x03\x04\0\0", "zero byte at offset 4"),
    ],
)
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.bin").write_bytes(content)

    with pytest.raises(CorpusError, match=f"a.bin .*{reason}"):
        read_text(tmp_path / "a.bin")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"none.txt does not exist; give the path of a UTF-8 text file"):
        read_text(tmp_path / "none.txt")
    with pytest.raises(CorpusError, match="is a folder"):
        read_text(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(CorpusError, match="cannot be read: Not a directory"):
        read_text(tmp_path / "file" / "below.txt")


def test_a_pipe_a_device_and_a_path_that_cannot_be_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(CorpusError, match="is a pipe or a device, not a file; give the path of a UTF-8 text file"):
            read_text(path)
    for name, reason in (("x" * 5000, "File name too long"), ("a\0b", "cannot be read: .*null")):
        with pytest.raises(CorpusError, match=reason) as raised:
            read_text(tmp_path / name)
        assert len(str(raised.value)) < 400


def test_a_file_over_the_largest_size_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "huge.txt").open("wb") as file:
        file.truncate(10**13)  # sparse: it takes no room on the disk
    with pytest.raises(
        CorpusError, match="has 10,000,000,000,000 bytes, but at most 134,217,728 are read; give a part"
    ):
        read_text(tmp_path / "huge.txt")


def test_a_write_makes_the_folder_and_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "text"
    write_whole(path, b"first")
    write_whole(path, b"second")

    assert path.read_bytes() == b"second"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()

    with pytest.raises(OSError, match="taken"):
        write_whole(tmp_path / "taken", b"text")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
