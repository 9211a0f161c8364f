"""Trees made alike: every kind of entry, every kind of change, every way there is."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.deep import DEEP
from tests.e2e.conftest import IS_ROOT, Command, MakeWay, Way, assert_copied
from tests.sshd import Sshd
from tests.trees import (
    MTIME_NS,
    ODD_NAMES,
    Directory,
    Fifo,
    File,
    Link,
    Socket,
    directory,
    make,
    noise,
    random_trees,
)

OWNER = (12345, 54321) if IS_ROOT else None

EVERYTHING = directory(
    {
        "file": File(b"content", mode=0o640, mtime_ns=1_234_567_890_987_654_321, owner=OWNER),
        "empty": b"",
        "before 1970": File(b"old", mtime_ns=-1_500_000_001),
        "in 2262": File(b"new", mtime_ns=2**63 - 2),
        "read-only": File(b"x", mode=0o400),
        "setuid": File(b"#!/bin/sh\n", mode=0o4755, owner=OWNER),
        "setgid": File(b"#!/bin/sh\n", mode=0o2755, owner=OWNER),
        "large": File(noise(1_300_000), mtime_ns=MTIME_NS + 1),
        "middling": noise(500_000, seed=2),
        "compressible": b"the same again " * 20_000,
        "link": Link(b"file", mtime_ns=42, owner=OWNER),
        "dangling": Link(b"/nowhere/at all\n"),
        "outwards": Link(b".."),
        "fifo": Fifo(mode=0o622, owner=OWNER),
        "socket": Socket(mode=0o755),
        "empty directory": directory({}, mode=0o700, mtime_ns=7),
        "closed": directory({"in": b"it", "sub": {"deep": b"er"}}, mode=0o555),
        "sticky": directory({"x": b"y"}, mode=0o1777, owner=OWNER),
        "group": directory({"x": b"y"}, mode=0o2775, owner=OWNER),
        "odd": {name: File(name, mtime_ns=index) for index, name in enumerate(ODD_NAMES)},
        "odd directories": {name: {name: name} for name in ODD_NAMES},
        "many": {f"{number:04}": b"%d" % number for number in range(300)},
        "l1": {"l2": {"l3": {"l4": {"l5": {"leaf": b"green"}}}}},
    },
    mode=0o750,
    mtime_ns=1_111_111_111_111_111_111,
    owner=OWNER,
)


def change_everything(top: Path) -> None:
    """One change of every kind."""
    file = top / "file"
    status = file.stat()
    file.write_bytes(b"CONTENT")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    with open(top / "many/0001", "ab") as out:
        out.write(b"appended")
    with open(top / "large", "r+b") as out:
        out.seek(700_000)
        out.write(b"changed")
    os.truncate(top / "middling", 17)
    os.chmod(top / "many/0002", 0o4711)
    os.utime(top / "many/0003", ns=(0, 5))
    os.chmod(top / "l1/l2", 0o711)
    os.utime(top / "l1/l2/l3/l4", ns=(0, 11))
    os.chmod(top / "closed", 0o755)
    (top / "closed/in").unlink()
    os.chmod(top / "closed", 0o500)
    (top / "link").unlink()
    (top / "link").symlink_to("elsewhere")
    (top / "fifo").chmod(0o600)
    # One kind in the place of another.
    (top / "many/0010").unlink()
    make(top / "many/0010", {"now": b"a directory"})
    shutil.rmtree(top / "l1/l2/l3/l4/l5")
    (top / "l1/l2/l3/l4/l5").write_bytes(b"now a file")
    shutil.rmtree(top / "sticky")
    (top / "sticky").symlink_to("closed")
    (top / "dangling").unlink()
    make(top / "dangling", {"now": b"a directory"})
    (top / "socket").unlink()
    (top / "socket").write_bytes(b"now a file")
    (top / "empty").unlink()
    os.mkfifo(top / "empty")
    (top / "many/0011").unlink()
    (top / "many/0011").symlink_to("0012")
    # Gone, and new.
    (top / "many/0020").unlink()
    shutil.rmtree(top / "odd directories")
    (top / "empty directory").rmdir()
    make(top / "new", {"a": {"b": {"c": b"d", "e": {}}}})
    if IS_ROOT:
        os.chown(top / "many/0030", 77, 88)
        os.chown(top / "group", 99, 99)
        os.chown(top / "outwards", 55, 66, follow_symlinks=False)


def test_everything_is_copied_kept_and_followed(
    syncron: Command, any_way: Way, tmp_path: Path
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, EVERYTHING)
    words = any_way.words(source, destination)

    first = syncron.ok(*words)
    assert_copied(source, destination)
    assert first["created"] == first["source_entries"] > 300
    assert (first["deleted"], first["errors"], first["warnings"]) == (0, [], [])

    second = syncron.ok(*words)
    assert second["source_root"] == first["source_root"]
    assert second["unchanged"] == first["source_entries"]
    for count in ("created", "changed", "metadata", "deleted", "bytes_transferred", "bytes_hashed"):
        assert second[count] == 0, count
    if any_way.name != "local":
        assert 0 < second["bytes_sent"] < 2000 * len(any_way.name.split("-"))

    change_everything(source)
    third = syncron.ok("--delete", *words)
    assert third["source_root"] != first["source_root"]
    assert third["deleted"] > len(ODD_NAMES)
    assert_copied(source, destination)
    assert third["bytes_transferred"] < 3_000_000
    assert syncron.ok(*words)["bytes_transferred"] == 0


def test_times_beyond_what_64_bits_hold_end_no_run(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"f": b"1", "g": b"2", "d": {"x": b"3"}})
    for path in (source / "f", source / "d", source):
        os.utime(path, ns=(0, 10_413_792_000 * 10**9))  # in the year 2300
    syncron.ok(*way.words(source, destination))
    assert (destination / "f").read_bytes() == b"1"
    assert (destination / "g").stat().st_mtime_ns == MTIME_NS
    for path in (destination / "f", destination / "d", destination):
        assert path.stat().st_mtime_ns == 2**63 - 1
    assert syncron.ok(*way.words(source, destination))["changed"] == 0


def test_without_delete_nothing_goes(syncron: Command, way: Way, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": b"1", "sub": {"b": b"2"}})
    make(destination, {"mine": b"3", "sub": {"mine too": {"x": b"4"}}})
    syncron.ok(*way.words(source, destination))
    assert (destination / "mine").read_bytes() == b"3"
    assert (destination / "sub/mine too/x").read_bytes() == b"4"
    assert (destination / "sub/b").read_bytes() == b"2"
    (source / "a").unlink()
    syncron.ok(*way.words(source, destination))
    assert (destination / "a").read_bytes() == b"1"
    assert syncron.ok("--delete", *way.words(source, destination))["deleted"] == 4
    assert_copied(source, destination)


def test_a_directory_that_is_not_empty_makes_way_only_when_allowed(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"x": b"a file", "y": b"other"})
    make(destination, {"x": {"precious": b"data"}})
    refused = syncron("--json", *way.words(source, destination))
    assert refused.code == 23
    assert [error["path"] for error in refused.summary["errors"]] == ["x"]
    assert (destination / "x/precious").read_bytes() == b"data"
    assert (destination / "y").read_bytes() == b"other"
    syncron.ok("--force", *way.words(source, destination))
    assert_copied(source, destination)


@settings(
    max_examples=100 if DEEP else 3,
    phases=(Phase.generate,),  # a failure's shrinking would take minutes of real runs
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(before=random_trees(), after=random_trees())
def test_any_tree_becomes_any_other(
    syncron: Command, way: Way, tmp_path: Path, before: Directory, after: Directory
) -> None:
    top = Path(tempfile.mkdtemp(dir=tmp_path))
    make(top / "one", before)
    make(top / "two", after)
    syncron.ok(*way.words(top / "one", top / "dst"))
    assert_copied(top / "one", top / "dst")
    shutil.rmtree(top / "one")
    os.rename(top / "two", top / "one")
    syncron.ok("--delete", "--allow-empty-source", *way.words(top / "one", top / "dst"))
    assert_copied(top / "one", top / "dst")


def test_without_permissions_and_times_content_still_follows(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": File(b"1", mode=0o600), "d": {"x": File(b"2", mode=0o777)}})
    options = ("--no-perms", "--no-times", "--no-owner", "--no-group")
    syncron.ok(*options, *way.words(source, destination))
    assert (destination / "d/x").read_bytes() == b"2"
    assert (destination / "d/x").stat().st_mode & 0o7777 == 0o755
    assert (destination / "a").stat().st_mtime_ns != MTIME_NS
    (source / "a").write_bytes(b"7")
    os.chmod(destination / "a", 0o640)
    syncron.ok(*options, *way.words(source, destination))
    assert (destination / "a").read_bytes() == b"7"
    assert (destination / "a").stat().st_mode & 0o7777 == 0o640


@pytest.mark.parametrize("choice", ["zstd", "zlib", "none"])
def test_compression_changes_what_is_sent_and_nothing_else(
    syncron: Command, make_way: MakeWay, tmp_path: Path, choice: str
) -> None:
    way = make_way("push-installed")
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"text": b"the same again " * 60_000, "noise": noise(100_000)})
    summary = syncron.ok(f"--compress-choice={choice}", *way.words(source, destination))
    assert_copied(source, destination)
    assert (summary["bytes_sent"] < 300_000) is (choice != "none")


def test_the_roots_own_attributes_follow(syncron: Command, way: Way, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, directory({}, mode=0o700, mtime_ns=0))
    syncron.ok(*way.words(source, destination))
    assert_copied(source, destination)
    os.chmod(source, 0o1751)
    os.utime(source, ns=(0, 5))
    assert syncron.ok(*way.words(source, destination))["metadata"] == 1
    assert_copied(source, destination)


def test_hard_links_at_the_destination_are_no_edits(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    """Every change of one name gives the others a new ctime."""
    source, destination = tmp_path / "src", tmp_path / "dst"
    names = ["changed", "changed too", "gone", "gone too", "adjusted", "adjusted too", "kept"]
    make(destination, {"sub": {}, **dict.fromkeys(names[:1], b"old")})
    for name in (*names[1:], "sub/kept"):
        os.link(destination / "changed", destination / name)
    make(source, {"sub": {"kept": b"old"}, "kept": b"old"})
    for name in names[:2]:
        make(source / name, File(b"new"))
    for name in names[4:6]:
        make(source / name, File(b"old"))
    syncron.ok("--delete", *way.words(source, destination))
    assert_copied(source, destination)
    for name in names[4:]:
        os.chmod(source / name, 0o600)
    os.chmod(source / "sub/kept", 0o600)
    syncron.ok("--delete", *way.words(source, destination))
    assert_copied(source, destination)


@pytest.mark.parametrize("name", ["local", "push-installed", "pull-shipped"])
def test_a_tree_deeper_than_any_path(
    syncron: Command,
    make_way: MakeWay,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    name: str,
) -> None:
    """1,500 directories, with paths of up to 9,000 bytes."""
    # rm reaches the bottom, and shutil.rmtree, with which pytest cleans up, does not.
    request.addfinalizer(partial(subprocess.run, ["rm", "-rf", tmp_path], check=True))
    way = make_way(name)
    source, destination = tmp_path / "src", tmp_path / "dst"
    step = "below"
    source.mkdir()
    here = os.open(source, os.O_RDONLY)
    for number in range(1500):
        os.mkdir(step, dir_fd=here)
        below = os.open(step, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
        if number % 500 == 499:
            leaf = os.open("leaf", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=here)
            os.write(leaf, b"green %d" % number)
            os.close(leaf)
    os.close(here)
    words = way.words(source, destination)
    syncron.ok(*words)
    assert syncron.ok(*words)["bytes_hashed"] == 0
    here = os.open(destination, os.O_RDONLY)
    for number in range(1500):
        below = os.open(step, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
        if number % 500 == 499:
            leaf = os.open("leaf", os.O_RDONLY, dir_fd=here)
            assert os.read(leaf, 100) == b"green %d" % number
            os.close(leaf)
    assert os.listdir(here) == ["leaf"]
    os.close(here)
    subprocess.run(["rm", "-rf", source / step], check=True)
    syncron.ok("--delete", "--allow-empty-source", *words)
    assert os.listdir(destination) == []


@pytest.mark.parametrize("direction", ["push", "pull"])
def test_an_external_ssh_does_the_same(
    syncron: Command, hosts: Sshd, tmp_path: Path, direction: str
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, EVERYTHING)
    source_host, destination_host = {"push": ("", "target:"), "pull": ("target:", "")}[direction]
    words = (f"{source_host}{source}", f"{destination_host}{destination}")
    rsh = f"--rsh=ssh -F {hosts.config} -o BatchMode=yes"
    syncron.ok(rsh, *words)
    assert_copied(source, destination)
    change_everything(source)
    syncron.ok(rsh, "--delete", *words)
    assert_copied(source, destination)
