"""What was renamed at the source is renamed at the destination, and not sent."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import Command, MakeWay, Way, assert_copied
from tests.fs.roots import settle
from tests.trees import Literal, directory, make, noise, rsync_differences

LARGE = 1 << 20
DIRECTORIES = 20


def _tree() -> dict[str, Literal]:
    return {
        f"d{number}": {
            **{f"f{each}": noise(3000, seed=100 * number + each) for each in range(10)},
            "sub": {"g": noise(5000, seed=7000 + number)},
        }
        for number in range(DIRECTORIES)
    }


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tree whose files may be believed."""
    make(tmp_path / "src", {"top": {**_tree(), "large": noise(LARGE)}, "keep": b"kept"})
    settle()
    return tmp_path / "src"


def inodes(top: Path) -> dict[str, int]:
    return {str(path.relative_to(top)): path.lstat().st_ino for path in top.rglob("*")}


def test_a_renamed_top_directory_is_renamed(
    syncron: Command, way: Way, source: Path, tmp_path: Path
) -> None:
    destination = tmp_path / "dst"
    syncron.ok("--delete", *way.words(source, destination))
    before = inodes(destination)
    os.rename(source / "top", source / "renamed")
    summary = syncron.ok("--delete", *way.words(source, destination))
    assert_copied(source, destination)
    assert inodes(destination) == {
        path.replace("top", "renamed", 1): inode for path, inode in before.items()
    }
    assert summary["moved"] == len(before) - 1
    assert (summary["created"], summary["deleted"], summary["bytes_hashed"]) == (0, 0, 0)
    assert summary["bytes_sent"] + summary["bytes_received"] < 100_000
    again = syncron.ok("--delete", *way.words(source, destination))
    assert (again["moved"], again["bytes_hashed"], again["bytes_transferred"]) == (0, 0, 0)


def test_parts_are_moved_where_not_all_is_the_same(
    syncron: Command, make_way: MakeWay, source: Path, tmp_path: Path
) -> None:
    way = make_way("push-installed")
    destination = tmp_path / "dst"
    syncron.ok("--delete", *way.words(source, destination))
    before = inodes(destination)
    # A directory with an edit and a new file in it, out of one that goes, into a new one.
    (source / "new/er").mkdir(parents=True)
    os.rename(source / "top/d3", source / "new/er/d3")
    (source / "new/er/d3/f1").write_bytes(b"edited")
    (source / "new/er/d3/link").symlink_to("f1")
    (source / "new/er/d3/sub2").mkdir()
    (source / "new/er/d3/sub2/x").write_bytes(b"new")
    os.rename(source / "top/large", source / "new/large")
    shutil.rmtree(source / "top/d4")
    os.rename(source / "top", source / "up")
    settle()
    summary = syncron.ok("--delete", *way.words(source, destination))
    assert_copied(source, destination)
    after = inodes(destination)
    for now, old in {
        "new/er/d3/f2": "top/d3/f2",
        "new/er/d3/sub": "top/d3/sub",
        "new/large": "top/large",
        "up/d5": "top/d5",
    }.items():
        assert after[now] == before[old]
    assert summary["bytes_transferred"] == len(b"edited") + len(b"new")
    assert summary["bytes_sent"] + summary["bytes_received"] < 100_000
    again = syncron.ok("--delete", *way.words(source, destination))
    assert (again["moved"], again["bytes_hashed"]) == (0, 0)


def test_equal_ones_and_empty_ones(syncron: Command, source: Path, tmp_path: Path) -> None:
    destination = tmp_path / "dst"
    make(source / "same", dict.fromkeys("abc", b"the same" * 100))
    make(source / "empty", {"x": b"", "y": {}, "z": {"z": b""}})
    settle()
    syncron.ok("--delete", str(source), str(destination))
    before = inodes(destination)
    for old, new in {"same/a": "same/d", "same/c": "keep2", "empty": "void"}.items():
        os.rename(source / old, source / new)
    summary = syncron.ok("--delete", str(source), str(destination))
    assert_copied(source, destination)
    after = inodes(destination)
    assert {after["same/d"], after["keep2"]} == {before["same/a"], before["same/c"]}
    assert after["void"] == before["empty"]
    assert summary["bytes_transferred"] == 0


def test_the_cap_counts_what_is_deleted_after_moves(
    syncron: Command, source: Path, tmp_path: Path
) -> None:
    destination = tmp_path / "dst"
    syncron.ok("--delete", str(source), str(destination))
    os.rename(source / "top", source / "renamed")
    (source / "renamed/large").unlink()
    assert syncron("--delete", "--max-delete=1", str(source), str(destination)).code == 25
    summary = syncron.ok("--delete", "--max-delete=2", str(source), str(destination))
    assert summary["deleted"] == 2  # "top" itself, and "large" in it
    assert_copied(source, destination)


def test_moves_are_shown(syncron: Command, source: Path, tmp_path: Path) -> None:
    destination = tmp_path / "dst"
    syncron.ok("--delete", str(source), str(destination))
    os.rename(source / "top/d1", source / "d1")
    os.rename(source / "keep", source / "kept")
    words = ("--delete", str(source), str(destination))
    shown = "*moving     keep -> kept\n*moving     top/d1/ -> d1/\n"
    assert syncron("-n", "-i", *words).out == f".d..t...... ./\n{shown}.d..t...... top/\n"
    messages = syncron("--json", "-n", "-i", *words).messages
    items = [message for message in messages if message["message_type"] == "item"]
    moved = [item for item in items if item["action"] == "move"]
    assert [(item["old"], item["path"]) for item in moved] == [("keep", "kept"), ("top/d1", "d1")]
    assert syncron("-v", *words).out.startswith("./\nmoving keep -> kept\n")
    assert_copied(source, destination)


def test_excluded_entries_stay_where_they_are(
    syncron: Command, source: Path, tmp_path: Path
) -> None:
    destination = tmp_path / "dst"
    words = ("--delete", "--exclude=*.own", str(source), str(destination))
    syncron.ok(*words)
    (destination / "top/d1/mine.own").write_bytes(b"mine")
    os.rename(source / "top", source / "renamed")
    summary = syncron.ok(*words)
    assert (destination / "top/d1/mine.own").read_bytes() == b"mine"
    assert sorted((destination / "top").rglob("*")) == [
        destination / "top/d1",
        destination / "top/d1/mine.own",
    ]
    assert summary["bytes_transferred"] == 0
    assert rsync_differences(source, destination, "--exclude=*.own", "--exclude=/top") == []


def test_what_holds_excluded_entries_is_not_deleted_again_and_again(
    syncron: Command, source: Path, tmp_path: Path
) -> None:
    destination = tmp_path / "dst"
    words = ("--delete", "--exclude=*.own", str(source), str(destination))
    syncron.ok(*words)
    make(destination / "extra", {"a": {"mine.own": b"mine", "b": {"x": b"x"}}, "c": b"c"})
    assert syncron.ok(*words)["deleted"] == 3  # b, b/x and c
    assert syncron("-i", *words).out == ""
    assert syncron.ok(*words)["deleted"] == 0
    assert (destination / "extra/a/mine.own").read_bytes() == b"mine"


def test_attributes_change_with_the_move(syncron: Command, source: Path, tmp_path: Path) -> None:
    destination = tmp_path / "dst"
    syncron.ok("--delete", str(source), str(destination))
    before = inodes(destination)
    os.rename(source / "top", source / "renamed")
    os.chmod(source / "renamed", 0o700)
    os.rename(source / "keep", source / "kept")
    os.utime(source / "kept", ns=(0, 12345))
    os.rename(source / "renamed/large", source / "large")
    os.chmod(source / "large", 0o400)
    syncron.ok("--delete", str(source), str(destination))
    assert_copied(source, destination)
    assert inodes(destination)["large"] == before["top/large"]


def test_a_read_only_directory_is_moved(syncron: Command, source: Path, tmp_path: Path) -> None:
    destination = tmp_path / "dst"
    make(source / "closed", directory({"d": directory({"x": noise(2000)}, mode=0o555)}, mode=0o555))
    settle()
    syncron.ok("--delete", str(source), str(destination))
    os.chmod(source / "closed", 0o755)
    os.chmod(source / "closed/d", 0o755)
    os.rename(source / "closed/d", source / "keep.d")
    os.chmod(source / "keep.d", 0o555)
    os.chmod(source / "closed", 0o555)
    summary = syncron.ok("--delete", str(source), str(destination))
    assert_copied(source, destination)
    assert summary["moved"] == 2
