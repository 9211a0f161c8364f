"""What the destination has under whatever name is copied there, and not sent."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import Command, MakeWay, Way, assert_copied
from tests.fs.roots import settle
from tests.trees import Literal, make, noise, rsync_differences

SMALL = 5000
LARGE = 1_500_000


def _tree() -> dict[str, Literal]:
    small: dict[str, Literal] = {f"f{each}": noise(SMALL + each, seed=each) for each in range(40)}
    return {"d": {**small, "large": noise(LARGE)}, "tiny": {"a": b"a", "b": b"b"}}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tree whose files may be believed."""
    make(tmp_path / "src", _tree())
    settle()
    return tmp_path / "src"


def test_without_delete_a_renamed_directory_is_copied_locally(
    syncron: Command, way: Way, source: Path, tmp_path: Path
) -> None:
    destination = tmp_path / "dst"
    syncron.ok(*way.words(source, destination))
    os.rename(source / "d", source / "e")
    summary = syncron.ok(*way.words(source, destination))
    assert rsync_differences(source, destination, "--exclude=/d") == []
    assert (destination / "d/large").stat().st_size == LARGE
    assert summary["bytes_transferred"] == 0
    assert summary["bytes_sent"] + summary["bytes_received"] < 60_000


@pytest.mark.parametrize("names", [("f1", "f2"), ("f1", "f2", "f3"), ("f1", "large")])
def test_names_that_were_exchanged(
    syncron: Command, make_way: MakeWay, source: Path, tmp_path: Path, names: tuple[str, ...]
) -> None:
    way = make_way("push-installed")
    destination = tmp_path / "dst"
    make(source / "other", {"large": noise(LARGE, seed=99)})
    settle()
    syncron.ok("--delete", *way.words(source, destination))
    paths = [source / "d" / name for name in names]
    os.rename(paths[0], source / "aside")
    for old, new in zip(paths[1:], paths):
        os.rename(old, new)
    os.rename(source / "aside", paths[-1])
    # Two large ones of one size, too.
    os.rename(source / "d" / "large", source / "aside")
    os.rename(source / "other/large", source / "d/large")
    os.rename(source / "aside", source / "other/large")
    summary = syncron.ok("--delete", *way.words(source, destination))
    assert_copied(source, destination)
    assert summary["bytes_transferred"] == 0
    again = syncron.ok("--delete", *way.words(source, destination))
    assert (again["bytes_hashed"], again["changed"]) == (0, 0)


def test_a_chain_of_names(syncron: Command, source: Path, tmp_path: Path) -> None:
    destination = tmp_path / "dst"
    syncron.ok("--delete", str(source), str(destination))
    for number in reversed(range(40)):
        os.rename(source / f"d/f{number}", source / f"d/f{number + 1}")
    summary = syncron.ok("--delete", str(source), str(destination))
    assert_copied(source, destination)
    assert summary["bytes_transferred"] == 0


def test_content_that_is_there_several_times_crosses_once(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    large, small = noise(LARGE), noise(SMALL)
    tree: dict[str, Literal] = {f"large{number}": large for number in range(3)}
    tree.update({f"d{number}": {"small": small, "same": small} for number in range(20)})
    make(source, {**tree, "deep": {"er": dict(tree)}})
    settle()
    summary = syncron.ok(*way.words(source, destination))
    assert_copied(source, destination)
    assert summary["bytes_transferred"] == LARGE + SMALL
    again = syncron.ok(*way.words(source, destination))
    assert again["bytes_hashed"] == 0


def test_copies_of_what_is_there(syncron: Command, source: Path, tmp_path: Path) -> None:
    destination = tmp_path / "dst"
    syncron.ok(str(source), str(destination))
    shutil.copytree(source / "d", source / "copy")
    shutil.copy(source / "d/large", source / "d/f7")  # changed, to what another file is
    settle()
    summary = syncron.ok(str(source), str(destination))
    assert_copied(source, destination)
    assert summary["bytes_transferred"] == 0


def test_an_interrupted_transfer_goes_on_after_a_rename(
    syncron: Command, make_way: MakeWay, tmp_path: Path
) -> None:
    way = make_way("push-installed")
    source, destination = tmp_path / "src", tmp_path / "dst"
    content = noise(20 << 20)
    small = {f"f{number}": noise(20_000, seed=number) for number in range(200)}
    make(source, {"small": small, "file": content})
    settle()
    killed = syncron.start(*way.words(source, destination))
    staging = destination / ".syncron"
    while killed.poll() is None:
        sizes = [path.stat().st_size for path in staging.glob("n*") if path.is_file()]
        if sizes and max(sizes) > 5 << 20:
            killed.kill()
    syncron.end(killed)
    done = max(path.stat().st_size for path in staging.glob("n*") if path.is_file())
    os.rename(source / "file", source / "renamed")
    os.rename(source / "small", source / "little")
    summary = syncron.ok("--lock-wait=20", "--delete", *way.words(source, destination))
    assert_copied(source, destination)
    assert summary["bytes_transferred"] <= (len(content) - done) * 1.05
