"""Snapshots where they are: named, listed, removed."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from syncron_lib.errors import FileFatal, Locked, PeerViolation
from syncron_lib.fs.reach import ANYWHERE
from syncron_lib.fs.snapshots import SnapshotDirectory
from tests.fs.roots import as_user, public_directory
from tests.trees import Link, make, read

FIRST, SECOND = b"2026-11-28T000000Z", b"2026-11-29T000000Z"


@contextmanager
def opened(path: Path) -> Iterator[SnapshotDirectory]:
    directory = SnapshotDirectory(ANYWHERE.look(os.fsencode(path)), os.environ, ANYWHERE)
    try:
        yield directory
    finally:
        directory.close()


def test_what_is_whole_gets_its_name_and_latest_leads_there(tmp_path: Path) -> None:
    for name in (FIRST, SECOND):
        make(tmp_path / "incomplete", {"file": name})
        with opened(tmp_path) as directory:
            directory.keep(name, b"note " + name, durable=True)
    assert os.readlink(tmp_path / "latest") == SECOND.decode()
    assert (tmp_path / "latest/file").read_bytes() == SECOND
    assert not (tmp_path / "incomplete").exists()
    make(tmp_path / "2026-11-30T000000Z", b"a file is none")
    make(tmp_path / "other", {})
    with opened(tmp_path) as directory:
        assert directory.items() == [(FIRST, b"note " + FIRST), (SECOND, b"note " + SECOND)]
        assert not directory.unmounted()


def test_nothing_is_replaced(tmp_path: Path) -> None:
    make(tmp_path / "incomplete", {"file": b"new"})
    make(tmp_path / FIRST.decode(), {})
    with opened(tmp_path) as directory:
        with pytest.raises(FileExistsError):
            directory.keep(FIRST, b"", durable=False)
        for name in (b"../x", b"latest", b"a"):
            with pytest.raises(PeerViolation):
                directory.keep(name, b"", durable=False)
        (tmp_path / "latest").mkdir()
        with pytest.raises(FileFatal, match="latest is no symlink"):
            directory.keep(SECOND, b"", durable=False)
    assert (tmp_path / SECOND.decode() / "file").exists()
    assert os.listdir(tmp_path / FIRST.decode()) == []


def test_what_another_run_makes_is_not_named(tmp_path: Path) -> None:
    make(tmp_path / "incomplete", {})
    held = os.open(tmp_path / "incomplete", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    with opened(tmp_path) as directory, pytest.raises(Locked, match="Another run"):
        directory.keep(FIRST, b"", durable=False)
    os.close(held)


def deep(levels: int) -> dict[Any, Any]:
    tree: dict[Any, Any] = {"leaf": b"x"}
    for _ in range(levels):
        tree = {"a" * 20: tree, "file": b"y"}
    return tree


def test_a_snapshot_is_removed_with_all_in_it_and_nothing_else(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    make(outside, {"kept": b"kept"})
    top = tmp_path / "snapshots"
    make(top / FIRST.decode(), {"out": Link(os.fsencode(outside)), "d": deep(150), "e": deep(3)})
    make(top / SECOND.decode(), {"file": b"kept"})
    (top / "latest").symlink_to(SECOND.decode())
    before = read(outside)
    with opened(top) as directory:
        assert directory.drop([FIRST, SECOND, b"../outside", b"latest"]) == []
    assert sorted(os.listdir(top)) == [".syncron", SECOND.decode(), "latest"]
    assert os.listdir(top / ".syncron/dropped") == []
    assert read(outside) == before


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path: Path) -> None:
    make(tmp_path / ".syncron", {"dropped": {"0": {"d": {"x": b"x"}}, "7": {}}})
    make(tmp_path / FIRST.decode(), {"y": b"y"})
    with opened(tmp_path) as directory:
        assert directory.drop([FIRST]) == []
    assert os.listdir(tmp_path / ".syncron/dropped") == []


def test_closed_directories_are_removed_by_their_owner() -> None:
    with public_directory() as top:
        tree = top / FIRST.decode()

        def work() -> list[str]:
            make(tree, {"closed": {"below": {"file": b"x"}}, "read-only": {"f": b"x", "d": {}}})
            (tree / "closed/below").chmod(0)
            (tree / "closed").chmod(0)
            (tree / "read-only").chmod(0o500)
            tree.chmod(0o500)
            with opened(top) as directory:
                return directory.drop([FIRST])

        assert as_user(work) == []
        assert not tree.exists()
        assert os.listdir(top / ".syncron/dropped") == []
