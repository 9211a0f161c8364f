"""``--xattrs`` and ``--acls``: what rsync keeps of them, and over runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.conftest import Command, Script, Way
from tests.e2e.everything import (
    ACL_USER,
    Changing,
    acl,
    assert_equal,
    groups,
    itemized,
    kept,
    rsync,
)
from tests.e2e.forking import Forked
from tests.fs.roots import settle
from tests.trees import make, noise

SEEDS = range(1000 if os.environ.get("SYNCRON_DEEP") else 6)
ROUNDS = 4
ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
ACL = acl((ACL_USER, 7, 1000), 5)


@pytest.mark.parametrize("seed", SEEDS)
def test_they_are_as_rsync_makes_them(forked: Forked, tmp_path: Path, seed: int) -> None:
    source, ours = tmp_path / "src", tmp_path / "ours"
    tree = Changing(source, seed)
    tree.adjust(12)
    for number in range(ROUNDS):
        # Into a copy of its own where files may have parted, which rsync leaves linked.
        rsyncs = tmp_path / f"rsyncs{max(0, number - 1)}"
        said = rsync(source, rsyncs, "-aHAXi", "--delete")
        ended = forked("-HAXi", "--delete", source, ours)
        assert ended.code == 0, (seed, number, ended.err, ended.out)
        assert_equal(source, ours)
        assert kept(ours) == kept(rsyncs)
        if number == 1:  # nothing but attributes changed
            # Of a file with several names rsync tells what was done to it by the first of them.
            linked = {name for group in groups(source) for name in group}
            told = [line for line in itemized(ended.out) if line[12:] not in linked]
            assert told == [line for line in itemized(said) if line[12:] not in linked]
        again = forked("--json", "-HAX", "--delete", source, ours)
        assert again.code == 0
        assert again.summary["metadata"] == again.summary["changed"] == 0
        if number:
            tree.change(3)
        tree.adjust()


def test_every_way(syncron: Command, way: Way, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": b"a", "d": {"large": noise(1 << 20), "e": {}}, "empty": b""})
    os.setxattr(source, "user.top", b"of the root")
    os.setxattr(source / "a", "user.binary", bytes(range(256)))
    os.setxattr(source / "empty", "user.nothing", b"")
    os.setxattr(source / "d/large", "user.large", b"l" * 3000)
    os.setxattr(source / "d/e", DEFAULT, ACL)
    os.setxattr(source / "d", ACCESS, ACL)
    os.setxattr(source / "a", ACCESS, ACL)
    settle()
    words = way.words(source, destination)
    syncron.ok("-XA", *words)
    assert_equal(source, destination)
    again = syncron.ok("-XA", *words)
    assert (again["bytes_hashed"], again["metadata"]) == (0, 0)
    # What came, went and changed; and content that is new keeps what it has.
    os.removexattr(source / "a", ACCESS)
    os.removexattr(source / "empty", "user.nothing")
    os.setxattr(source / "d/e", "user.new", b"n")
    with (source / "d/large").open("r+b") as file:
        file.write(b"edited")
    os.setxattr(destination / "d/large", "user.foreign", b"goes")
    settle()
    summary = syncron.ok("-XA", *words)
    assert_equal(source, destination)
    assert summary["metadata"] == 3
    assert syncron.ok("-XA", *words)["bytes_hashed"] == 0


def test_equal_roots_mean_equal_attributes(syncron: Command, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": b"a", "d": {}})
    syncron.ok("-XA", str(source), str(destination))
    os.setxattr(source / "a", "user.x", b"1")
    os.setxattr(source / "d", DEFAULT, ACL)
    assert syncron("--verify", str(source), str(destination)).code == 0
    different = syncron("--verify", "-Xi", str(source), str(destination))
    assert (different.code, different.out) == (9, ".f........x a\n")
    different = syncron("-nAi", str(source), str(destination))
    assert (different.code, different.out) == (0, ".d.......a. d/\n")
    assert os.listxattr(destination / "a") == []
    roots = {syncron("-X", "--root", str(top)).out for top in (source, destination)}
    assert len(roots) == 2
    syncron.ok("-XA", str(source), str(destination))
    assert_equal(source, destination)


def test_what_is_new_has_no_acl_of_the_directory_that_it_is_in(
    syncron: Command, tmp_path: Path
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"d": {"x": b"x", "old": noise(3000)}, "z": {"e": {"f": b"f"}}})
    destination.mkdir()
    os.setxattr(destination, DEFAULT, ACL)
    syncron.ok("-A", "--delete", str(source), str(destination))
    assert_equal(source, destination)
    os.setxattr(destination / "d", DEFAULT, ACL)
    (source / "d/new/er").mkdir(parents=True)
    os.rename(source / "d/old", source / "d/new/er/moved")
    settle()
    syncron.ok("-A", "--delete", str(source), str(destination))
    assert_equal(source, destination)


def test_acls_imply_permissions(syncron: Command, tmp_path: Path) -> None:
    make(tmp_path / "src", {"a": b"a"})
    syncron.ok(str(tmp_path / "src"), str(tmp_path / "dst"))
    os.chmod(tmp_path / "src/a", 0o600)
    syncron.ok("-A", "--no-p", str(tmp_path / "src"), str(tmp_path / "dst"))
    assert (tmp_path / "dst/a").stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("hosts")
def test_a_restricted_helper_changes_none(syncron: Command, script: Script, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": b"a", "d": {}})
    helper = script(f"exec {{helper}} --restrict {tmp_path} --append-only")
    words = ("-X", f"--remote-syncron={helper}", str(source), f"target:{destination}")
    os.setxattr(source / "a", "user.x", b"1")
    syncron.ok(*words)
    assert_equal(source, destination)
    os.setxattr(source / "a", "user.x", b"2")
    make(source / "new", {"n": b"n"})
    os.setxattr(source / "new", "user.x", b"n")
    ended = syncron(*words)
    assert ended.code == 23
    assert os.getxattr(destination / "a", "user.x") == b"1"
    assert os.getxattr(destination / "new", "user.x") == b"n"


def test_what_comes_in_the_place_of_another_kind(syncron: Command, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": b"file", "b": {"c": b"1"}})
    make(destination, {"a": {"c": {}}, "b": b"file"})
    for path in (source / "a", source / "b", destination / "a/c"):
        os.setxattr(path, "user.note", path.name.encode())
    words = ("-X", "--delete", source, destination)
    assert syncron.ok(*words)["match"] is True
    assert [os.getxattr(destination / name, "user.note") for name in "ab"] == [b"a", b"b"]
    assert syncron.ok(*words)["metadata"] == 0
