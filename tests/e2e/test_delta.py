"""Changed large files, as users have them sent."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.core.edits import edited, noise
from tests.e2e.conftest import (
    CHECKOUT,
    Command,
    MakeWay,
    Script,
    assert_copied,
    children,
    eventually,
)
from tests.sshd import Sshd

SIZE = 20_000_000
OLD = noise(SIZE)
NEW = edited(
    OLD,
    [
        ("insert", 0.1, 0.1, 5),
        ("overwrite", 0.3, 0.3, 5),
        ("delete", 0.5, 0.5, 5),
        ("append", 0, 0, 5),
    ],
)
FIXED = edited(OLD, [("overwrite", 0.3, 0.3, 5), ("append", 0, 0, 5)])
BARE = f'exec {sys.executable} -S {CHECKOUT / "syncron.py"} "$@"'
"""A helper with nothing but the standard library."""


def put(top: Path, data: bytes, mtime: int) -> Path:
    """A tree of one file; the file."""
    top.mkdir(exist_ok=True)
    (top / "file").write_bytes(data)
    os.utime(top / "file", (mtime, mtime))
    return top / "file"


@pytest.mark.parametrize("name", ["push-installed", "pull-installed", "relay-installed"])
def test_what_did_not_change_is_not_sent(
    syncron: Command, make_way: MakeWay, tmp_path: Path, name: str
) -> None:
    way = make_way(name)
    source, destination = tmp_path / "src", tmp_path / "dst"
    put(source, NEW, 2_000_000)
    put(destination, OLD, 1_000_000)
    first = syncron.ok(*way.words(source, destination))
    assert first["bytes_matched"] + first["bytes_transferred"] == len(NEW)
    assert first["bytes_transferred"] < 150_000
    assert first["bytes_sent"] + first["bytes_received"] < 500_000
    assert_copied(source, destination)
    put(source, edited(NEW, [("insert", 0.7, 0.7, 5)]), 3_000_000)
    second = syncron.ok(*way.words(source, destination))
    assert second["bytes_transferred"] < 60_000
    assert_copied(source, destination)


@pytest.mark.parametrize("direction", ["push", "pull"])
def test_without_pyfastcdc_blocks_are_fixed_and_that_is_said(
    syncron: Command, hosts: Sshd, script: Script, tmp_path: Path, direction: str
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    put(source, FIXED, 2_000_000)
    put(destination, OLD, 1_000_000)
    words = [f"--remote-syncron={script(BARE)}", str(source), str(destination)]
    words[2 if direction == "push" else 1] = "target:" + words[2 if direction == "push" else 1]
    ended = syncron("-v", "--stats", *words)
    assert ended.code == 0
    side = "destination" if direction == "push" else "source"
    assert f"because pyfastcdc is missing at the {side}" in ended.err
    assert_copied(source, destination)
    put(source, edited(FIXED, [("overwrite", 0.5, 0.5, 5)]), 3_000_000)
    summary = syncron.ok(*words)
    assert summary["bytes_transferred"] < 60_000


def test_whole_files_where_they_are_asked_for(
    syncron: Command, make_way: MakeWay, tmp_path: Path
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    data = NEW[:3_000_000]
    put(source, data, 2_000_000)
    for way, options, matched in (
        ("push-installed", ["-W"], False),
        ("push-installed", ["--no-whole-file"], True),
        ("local", [], False),
        ("local", ["--no-whole-file"], True),
    ):
        put(destination, OLD[:3_000_000], 1_000_000)
        summary = syncron.ok(*options, *make_way(way).words(source, destination))
        assert bool(summary["bytes_matched"]) is matched
        assert_copied(source, destination)


@pytest.mark.parametrize("name", ["push-installed", "local"])
def test_in_place_the_file_stays_the_same_one(
    syncron: Command, make_way: MakeWay, tmp_path: Path, name: str
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    put(source, NEW, 2_000_000)
    file = put(destination, OLD, 1_000_000)
    inode = file.stat().st_ino
    summary = syncron.ok("--inplace", *make_way(name).words(source, destination))
    assert file.stat().st_ino == inode
    assert_copied(source, destination)
    if name != "local":
        # What lies behind the insertion has moved up, and is copied from what is still ahead
        # only where something was removed.
        assert summary["bytes_matched"] > SIZE * 0.05
    assert syncron.ok("--inplace", *make_way(name).words(source, destination))["changed"] == 0


def test_in_place_only_what_changed_is_written(
    syncron: Command, make_way: MakeWay, tmp_path: Path
) -> None:
    """A hole that is not written to stays one."""
    source, destination = tmp_path / "src", tmp_path / "dst"
    source.mkdir()
    destination.mkdir()
    for top in (source, destination):
        with open(top / "image", "wb") as file:
            file.write(noise(1_000_000))
            file.truncate(400_000_000)
    with open(source / "image", "r+b") as file:
        file.seek(200_000_000)
        file.write(b"changed")
    os.utime(source / "image", (3_000_000, 3_000_000))
    summary = syncron.ok("--inplace", *make_way("push-installed").words(source, destination))
    assert summary["bytes_transferred"] < 200_000
    assert (destination / "image").stat().st_blocks * 512 < 2_000_000
    assert (destination / "image").read_bytes() == (source / "image").read_bytes()


@pytest.mark.parametrize("name", ["push-installed", "pull-installed"])
def test_a_killed_run_s_work_is_not_lost(
    syncron: Command, hosts: Sshd, make_way: MakeWay, tmp_path: Path, name: str
) -> None:
    """Every other megabyte is new."""
    way = make_way(name)
    source, destination = tmp_path / "src", tmp_path / "dst"
    old, other = noise(100 << 20, 3), noise(50 << 20, 4)
    step = 1 << 20
    new = b"".join(
        old[place : place + step] + other[place // 2 : place // 2 + step]
        for place in range(0, len(old), 2 * step)
    )
    put(source, new, 2_000_000)
    put(destination, old, 1_000_000)
    run = syncron.start(*way.words(source, destination))

    def arrived() -> int:
        return sum(path.stat().st_size for path in (destination / ".syncron").glob("n*"))

    assert eventually(lambda: arrived() > len(new) * 0.4)
    run.kill()
    run.communicate()
    assert eventually(lambda: not children(hosts.pid), 5)
    there = arrived()
    assert there < len(new), "it was over before it was killed"
    assert (destination / "file").read_bytes() == old
    summary = syncron.ok(*way.words(source, destination))
    missing = (len(new) - there) // 2
    assert summary["bytes_transferred"] <= missing * 1.05 + (2 << 20)
    assert_copied(source, destination)
