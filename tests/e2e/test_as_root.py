"""What only root can bring about: mounts, full disks, owners, and a run as somebody else.
Collected only where the tests run as root."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Command, MakeWay, Script, Way, assert_copied, listing, mounted
from tests.sshd import Sshd
from tests.trees import Fifo, File, Link, Literal, assert_same, directory, make, noise

NOBODY = pwd.getpwnam("nobody")


def test_an_unmounted_destination_is_refused(syncron: Command, way: Way, tmp_path: Path) -> None:
    source, place = tmp_path / "src", tmp_path / "disk"
    make(source, {"a": b"1", "d": {"b": b"2"}})
    words = way.words(source, place)
    with mounted(place):
        syncron.ok(*words)
        assert_copied(source, place)
    before = listing(tmp_path)
    for options in ((), ("--delete",), ("-n",)):
        ended = syncron("--json", *options, *words)
        assert ended.code == 3, ended.err
        assert "--allow-unmounted" in ended.err
    assert listing(tmp_path) == before
    syncron.ok("--allow-unmounted", *words)
    assert_copied(source, place)


def test_a_directory_on_an_unmounted_disk_is_refused(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    source, disk = tmp_path / "src", tmp_path / "disk"
    make(source, {"a": b"1"})
    words = way.words(source, disk / "backup")
    with mounted(disk):
        syncron.ok(*words)
    ended = syncron(*words)
    assert ended.code == 3, ended.err
    assert os.listdir(disk) == []
    with mounted(disk):  # another, new disk is the user's to allow
        assert syncron(*words).code == 3
        assert os.listdir(disk) == []
        syncron.ok("--allow-unmounted", *words)


def test_an_unmounted_source_deletes_nothing(syncron: Command, way: Way, tmp_path: Path) -> None:
    source, destination = tmp_path / "disk", tmp_path / "dst"
    words = ("--delete", *way.words(source, destination))
    with mounted(source):
        make(source / "d", {"a": b"1"})
        syncron.ok(*words)
    before = listing(destination)
    assert syncron(*words).code == 3
    assert listing(destination) == before


def test_one_file_system(syncron: Command, way: Way, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": b"1", "d": {"mnt": {}, "b": b"2"}})
    make(destination, {"d": {"mnt": {"mine": b"3"}}})
    with mounted(source / "d/mnt"):
        make(source / "d/mnt/inner", {"c": b"4"})
        syncron.ok("-x", "--delete", *way.words(source, destination))
        assert sorted(os.listdir(destination / "d")) == ["b", "mnt"]
        assert os.listdir(destination / "d/mnt") == ["mine"]
        again = syncron.ok("-x", "--delete", *way.words(source, destination))
        assert (again["deleted"], again["bytes_transferred"]) == (0, 0)
        syncron.ok("--delete", *way.words(source, destination))
        assert_same(source / "d/mnt/inner", destination / "d/mnt/inner")


def test_a_part_of_the_same_file_system_is_mounted_in_the_destination(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    """No rename leads into it, though by its device it is no other file system."""
    source, destination = tmp_path / "src", tmp_path / "dst"
    elsewhere, mount = tmp_path / "else where", destination / "a/m n"
    below: dict[str, Literal] = {
        "f": b"new",
        "big": noise(600_000),
        "new": {"g": b"1", "deep": {"h": b"2"}},
    }
    make(source, {"a": {"m n": {**below, "kind": b"file"}, "moved": noise(5000)}, "top": b"3"})
    older: dict[str, Literal] = {
        "f": b"older",
        "kind": {"was": b"directory"},
        "was": noise(5000),
        "gone": b"",
    }
    make(elsewhere, older)
    make(destination, {"a": {"m n": {}}})
    subprocess.run(["mount", "--bind", elsewhere, mount], check=True)
    try:
        words = ("--delete", *way.words(source, destination))
        syncron.ok(*words)
        assert_copied(source, destination)
        (source / "a/m n/f").write_bytes(b"newer")
        (source / "a/m n/big").write_bytes(noise(700_000, seed=3))
        syncron.ok(*words)
        assert_copied(source, destination)
        assert sorted(os.listdir(elsewhere)) == ["big", "f", "kind", "new"]
    finally:
        subprocess.run(["umount", "-l", mount], check=True)


@pytest.mark.parametrize("options", ["size=3m", "size=30m,nr_inodes=60"])
@pytest.mark.parametrize("name", ["local", "push-shipped", "pull-installed"])
def test_a_full_destination(
    syncron: Command, make_way: MakeWay, tmp_path: Path, name: str, options: str
) -> None:
    way = make_way(name)
    source, place = tmp_path / "src", tmp_path / "disk"
    with mounted(place, options):
        old = {"changed": b"old content", "gone": b"2", "big": noise(300_000, seed=9)}
        make(place, old)
        new = {"changed": b"new content", "big": noise(700_000, seed=8)}
        make(source, {**new, "many": {f"{n}": noise(40_000, seed=n) for n in range(100)}})
        words = ("--delete", *way.words(source, place))
        ended = syncron("--json", *words)
        assert ended.code == 11, (ended.code, ended.err)
        assert "No space left on device" in ended.summary["errors"][-1]["message"]
        for name_, content in old.items():
            assert (place / name_).read_bytes() in (content, new.get(name_)), name_
        assert not (place / ".syncron").exists(), "what cannot be finished takes room"
        allowed = {path.name: path.read_bytes() for path in (source / "many").iterdir()}
        for path in place.rglob("many/*"):
            assert path.read_bytes() == allowed[path.name]
        subprocess.run(["mount", "-o", "remount,size=60m,nr_inodes=1000", place], check=True)
        syncron.ok(*words)
        assert_copied(source, place)


def test_a_read_only_destination(syncron: Command, way: Way, tmp_path: Path) -> None:
    source, place = tmp_path / "src", tmp_path / "disk"
    make(source, {"a": b"1"})
    with mounted(place):
        make(place, {"b": b"2"})
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        ended = syncron("--json", "--delete", *way.words(source, place))
        assert ended.code == 11, ended.err
        assert "Read-only file system; mount it writable" in ended.err
        assert os.listdir(place) == ["b"]


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that nobody, too, can reach."""
    directory_ = Path(tempfile.mkdtemp())
    directory_.chmod(0o755)
    yield directory_
    shutil.rmtree(directory_)


@pytest.fixture
def as_nobody(public: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command as nobody, from a copy that nobody can read."""
    checkout = Path(__file__).parents[2]
    shutil.copytree(
        checkout / "syncron_lib",
        public / "lib/syncron_lib",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    shutil.copy(checkout / "syncron.py", public / "lib")
    make(public / "home", directory({}, owner=(NOBODY.pw_uid, NOBODY.pw_gid)))

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/usr/bin/python3", "-B", public / "lib/syncron.py", *words],
            user=NOBODY.pw_uid,
            group=NOBODY.pw_gid,
            extra_groups=[],
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "HOME": str(public / "home")},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def test_notes_of_who_is_not_root(
    as_nobody: Callable[..., subprocess.CompletedProcess[str]], public: Path, tmp_path: Path
) -> None:
    """``--fake-super`` keeps what nobody else could, and reads what root would have."""
    source, kept, again, back = (public / name for name in ("src", "kept", "again", "back"))
    tree: dict[str, Literal] = {
        "f": File(b"1", mode=0),
        "d": directory({"l": Link(b"to")}, mode=0),
        "p": Fifo(),
    }
    make(source, directory(tree, owner=(1, 2)))
    os.chown(source / "f", 3, 4)
    os.chown(source / "d/l", 5, 6, follow_symlinks=False)
    there = f"{source}/", str(kept)
    subprocess.run(["rsync", "-a", "--specials", "-M--fake-super", *there], check=True)
    for path in [kept, *kept.rglob("*")]:
        os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    public.chmod(0o777)
    for _ in range(2):
        ended = as_nobody("--fake-super", "--json", kept, again)
        assert ended.returncode == 0, ended.stdout
        (again / "d").chmod(0o500)
    assert as_nobody("--verify", "--fake-super", kept, again).returncode == 0
    assert {path.lstat().st_uid for path in again.rglob("*")} == {NOBODY.pw_uid}
    subprocess.run(["rsync", "-a", "--fake-super", "-M--super", f"{again}/", back], check=True)
    assert_copied(source, back)


def test_unreadable_sources(
    as_nobody: Callable[..., subprocess.CompletedProcess[str]], public: Path
) -> None:
    source, destination = public / "src", public / "dst"
    make(
        source,
        {
            "readable": b"1",
            "secret": File(b"2", mode=0o600),
            "closed": directory({"x": b"3"}, mode=0o700),
            "unlisted": directory({"y": b"4"}, mode=0o711),
        },
    )
    owner = (NOBODY.pw_uid, NOBODY.pw_gid)
    make(destination, directory({}, owner=owner))
    for name in ("old", "secret", "closed"):
        make(destination / name, File(b"mine", owner=owner))
    done = as_nobody("--json", "--delete", "--force", source, destination)
    assert done.returncode == 23, done.stderr
    for name in ("old", "secret", "closed"):
        assert (destination / name).read_bytes() == b"mine", f"{name} was deleted or replaced"
    assert (destination / "readable").read_bytes() == b"1"
    for name in ("secret", "closed", "unlisted"):
        assert f'"path": "{name}"' in done.stdout


def test_deleting_although_a_part_is_unreadable(
    as_nobody: Callable[..., subprocess.CompletedProcess[str]], public: Path
) -> None:
    source, destination = public / "src", public / "dst"
    make(source, {"secret": File(b"2", mode=0o600), "closed": directory({"x": b"3"}, mode=0o700)})
    owner = (NOBODY.pw_uid, NOBODY.pw_gid)
    make(destination, directory({"closed": directory({}, owner=owner)}, owner=owner))
    for name in ("old", "secret", "closed/kept"):
        make(destination / name, File(b"mine", owner=owner))
    done = as_nobody("--delete-before", "--no-ignore-errors", source, destination)
    assert done.returncode == 23
    assert (destination / "old").exists()
    done = as_nobody("--del", "--ignore-errors", source, destination)
    assert done.returncode == 23
    assert not (destination / "old").exists()
    for name in ("secret", "closed/kept"):
        assert (destination / name).read_bytes() == b"mine", f"{name} was deleted or replaced"


def test_unwritable_destinations(
    as_nobody: Callable[..., subprocess.CompletedProcess[str]], public: Path
) -> None:
    source, destination = public / "src", public / "dst"
    owner = (NOBODY.pw_uid, NOBODY.pw_gid)
    make(source, {"a": b"1", "d": {"b": b"2"}, "mine": File(b"3", mode=0o600, owner=owner)})
    make(source / "ro", directory({"x": b"4", "s": directory({"y": b"5"}, mode=0o555)}, mode=0o555))
    # The root's directory: nothing can be written at all.
    make(destination, {"old": b"6"})
    before = listing(destination)
    done = as_nobody("--delete", source, destination)
    assert done.returncode in (11, 23), done.stderr
    assert "Permission denied" in done.stderr
    assert listing(destination) == before
    # One directory that is root's: the rest is done.
    os.chown(destination, *owner)
    make(destination / "d", {"b": b"old", "c": b"old"})
    done = as_nobody("--delete", source, destination)
    assert done.returncode == 23, done.stderr
    assert (destination / "d/b").read_bytes() == b"old"
    assert (destination / "a").read_bytes() == b"1"
    # All of it its own, read-only directories in the way.
    shutil.rmtree(destination / "d")
    assert as_nobody("--delete", source, destination).returncode == 0
    (source / "ro/x").write_bytes(b"new")
    os.unlink(source / "ro/s/y")
    make(source / "ro/s/z", File(b"7"))
    done = as_nobody("--delete", source, destination)
    assert (done.returncode, done.stderr) == (0, "")
    assert_same(source, destination)


def test_names_of_owners_decide_between_machines(
    syncron: Command, hosts: Sshd, script: Script, tmp_path: Path
) -> None:
    """Numbers that have no name on the other side are kept."""
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(
        source,
        {
            "named": File(b"1", owner=(NOBODY.pw_uid, NOBODY.pw_gid)),
            "nameless": File(b"2", owner=(54321, 54322)),
            "root's": File(b"3", owner=(0, 0)),
        },
    )
    syncron.ok(f"--remote-syncron={script()}", source, f"target:{destination}")
    assert_same(source, destination, owner=True)
    syncron.ok("--no-owner", "--no-group", source, f"target:{tmp_path}/other")
    assert (tmp_path / "other/named").stat().st_uid == 0
    assert_same(source, tmp_path / "other")


@pytest.mark.parametrize("way", ["push", "pull"])
@pytest.mark.usefixtures("as_nobody")
def test_an_account_that_nobody_knows(public: Path, tmp_path: Path, way: str) -> None:
    """A uid without a name and without a home, on a machine whose /tmp is full, at both ends."""
    rsh = public / "rsh"
    rsh.write_text('#!/bin/sh\nexec sh -c "$2"\n')
    rsh.chmod(0o755)
    content = noise(700_000)
    make(public / "src", {"a": b"1", "d": {"b": content}})
    for name in ("dst", "state"):
        make(public / name, directory({}, owner=(54321, 54321)))
    both = [f"{public}/src", f"{public}/dst"]
    both[way == "push"] = "host:" + both[way == "push"]
    with mounted(public / "full", "size=4k") as full:
        (full / "x").write_bytes(bytes(4096))
        done = subprocess.run(
            ["/usr/bin/python3", "-B", public / "lib/syncron.py", f"--rsh={rsh}", *both],
            user=54321,
            group=54321,
            extra_groups=[],
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "XDG_STATE_HOME": f"{public}/state", "TMPDIR": str(full)},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert (public / "dst/d/b").read_bytes() == content
    assert not (public / "dst/~").exists()


def test_what_may_not_be_changed_is_named_and_the_rest_is_done(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    """Files that not even root may touch (``chattr +i``, ``+a``), and a directory."""
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"fixed": b"new", "other": b"new", "d": {"in": b"new"}, "mode": b"same"})
    old = {"fixed": b"older", "grows": b"only", "other": b"older", "gone": b"g", "mode": b"same"}
    make(destination, {**old, "d": {"in": b"older", "old": b"x"}})
    (source / "mode").chmod(0o600)
    attributes = {"fixed": "i", "grows": "a", "d": "i", "mode": "i"}
    for name, which in attributes.items():
        subprocess.run(["chattr", f"+{which}", destination / name], check=True)
    try:
        ended = syncron("--json", "--delete", *way.words(source, destination))
        assert ended.code == 23, ended.err
        failed = {error["path"] for error in ended.summary["errors"]}
        assert {"fixed", "mode", "grows", "d/in", "d/old"} <= failed
        assert (destination / "other").read_bytes() == b"new"
        kept = {"fixed": b"older", "grows": b"only", "d/in": b"older", "d/old": b"x"}
        for name, content in kept.items():
            assert (destination / name).read_bytes() == content, name
        assert not (destination / "gone").exists()
    finally:
        for name in attributes:
            subprocess.run(["chattr", "-ia", destination / name], check=True)
    syncron.ok("--delete", *way.words(source, destination))
    assert_copied(source, destination)


@pytest.mark.parametrize("account", ["root", "nobody"])
def test_set_id_bits_devices_and_owners_are_what_rsync_makes_of_them(
    syncron: Command,
    as_nobody: Callable[..., subprocess.CompletedProcess[str]],
    public: Path,
    account: str,
) -> None:
    """An honest tree, and the same by rsync as the same user; what a source may lie about it is in
    `tests/adversary/test_attributes.py`."""
    source = public / "src"
    own = (NOBODY.pw_uid, NOBODY.pw_gid)
    make(source, directory({"plain": b"1", "d": directory({"x": b"2"}, mode=0o2775)}))
    for name, mode, owner in (
        *(("root's", 0o4755, (0, 0)), ("group", 0o2755, (0, 0)), ("own", 0o6711, own)),
        ("stranger's", 0o6777, (54321, 54322)),
    ):
        make(source / name, File(b"program", owner=owner))
        (source / name).chmod(mode)
    os.mkfifo(source / "fifo")
    os.chown(source / "fifo", *own)
    os.chmod(source / "fifo", 0o4622)
    os.mknod(source / "null", 0o020666, os.makedev(1, 3))
    os.chown(source / "null", 54321, 0)
    os.chmod(source / "null", 0o4666)
    made: list[tuple[int, dict[str, tuple[int, ...]]]] = []
    for name in ("ours", "rsync's"):
        place = public / name
        make(place, directory({}, owner=own))
        if name == "ours":
            ended = as_nobody("--json", source, place) if account == "nobody" else None
            code = ended.returncode if ended else syncron("--json", source, place).code
        else:
            user = {"user": own[0], "group": own[1], "extra_groups": []}
            more: dict[str, Any] = user if account == "nobody" else {}
            words = ["rsync", "-rlptgoD", f"{source}/", str(place)]
            code = subprocess.run(words, stderr=subprocess.DEVNULL, **more).returncode
        made.append((code, attributes(place)))
    (ours, theirs) = made
    assert ours[1] == theirs[1]
    # Devices are root's to make. What else is not done is said; rsync says it and ends with 0.
    assert (ours[0], theirs[0]) == ((0, 0) if account == "root" else (23, 0))
    assert ("null" in ours[1]) is (account == "root")


def attributes(top: Path) -> dict[str, tuple[int, ...]]:
    """Mode, owner, group and device of all that is below."""
    found = {str(path.relative_to(top)): path.lstat() for path in top.rglob("*")}
    return {
        name: (st.st_mode, st.st_uid, st.st_gid, st.st_rdev)
        for name, st in found.items()
        if not name.startswith(".syncron")
    }


def test_no_link_leads_to_another_file_system(syncron: Command, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"a": b"same", "m": {"k": b"k"}})
    os.link(source / "a", source / "m/b")
    with mounted(destination / "m"):
        ended = syncron("-H", str(source), str(destination))
        assert ended.code == 23
        assert "cannot be linked to a: Invalid cross-device link" in ended.err
        assert (destination / "m/b").read_bytes() == b"same"


@pytest.mark.parametrize(
    "options",
    [
        ["--chown=daemon:sys"],
        ["--chown=:7"],
        ["--usermap=:daemon"],
        ["--usermap=d*:7,*:5", "--groupmap=[!d]*:3"],
        ["--usermap=12000-13000:1,0:3"],
        ["--numeric-ids", "--usermap=*:5"],
        ["--numeric-ids", "--usermap=daemon:5"],
        ["--usermap=root:9"],
    ],
    ids=" ".join,
)
def test_users_and_groups_are_given_to_others_as_by_rsync(
    syncron: Command, tmp_path: Path, options: list[str]
) -> None:
    source, ours, rsyncs = tmp_path / "src", tmp_path / "ours", tmp_path / "rsyncs"
    make(source, {"root": b"", "daemon": b"", "d": {"nameless": b""}})
    os.chown(source / "daemon", 1, 1)
    os.chown(source / "d/nameless", 12345, 12345)
    subprocess.run(["rsync", "-a", *options, f"{source}/", f"{rsyncs}/"], check=True)
    syncron.ok(*options, str(source), str(ours))
    assert_same(rsyncs, ours, owner=True)
    again = syncron.ok(*options, str(source), str(ours))
    assert again["metadata"] == again["changed"] == 0


def test_ids_that_are_numbers_stay_so_over_ssh(syncron: Command, way: Way, tmp_path: Path) -> None:
    make(tmp_path / "src", {"daemon": b""})
    os.chown(tmp_path / "src/daemon", 1, 1)
    words = way.words(tmp_path / "src", tmp_path / "dst")
    syncron.ok("--numeric-ids", *words)
    assert_same(tmp_path / "src", tmp_path / "dst", owner=True)
    syncron.ok("--chown=bin:5", *words)
    st = (tmp_path / "dst/daemon").stat()
    assert (st.st_uid, st.st_gid) == (2, 5)
    ended = syncron("--chown=nobody-at-all", *words)
    assert (ended.code, "Nobody is called nobody-at-all at" in ended.err) == (3, True)


def test_times_of_access_are_left_where_asked(syncron: Command, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=8m,strictatime"):
        source = tmp_path / "disk/src"
        make(source, {"small": b"1", "large": noise(1 << 20)})
        files = [source / "small", source / "large"]
        for path in files:
            os.utime(path, ns=(10**18, path.stat().st_mtime_ns))
        syncron.ok("--open-noatime", source, tmp_path / "one")
        assert syncron("--verify", "--open-noatime", source, tmp_path / "one").code == 0
        assert [path.stat().st_atime_ns for path in files] == [10**18, 10**18]
        syncron.ok(source, tmp_path / "two")
        assert all(path.stat().st_atime_ns > 10**18 for path in files)


def test_root_that_shall_not_be_root(syncron: Command, tmp_path: Path) -> None:
    source, ours, theirs = tmp_path / "src", tmp_path / "ours", tmp_path / "theirs"
    make(source, {"a": b"1", "d": {"b": b"2"}})
    os.mknod(source / "null", 0o020666, os.makedev(1, 3))
    os.chown(source / "a", NOBODY.pw_uid, NOBODY.pw_gid)
    done = subprocess.run(
        ["rsync", "-aX", "--no-super", f"{source}/", f"{theirs}/"], capture_output=True, check=False
    )
    ended = syncron("-X", "--no-super", source, ours)
    assert ended.code == done.returncode == 0
    assert attributes(ours) == attributes(theirs)
    assert not (ours / "null").exists()
    syncron.ok("-X", "--super", source, ours)
    assert (ours / "a").stat().st_uid == NOBODY.pw_uid
    assert stat.S_ISCHR((ours / "null").stat().st_mode)


def test_somebody_who_shall_be_root(public: Path, as_nobody: Any) -> None:
    make(public / "src", {"a": b"1"})
    os.chown(public / "src/a", 0, 0)
    destination = public / "home/dst"
    assert as_nobody(public / "src", destination).returncode == 0
    ended = as_nobody("--super", public / "src", destination)
    assert ended.returncode == 23
    assert "a: its attributes cannot be set: Operation not permitted" in ended.stderr


@pytest.mark.parametrize(("size", "room"), [(60 << 20, "8m"), (700_000, "400k")])
def test_no_room_is_told_before_the_content_comes(
    syncron: Command, tmp_path: Path, size: int, room: str
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/zeros").touch()
    os.truncate(tmp_path / "src/zeros", size)
    with mounted(tmp_path / "mount", f"size={room}") as place:
        words = "-S", tmp_path / "src", place / "dst"
        ended = syncron("--preallocate", "--json", *words)
        assert (ended.code, "No space left on device" in ended.err) == (11, True)
        assert ended.summary["bytes_transferred"] < 20 << 20
        # The control: holes alone have room.
        syncron.ok(*words)
