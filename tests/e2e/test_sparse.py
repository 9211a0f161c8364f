"""``--sparse``: zeros of files that are made anew take no room, whichever way they come."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.conftest import Command, MakeWay, Way, assert_copied
from tests.fs.roots import settle
from tests.trees import Literal, make, noise

MEGABYTE = 1 << 20
PAGE = 4096


@pytest.fixture(params=["local", "push-installed"])
def way(request: pytest.FixtureRequest, make_way: MakeWay) -> Way:
    return make_way(request.param)


def room(path: Path) -> int:
    """Bytes on the disk."""
    os.sync()  # or some file systems have not decided yet
    return path.stat().st_blocks * 512


def image(size: int, *places: int) -> bytes:
    """Zeros with a little noise here and there."""
    data = bytearray(size)
    for place in places:
        data[place : place + 100] = noise(100, place)
    return bytes(data)


def test_zeros_take_no_room(syncron: Command, way: Way, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    tree: dict[str, Literal] = {
        "large": image(8 * MEGABYTE, 0, 3 * MEGABYTE, 8 * MEGABYTE - 100),
        "ends in a hole": image(3 * MEGABYTE + 77, MEGABYTE + 5),
        "nothing but a hole": bytes(2 * MEGABYTE),
        "d": {"small": image(100_000, 50_000), "nothing": bytes(50_000), "tiny": b"\0" * 9},
        "full": noise(MEGABYTE),
    }
    make(source, tree)
    words = way.words(source, destination)
    syncron.ok("-S", *words)
    assert_copied(source, destination)
    most = {"large": 4, "ends in a hole": 2, "nothing but a hole": 1, "d/small": 2, "d/nothing": 1}
    for name, pages in most.items():
        # A file system may keep more than one page at once.
        assert room(destination / name) <= 4 * pages * PAGE, name
    # Edited, by what is missing of it; and content that is there under another name.
    with (source / "large").open("r+b") as file:
        file.seek(5 * MEGABYTE)
        file.write(noise(100, 9))
    (source / "again").write_bytes((source / "ends in a hole").read_bytes())
    (source / "d/again").write_bytes((source / "d/small").read_bytes())
    settle()
    syncron.ok("-S", "--no-whole-file", *words)
    assert_copied(source, destination)
    for name in ("large", "again", "d/again"):
        assert room(destination / name) <= 20 * PAGE, name
    # The control: without it they do.
    (source / "large").rename(source / "larger")
    syncron.ok(*way.words(source, tmp_path / "full"))
    assert room(tmp_path / "full/larger") >= 7 * MEGABYTE


@pytest.mark.parametrize("options", ["--preallocate", "-S --preallocate"])
def test_room_is_taken_for_files(syncron: Command, way: Way, tmp_path: Path, options: str) -> None:
    source, destination, before = tmp_path / "src", tmp_path / "dst", tmp_path / "before"
    tree: dict[str, Literal] = {
        "large": image(8 * MEGABYTE, 0, 3 * MEGABYTE, 8 * MEGABYTE - 100),
        "d": {"small": image(100_000, 50_000), "empty": b"", "tiny": b"\0" * 9},
        "full": noise(MEGABYTE),
    }
    make(source, tree)
    words = way.words(source, destination)
    syncron.ok(*options.split(), *words)
    assert_copied(source, destination)
    holes = "-S" in options.split()
    assert (room(destination / "large") < MEGABYTE) == holes
    assert (room(destination / "d/small") < 50_000) == holes
    # What is changed by parts, and what is written in place.
    make(before, {"large": b"short"})
    with (source / "large").open("r+b") as file:
        file.seek(5 * MEGABYTE)
        file.write(noise(100, 9))
    settle()
    syncron.ok(*options.split(), "--no-whole-file", *words)
    assert_copied(source, destination)
    assert (room(destination / "large") < MEGABYTE) == holes
    syncron.ok(*options.split(), "--inplace", "--delete", *way.words(source, before))
    assert_copied(source, before)
