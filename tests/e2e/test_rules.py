"""What is left out is neither sent nor deleted, on any way; rules are the source's."""

from __future__ import annotations

import os
from pathlib import Path

from tests.e2e.conftest import Command, Way
from tests.trees import File, assert_same, make, rsync_differences

EXCLUDES = ("--exclude=*.o", "--include=/keep/*.tmp", "--exclude=*.tmp", "--exclude=/cache/")
RSYNC_EXCLUDES = ("--include=/keep/*.tmp", "--exclude=*.o", "--exclude=*.tmp", "--exclude=/cache/")


def test_excluded_on_both_sides(syncron: Command, way: Way, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a.c": b"1", "a.o": b"2", "cache": {"x": b"3"}, "keep": {"k.tmp": b"4"}})
    make(source / "sub", {"cache": {"in": b"5"}, "t.tmp": b"6", "deep": {"b.o": b"7"}})
    make(destination, {"mine.o": b"8", "cache": {"y": b"9"}, "old.c": b"10"})
    make(destination / "gone", {"left.tmp": b"11", "old": b"12"})
    words = way.words(source, destination)
    summary = syncron.ok("--delete", *EXCLUDES, *words)
    # rsync too would leave the directory that holds what is left out.
    left = ["cannot delete non-empty directory: gone"]
    assert rsync_differences(source, destination, *RSYNC_EXCLUDES) == left
    found = {str(path.relative_to(destination)) for path in destination.rglob("*")}
    assert found == {
        *("a.c", "keep", "keep/k.tmp", "sub", "sub/cache", "sub/cache/in", "sub/deep"),
        *("mine.o", "cache", "cache/y", "gone", "gone/left.tmp"),
    }
    again = syncron.ok("--delete", *EXCLUDES, *words)
    assert again["source_root"] == summary["source_root"]
    assert again["bytes_transferred"] == again["created"] == 0
    # Other rules are never a reason to delete.
    other = syncron.ok("--delete", "--exclude=*.o", "--exclude=keep", "--exclude=cache", *words)
    assert (destination / "keep/k.tmp").read_bytes() == b"4"
    assert other["source_root"] != summary["source_root"]
    assert (destination / "sub/t.tmp").read_bytes() == b"6"
    assert not (destination / "gone").exists()


def test_ignore_files_of_the_source_rule_both_sides(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(
        source,
        {
            ".gitignore": b"*.log\n!keep.log\nbuild/\n",
            ".syncronignore": b"/secret\n",
            "a.log": b"1",
            "keep.log": b"2",
            "secret": b"3",
            "build": {"out": b"4"},
            "sub": {".gitignore": b"*\n!.gitignore\n!only\n", "only": b"5", "not": b"6"},
        },
    )
    make(
        destination,
        {
            # Its own ignore files are content like any other here.
            ".gitignore": b"*\n",
            ".syncronignore": b"*\n",
            "mine.log": b"7",
            "secret": b"my own",
            "build": {"mine": b"8"},
            "old": b"9",
        },
    )
    words = ("--gitignore", "--delete", *way.words(source, destination))
    first = syncron.ok(*words)
    found = {str(path.relative_to(destination)) for path in destination.rglob("*")}
    assert found == {
        *(".gitignore", ".syncronignore", "keep.log", "sub", "sub/.gitignore", "sub/only"),
        *("mine.log", "secret", "build", "build/mine"),
    }
    assert (destination / "secret").read_bytes() == b"my own"
    assert_same(source / "sub/only", destination / "sub/only")
    again = syncron.ok(*words)
    assert (again["bytes_transferred"], again["deleted"]) == (0, 0)
    assert again["source_root"] == first["source_root"]
    # The rules change between two runs: what is no longer left out is sent, and what has become
    # left out is left alone.
    make(tmp_path / "new", File(b"*.log\n"))
    os.replace(tmp_path / "new", source / ".gitignore")
    syncron.ok(*words)
    assert (destination / "build/out").read_bytes() == b"4"
    assert not (destination / "build/mine").exists()
    assert (destination / "keep.log").read_bytes() == b"2"
    (source / "keep.log").unlink()
    syncron.ok(*words)
    assert (destination / "keep.log").read_bytes() == b"2"
    # Without the option the same files are no rules at all; .syncronignore always is one.
    syncron.ok("--delete", *way.words(source, destination))
    assert not (destination / "keep.log").exists()
    assert (destination / "a.log").read_bytes() == b"1"
    assert (destination / "secret").read_bytes() == b"my own"


def test_an_ignore_file_that_changes_alone_is_noticed(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {".syncronignore": b"/a\n", "a": b"1", "b": b"2"})
    words = ("--delete", *way.words(source, destination))
    syncron.ok(*words)
    assert sorted(os.listdir(destination)) == [".syncronignore", "b"]
    status = (source / ".syncronignore").stat()
    (source / ".syncronignore").write_bytes(b"/b\n")
    os.utime(source / ".syncronignore", ns=(status.st_atime_ns, status.st_mtime_ns))
    syncron.ok(*words)
    assert sorted(os.listdir(destination)) == [".syncronignore", "a", "b"]


def test_rules_from_files(syncron: Command, tmp_path: Path) -> None:
    make(tmp_path / "src", {"a.o": b"1", "b.o": b"2", "c": b"3"})
    (tmp_path / "excludes").write_text("# objects\n*.o\n\n")
    (tmp_path / "includes").write_text("b.o\n")
    syncron.ok(
        f"--include-from={tmp_path / 'includes'}",
        f"--exclude-from={tmp_path / 'excludes'}",
        tmp_path / "src",
        tmp_path / "dst",
    )
    assert sorted(os.listdir(tmp_path / "dst")) == ["b.o", "c"]
