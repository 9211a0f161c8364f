"""Symlinks that stand for directories: where they lead is decided once, and never leads out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncron_lib.fs import dirlinks
from syncron_lib.fs.directories import Directories
from tests.trees import Link, make


@pytest.fixture
def directories(tmp_path: Path) -> Iterator[Directories]:
    make(tmp_path / "outside", {"f": b"precious"})
    deep = {"c": {"f": b"1"}}
    make(tmp_path / "root", {"a": {"b": deep}, "to": Link(b"a/b"), "out": Link(b"../outside")})
    found = Directories(os.open(tmp_path / "root", os.O_RDONLY))
    yield found
    found.close()
    os.close(found.root_fd)


def test_it_leads_to_a_path_without_symlinks(directories: Directories, tmp_path: Path) -> None:
    os.symlink("../to/./c", tmp_path / "root/a/round")
    assert dirlinks.enter(directories, b"a/round")
    assert directories.entered == {b"a/round": b"a/b/c"}
    assert os.listdir(directories.open(b"a/round")) == ["f"]


@pytest.mark.parametrize("what", ["component", "top", "link"])
def test_what_is_another_by_then_is_not_walked(
    directories: Directories, tmp_path: Path, what: str
) -> None:
    root = tmp_path / "root"
    assert dirlinks.enter(directories, b"to")
    if what == "link":  # what it was read as holds
        (root / "to").unlink()
        (root / "to").symlink_to("../outside")
        assert os.listdir(directories.open(b"to")) == ["c"]
        return
    place = root / ("a/b" if what == "component" else "a")
    place.rename(root / "aside")
    place.symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match=r"Not a directory|Too many"):
        directories.open(b"to")


@pytest.mark.parametrize(
    "target", [b"../../outside", b"/", b"../out", b"b/../../../outside", b"", b".."]
)
def test_it_never_leads_out(directories: Directories, tmp_path: Path, target: bytes) -> None:
    place = b"a/link"
    if target:
        os.symlink(target, tmp_path / "root/a/link")
    else:
        place = b".."
    with pytest.raises(dirlinks.NotFollowed):
        dirlinks.enter(directories, place)
    assert not directories.entered


@pytest.mark.parametrize("target", [b".syncron", b"a/../.syncron/x"])
def test_it_does_not_lead_into_staging(
    directories: Directories, tmp_path: Path, target: bytes
) -> None:
    make(tmp_path / "root/.syncron", {"x": {}})
    os.symlink(target, tmp_path / "root/link")
    with pytest.raises(dirlinks.NotFollowed):
        dirlinks.enter(directories, b"link")


def test_loops_lead_nowhere(directories: Directories, tmp_path: Path) -> None:
    os.symlink("loop", tmp_path / "root/loop")
    os.symlink("a/b/none", tmp_path / "root/none")
    assert not dirlinks.enter(directories, b"loop")
    assert not dirlinks.enter(directories, b"none")


def test_paths_of_one_directory_are_found() -> None:
    entered = {b"lib": b"usr/lib", b"x": b"store/1", b"y": b"store/1/deep", b"z": b"store/2"}
    there = [b"", b"usr", b"usr/lib", b"store"]
    assert sorted(dirlinks.doubled(entered, there)) == [(b"lib", b"usr/lib"), (b"y", b"x")]
