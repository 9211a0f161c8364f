"""``--fake-super`` with ACLs and extended attributes, and beside earlier copies: noted as by rsync,
so that each reads the other's."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path

import pytest

from tests.deep import DEEP
from tests.e2e.conftest import IS_ROOT, Command, MakeWay
from tests.e2e.everything import ACL_USER, Changing, Kept, acl, assert_equal, kept, rsync
from tests.e2e.forking import DESTINATION, Forked
from tests.fs.roots import settle
from tests.trees import File, Link, make

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
ACCESS_NOTE, DEFAULT_NOTE = "user.rsync.%aacl", "user.rsync.%dacl"
ACL = acl((ACL_USER, 7, 1000), 5)
OPTIONS = "-HAXi", "--delete"


def noted(top: Path) -> Kept:
    """All that is on the disk. rsync notes that an ACL has gone; syncron notes nothing then."""
    found = kept(top)
    for fact in found.values():
        if fact[-1].get(ACCESS_NOTE) == struct.pack("<4I", *[0x80] * 4):
            del fact[-1][ACCESS_NOTE]
    return found


class Owned(Changing):
    """Trees of several users, where who runs this can make these."""

    def adjust(self, times: int = 6) -> None:
        super().adjust(times)
        if IS_ROOT:
            path = self.random.choice([self.any(), *self.directories()])
            os.chown(path, self.random.choice((0, 7, 70_000)), 8, follow_symlinks=False)


@pytest.mark.parametrize("seed", range(200 if DEEP else 3))
def test_rsync_and_syncron_note_the_same(forked: Forked, tmp_path: Path, seed: int) -> None:
    source, ours, theirs = (tmp_path / name for name in ("src", "ours", "theirs"))
    tree = Owned(source, seed)
    tree.adjust(16)
    for number in range(3):
        rsync(source, theirs, "-aHAXc", "--delete", "-M--fake-super")
        ended = forked(*OPTIONS, "-M--fake-super", source, ours)
        assert (ended.code, ended.err) == (0, ""), (seed, number, ended.out)
        assert noted(ours) == noted(theirs), (seed, number)
        again = forked("--json", *OPTIONS, "-M--fake-super", source, ours).summary
        assert [again[what] for what in ("created", "changed", "metadata")] == [0, 0, 0]
        assert again["match"] is True
        for back, here in (("from ours", ours), ("from theirs", theirs)):
            shutil.rmtree(tmp_path / back, ignore_errors=True)
            rsync(here, tmp_path / back, "-aHAX", "--fake-super", "-M--super")
            assert_equal(source, tmp_path / back)
        shutil.rmtree(tmp_path / "back", ignore_errors=True)
        ended = forked(*OPTIONS, "--fake-super", "-M--super", theirs, tmp_path / "back")
        assert (ended.code, ended.err) == (0, "")
        assert_equal(source, tmp_path / "back")
        # Each goes on where the other was.
        assert rsync(source, ours, "-naHAXic", "--delete", "-M--fake-super") == ""
        assert forked("-n", *OPTIONS, "-M--fake-super", source, theirs).out == ""
        tree.adjust()
        if number == 1:
            tree.change(3)
            shutil.rmtree(theirs)  # files may have parted, which rsync leaves linked


def test_every_way(syncron: Command, make_way: MakeWay, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": File(b"a", mode=0o4750), "d": {"l": Link(b"a"), "e": {}}})
    os.setxattr(source / "a", ACCESS, ACL)
    os.setxattr(source / "d", ACCESS, ACL)
    os.setxattr(source / "d/e", DEFAULT, ACL)
    os.setxattr(source / "d", "user.x", b"1")
    if IS_ROOT:
        for name in ("a", "d/l"):
            os.setxattr(source / name, "trusted.t", b"t", follow_symlinks=False)
    settle()
    words = "-AXU", *make_way("push-shipped").words(source, destination)
    first = syncron.ok("-M--fake-super", *words)
    assert first["match"] is True
    assert DEFAULT_NOTE in os.listxattr(destination / "d/e")
    assert not any(name.startswith("system") for name in os.listxattr(destination / "d/e"))
    assert syncron.ok("-M--fake-super", "--verify", *words)["source_root"] == first["source_root"]
    back = tmp_path / "back"
    syncron.ok("-M--fake-super", "-AXU", *make_way("pull-installed").words(destination, back))
    assert_equal(source, back)
    # What only an attribute says, and what goes.
    os.removexattr(source / "a", ACCESS)
    os.removexattr(source / "d/e", DEFAULT)
    os.setxattr(source / "d", ACCESS, acl((ACL_USER, 1, 1000), 7))
    settle()
    assert syncron.ok("-M--fake-super", *words)["match"] is True
    assert ACCESS_NOTE not in os.listxattr(destination / "a")
    assert DEFAULT_NOTE not in os.listxattr(destination / "d/e")
    syncron.ok("-M--fake-super", "-AXU", *make_way("pull-installed").words(destination, back))
    assert_equal(source, back)


@pytest.mark.parametrize("option", ["--link-dest", "--copy-dest", "--compare-dest"])
def test_beside_an_earlier_copy(forked: Forked, tmp_path: Path, option: str) -> None:
    source = tmp_path / "src"
    tree = Owned(source, 7)
    tree.adjust(16)
    for who in ("theirs", "ours"):
        rsync(source, tmp_path / f"{who}0", "-aAX", "-M--fake-super")
    tree.adjust(3)
    tree.change(3)
    rsync(source, tmp_path / "theirs1", "-aAX", "-M--fake-super", f"{option}=../theirs0")
    words = "-AX", "-M--fake-super", f"{option}=../ours0", source, tmp_path / "ours1"
    ended = forked("--json", *words)
    assert (ended.code, ended.err, ended.summary["match"]) == (0, "", True)
    assert noted(tmp_path / "ours1") == noted(tmp_path / "theirs1")
    assert noted(tmp_path / "ours0") == noted(tmp_path / "theirs0")
    shared = [
        {
            path.relative_to(tmp_path / f"{who}1")
            for path in (tmp_path / f"{who}1").rglob("*")
            if path.is_file() and path.stat().st_nlink > 1
        }
        for who in ("ours", "theirs")
    ]
    assert shared[0] == shared[1]
    assert bool(shared[0]) is (option == "--link-dest")
    again = forked("--json", *words).summary
    assert [again[what] for what in ("created", "changed", "metadata")] == [0, 0, 0]


def test_dated_snapshots(forked: Forked, tmp_path: Path) -> None:
    source, snapshots, back = (tmp_path / name for name in ("src", "snapshots", "back"))
    tree = Owned(source, 11)
    tree.adjust(16)
    for _ in range(2):
        ended = forked("-HAX", "--snapshot", "-M--fake-super", source, snapshots)
        assert (ended.code, ended.err) == (0, ""), ended.out
    older, newer = (path for path in sorted(snapshots.iterdir()) if path.name[0] == "2")
    assert forked("-HAX", "--fake-super", "-M--super", newer, back).code == 0
    assert_equal(source, back)
    files = {path.relative_to(older) for path in older.rglob("*") if path.is_file()}
    assert files and all(os.path.samefile(older / path, newer / path) for path in files)


def test_names_that_would_be_read_as_others(forked: Forked, tmp_path: Path) -> None:
    """A copy of notes, with its attributes as they are, reads back as it was."""
    source, destination, back = (tmp_path / name for name in ("src", "dst", "back"))
    make(source, {"f": b"1"})
    names = (
        "user.rsync.security.x",
        "user.rsync.x",
        "user.rsync.user.rsync.trusted.y",
        "user.rsync",
    )
    for name in names:
        os.setxattr(source / "f", name, name.encode())
    assert forked("-X", "-M--fake-super", source, destination).code == 0
    ended = forked("--json", "-X", "--fake-super", "-M--super", destination, back)
    assert (ended.code, ended.err, ended.summary["match"]) == (0, "", True)
    assert_equal(source, back)
    for top in (source, destination):  # which rsync takes for an attribute called x
        os.removexattr(top / "f", "user.rsync.x")
    rsync(destination, tmp_path / "theirs", "-aX", "--fake-super", "-M--super")
    assert_equal(source, tmp_path / "theirs")


def test_a_damaged_acl_is_one_failure(forked: Forked, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"f": b"1", "g": b"2"})
    os.setxattr(source / "f", ACCESS, ACL)
    assert forked("-A", source, destination).code == 0
    for damage in (b"", b"\x02\0\0\0", b"\x80\0\0\0" * 5, struct.pack("<6I", *[0x80] * 4, 1, 9)):
        os.removexattr(source / "f", ACCESS)
        os.setxattr(source / "f", ACCESS_NOTE, damage)
        ended = forked("-A", "--fake-super", "-M--super", source, destination)
        assert (ended.code, ended.err.count("f: ")) == (23, 1), ended.err
        assert os.getxattr(destination / "f", ACCESS) == ACL
        os.setxattr(source / "f", ACCESS, ACL)


def test_killed_in_between(forked: Forked, tmp_path: Path) -> None:
    source, destination, back = (tmp_path / name for name in ("src", "dst", "back"))
    tree = Owned(source, 3)
    tree.adjust(16)
    words = "--json", "-HAX", "-M--fake-super", source, destination
    for when in range(1, 60, 20):
        shutil.rmtree(destination, ignore_errors=True)
        calls = "setxattr,fsetxattr,removexattr,linkat,renameat"
        trace = ("-e", f"trace={calls}", f"--inject={calls}:signal=KILL:when={when}")
        ended = forked(*words, who=DESTINATION, strace=trace)
        ended = ended if ended.code == 0 else forked(*words)
        assert ended.code == 0 and ended.summary["match"] is True, ended.out
        shutil.rmtree(back, ignore_errors=True)
        assert forked("-HAX", "--fake-super", "-M--super", destination, back).code == 0
        assert_equal(source, back)
