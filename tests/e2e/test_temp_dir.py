"""``--temp-dir``: what comes is put together in a scratch directory, and is whole when it has its
name, whatever file system that directory is on."""

from __future__ import annotations

import fcntl
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Command, MakeWay, Way, assert_copied, eventually, is_locked, listing
from tests.e2e.everything import ACL_USER, acl
from tests.e2e.forking import DESTINATION, Forked
from tests.e2e.test_delayed import trees
from tests.trees import make, noise

MEGABYTE = 1 << 20
SHM = Path("/dev/shm")


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A directory on another file system, from which nothing is renamed to where tests are."""
    with tempfile.TemporaryDirectory(dir=SHM) as there:
        yield Path(there)


@pytest.fixture(params=["same", "other"])
def scratch(request: pytest.FixtureRequest, tmp_path: Path, elsewhere: Path) -> Path:
    """A scratch directory on the destination's file system, and one on another."""
    if request.param == "other":
        assert elsewhere.stat().st_dev != tmp_path.stat().st_dev
        return elsewhere
    place = tmp_path / "scratch"
    place.mkdir()
    return place


def files(top: Path) -> list[Path]:
    return [path for path in top.rglob("*") if path.is_file()]


def test_every_way(syncron: Command, way: Way, tmp_path: Path, elsewhere: Path) -> None:
    source, destination = trees(tmp_path)
    words = (f"--temp-dir={elsewhere}", "--delete", *way.words(source, destination))
    syncron.ok(*words)
    assert_copied(source, destination)
    assert not any(elsewhere.iterdir())
    assert syncron.ok(*words)["created"] == 0


def test_a_killed_run_is_gone_on_with(
    syncron: Command, make_way: MakeWay, tmp_path: Path, scratch: Path
) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"large": noise(4 * MEGABYTE), "whole": noise(MEGABYTE, 1)})
    make(destination, {"large": b"old"})
    words = f"--temp-dir={scratch}", *make_way("push-installed").words(source, destination)
    slow = syncron.start("--bwlimit=1m", *words)
    assert eventually(lambda: _size(scratch) > 2 * MEGABYTE, 30)
    assert _size(destination / ".syncron") == 0
    slow.send_signal(signal.SIGKILL)
    slow.communicate()
    assert eventually(lambda: not is_locked(next(scratch.iterdir())))
    assert (destination / "large").read_bytes() == b"old"
    (source / "large").rename(source / "renamed")
    done = syncron.ok("--delete", *words)
    assert done["bytes_transferred"] < 4 * MEGABYTE
    assert_copied(source, destination)
    assert not any(scratch.iterdir())


def _size(staging: Path) -> int:
    return sum(path.stat().st_size for path in staging.rglob("n*"))


def test_what_a_killed_run_left_goes_where_there_is_nothing_to_do(
    forked: Forked, tmp_path: Path, scratch: Path
) -> None:
    source, destination = trees(tmp_path)
    option = f"--temp-dir={scratch}"
    fault = "--inject=pwrite64,write:signal=KILL:when=9"
    forked(option, source, destination, who=DESTINATION, strace=("-e", "trace=pwrite64", fault))
    assert any(scratch.rglob("n*"))
    assert forked(source, destination).code == 0
    assert any(scratch.iterdir())
    assert forked(option, source, destination).code == 0
    assert not any(scratch.iterdir())


OPTIONS = (
    "--delay-updates --fsync -b",
    "--inplace",
    "--no-whole-file -HAX",
    "-S --preallocate --backup-dir=../kept --partial-dir=.partial",
)


@pytest.mark.parametrize("more", OPTIONS)
def test_with_other_options(forked: Forked, tmp_path: Path, scratch: Path, more: str) -> None:
    source, destination = trees(tmp_path)
    if "-HAX" in more:
        os.link(source / "new/deep/large", source / "z/another name")
    with (source / "new/holes").open("wb") as file:
        file.truncate(3 * MEGABYTE)
        file.write(b"end")
    old = (destination / "edited").read_bytes()
    words = f"--temp-dir={scratch}", "--delete", "--json", *more.split()
    ended = forked(*words, source, destination)
    assert (ended.code, ended.err) == (0, "")
    assert ended.summary["match"] is True
    if not more.endswith("-b"):
        assert_copied(source, destination, *(["-HAX"] if "-HAX" in more else []))
    if "backup" in more:
        assert (tmp_path / "kept/edited").read_bytes() == old
    if more.startswith("-S"):
        assert (destination / "new/holes").stat().st_blocks < 100
    assert not any(scratch.iterdir())


def test_nothing_is_seen_half_written(forked: Forked, tmp_path: Path, elsewhere: Path) -> None:
    """Killed at any call by which a file that lies elsewhere comes to its place."""
    source, destination = tmp_path / "src", tmp_path / "dst"
    new, old = noise(2 * MEGABYTE), noise(MEGABYTE, 1)
    words = f"--temp-dir={elsewhere}", source, destination
    make(source, {"f": new})
    destination.mkdir()
    for call in ("copy_file_range", "renameat", "unlinkat"):
        for when in range(1, 4):
            (destination / "f").write_bytes(old)
            fault = f"--inject={call}:signal=KILL:when={when}"
            trace = ("-e", f"trace={call}", fault)
            ended = forked(*words, who=DESTINATION, strace=trace)
            assert (destination / "f").read_bytes() in (old, new)
            assert forked(*words).code == 0
            assert (destination / "f").read_bytes() == new
            assert not any(elsewhere.iterdir())
            assert not (destination / ".syncron").exists()
            if ended.code == 0:
                break


def test_where_it_cannot_be(forked: Forked, tmp_path: Path) -> None:
    source, destination = trees(tmp_path)
    (tmp_path / "file").touch()
    (destination / ".syncron").mkdir()
    before = listing(tmp_path)
    for directory, what in (
        ("nowhere", f"{destination}/nowhere is not there"),
        (tmp_path / "file", "is not a directory"),
        (".syncron", "lies in syncron's own"),
        ("/proc/self", "Nothing can be made in the scratch directory"),
    ):
        for dry in ((), ("-n",)) if "made" not in what else ((),):
            ended = forked(*dry, "-T", directory, source, destination)
            assert (ended.code, len(ended.err.splitlines())) == (3, 1), ended.err
            assert what in ended.err and "Nothing was changed" in ended.err
    assert listing(tmp_path) == before
    ended = forked("--two-way", "-T", tmp_path, source, destination)
    assert (ended.code, "--temp-dir do not go together" in ended.err) == (1, True)


def test_it_is_relative_to_the_destination(forked: Forked, tmp_path: Path) -> None:
    """... that the user named, whatever the roots of the run are."""
    for name in ("one", "two"):
        make(tmp_path / name, {"f": noise(MEGABYTE, len(name))})
    make(tmp_path / "dst", {})
    make(tmp_path / "scratch", {})
    (tmp_path / "scratch").chmod(0o500)
    made = ("-e", "trace=mkdirat", "-o", tmp_path / "trace")
    words = ("--no-whole-file", "-T", "../scratch", tmp_path / "one", tmp_path / "two")
    ended = forked(*words, tmp_path / "dst", who=DESTINATION, strace=made)
    assert ended.code == 0, ended.err
    ended = forked("--snapshot", "-T", "../scratch", tmp_path / "one", tmp_path / "dst/snapshots")
    assert ended.code == 3 and f"{tmp_path}/dst/scratch is not there" in ended.err
    ended = forked(tmp_path / "one/f", "-T", "../scratch", tmp_path / "dst/")
    assert ended.code == 0, ended.err
    assert (tmp_path / "dst/f").read_bytes() == (tmp_path / "one/f").read_bytes()
    assert not any((tmp_path / "scratch").iterdir())


def test_inside_of_the_destination_it_is_a_directory_like_any_other(
    forked: Forked, tmp_path: Path
) -> None:
    source, destination = trees(tmp_path)
    for directory in (".", "z"):
        ended = forked("-T", directory, "--delete", "--json", source, destination)
        assert (ended.code, ended.err) == (0, "")
        assert_copied(source, destination)
        (source / "same").write_text(directory)


def test_two_runs_share_one(syncron: Command, tmp_path: Path, scratch: Path) -> None:
    runs = []
    for number in range(2):
        source, destination = tmp_path / f"src{number}", tmp_path / f"dst{number}"
        make(source, {"large": noise(3 * MEGABYTE, number), "d": {"f": b"%d" % number}})
        run = syncron.start("--bwlimit=4m", "-T", scratch, source, destination)
        runs.append((run, source, destination))
    for run, source, destination in runs:
        ended = syncron.end(run)
        assert ended.code == 0, ended.err
        assert_copied(source, destination)
    assert not any(scratch.iterdir())


def test_what_another_run_holds_is_left_alone(
    forked: Forked, tmp_path: Path, scratch: Path
) -> None:
    source, destination = trees(tmp_path)
    words = "--delete", "-T", scratch, source, destination
    fault = "--inject=linkat,renameat:signal=KILL:when=1"
    forked(*words, who=DESTINATION, strace=("-e", "trace=linkat,renameat", fault))
    (staging,) = scratch.iterdir()
    (staging / "n99").write_bytes(b"left")
    left = sorted(files(staging))
    fd = os.open(staging, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    ended = forked(*words)
    assert ended.code == 6 and f"Another run holds {staging.name} in {scratch}" in ended.err
    assert sorted(files(staging)) == left
    os.close(fd)
    assert forked(*words).code == 0
    assert_copied(source, destination)


def test_nothing_tells_where_it_was_made(forked: Forked, tmp_path: Path) -> None:
    """A rename keeps what a file got of the directory that it was made in."""
    source, scratch = tmp_path / "src", tmp_path / "scratch"
    make(source, {"f": b"1", "large": noise(MEGABYTE), "d": {"g": b"2"}})
    scratch.mkdir()
    os.setxattr(scratch, "system.posix_acl_default", acl((ACL_USER, 7, 1000), 7))
    for inherited in (None, acl((ACL_USER, 4, 1001), 5)):
        found = []
        for name, option in (("with", f"--temp-dir={scratch}"), ("without", "--no-sparse")):
            destination = tmp_path / f"{name}{inherited is None}"
            destination.mkdir()
            if inherited:
                os.setxattr(destination, "system.posix_acl_default", inherited)
            assert forked("--no-perms", option, source, destination).code == 0
            found.append([_made(path) for path in sorted(destination.rglob("*"))])
        assert found[0] == found[1]


def _made(path: Path) -> tuple[object, ...]:
    """What an entry has got of what it was made in."""
    st = path.stat()
    acls = {name: os.getxattr(path, name) for name in os.listxattr(path)}
    return path.name, st.st_mode, st.st_gid, acls


def test_called_as_rsync(syncron: Command, tmp_path: Path, elsewhere: Path) -> None:
    source, destination = trees(tmp_path)
    ended = syncron("--rsync", "-aT", elsewhere, "--delete", f"{source}/", f"{destination}/")
    assert (ended.code, ended.err) == (0, "")
    assert_copied(source, destination)
