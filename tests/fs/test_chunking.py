"""Cuts depend on content alone; the lists of files, kept and told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncron_lib.core.chunks import FASTCDC, FIXED, MARK, ChunkList
from syncron_lib.fs import chunking
from syncron_lib.fs.chunking import Cutter
from syncron_lib.fs.hashing import Changed
from tests.core.edits import EDITS, Edit, edited, noise
from tests.fs.roots import XXH3

OLD = noise(600_000) + bytes(300_000) + noise(300_000, 2)


def cut(data: bytes, chunker: str = FASTCDC, expected: ChunkList | None = None) -> Cutter:
    """All of ``data``, cut."""
    fd = os.memfd_create("data")
    try:
        os.write(fd, data)
        cutter = Cutter(fd, len(data), chunker, 4096, XXH3)
        if expected is not None:
            cutter.expect(expected.sizes, bytes(expected.marks))
        cutter.advance(len(data))
        return cutter
    finally:
        os.close(fd)


def is_list_of(chunks: ChunkList, data: bytes) -> bool:
    """Whether these chunks, one after the other, are ``data``."""
    place = 0
    for mark, size in chunks.named():
        if XXH3.of(data[place : place + size])[:MARK] != mark:
            return False
        place += size
    return place == len(data)


def test_pyfastcdc_is_here() -> None:
    assert chunking.available() == [FASTCDC, FIXED]


@given(EDITS, st.sampled_from([FASTCDC, FIXED]))
def test_chunks_are_the_file_whatever_is_expected(edits: list[Edit], chunker: str) -> None:
    data = edited(OLD, edits)
    cutter = cut(data, chunker, cut(OLD, chunker).chunks)
    assert is_list_of(cutter.chunks, data)
    assert cutter.digest() == XXH3.of(data)
    assert max(cutter.chunks.sizes, default=0) <= 4 * 4096


@pytest.mark.parametrize("buffer", [1, 4096, 10_007])
def test_cuts_do_not_depend_on_how_it_was_read(
    buffer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = noise(200_000)
    whole = cut(data)
    monkeypatch.setattr(chunking, "_BUFFER", buffer)
    assert list(cut(data).chunks.named()) == list(whole.chunks.named())


def test_a_file_that_became_shorter_is_no_list(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    with open(path, "rb") as file:
        cutter = Cutter(file.fileno(), len(OLD) + 1, FASTCDC, 4096, XXH3)
        with pytest.raises(Changed):
            cutter.advance(len(OLD) + 1)
