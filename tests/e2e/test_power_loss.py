"""Power cuts, on a disk of one's own: what was not written to it is gone."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deep import DEEP, spread
from tests.e2e.faults import WORKLOADS, Bench, leaves
from tests.e2e.forking import DESTINATION, Forked
from tests.trees import MTIME_NS, Directory, File, assert_same, read

pytestmark = pytest.mark.timeout(3600 if DEEP else 120)

_TREE = ("linkat", "renameat", "unlinkat", "mkdirat", "symlinkat", "write", "fchmod")
"""What a run does to a tree, and not to what is remembered elsewhere."""
_SHUTDOWN = 0x8004587D
"""``EXT4_IOC_SHUTDOWN``; with the argument 2 not even the journal is written any more."""


class Disk:
    """An ext4 file system in a file, with the options that a distribution gives it."""

    def __init__(self, top: Path) -> None:
        self._image, self.mounted = top / "image", top / "disk"
        self.mounted.mkdir()
        with open(self._image, "wb") as image:
            image.truncate(48 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", self._image], check=True)
        self.mount()

    def mount(self) -> None:
        """Have it there, its journal replayed."""
        subprocess.run(["mount", "-o", "loop", self._image, self.mounted], check=True)

    def unmount(self) -> None:
        """Have it gone."""
        subprocess.run(["umount", self.mounted], check=True)

    def cut(self, committed: bool) -> None:
        """Cut the power, and switch on again. ``committed``: a moment after the journal was
        written, as happens every five seconds, while content may wait for thirty."""
        if committed:
            with open(self.mounted / "other", "wb") as file:
                file.write(b"x" * 5000)
                os.fsync(file.fileno())
        fd = os.open(self.mounted, os.O_RDONLY)
        fcntl.ioctl(fd, _SHUTDOWN, struct.pack("=I", 2))
        os.close(fd)
        self.unmount()
        # A mount namespace that another test made meanwhile holds what was shut down for as long
        # as it lasts, and mounting the same file again would be mounting that.
        copy = self._image.with_suffix(".copy")
        subprocess.run(["cp", "--sparse=always", self._image, copy], check=True)
        os.rename(copy, self._image)
        self.mount()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk with nothing on it."""
    disk = Disk(tmp_path)
    yield disk
    disk.unmount()


@pytest.fixture(params=WORKLOADS)
def bench(
    request: pytest.FixtureRequest, forked: Forked, disk: Disk, tmp_path: Path
) -> Iterator[Bench]:
    """Each workload, its destination on the disk; what is remembered is elsewhere, and survives."""
    bench = Bench(forked, WORKLOADS[request.param], tmp_path, disk.mounted / "dst")
    yield bench


def on_disk(bench: Bench) -> None:
    """The destination as it was long ago."""
    bench.reset()
    subprocess.run(["sync", "-f", bench.destination], check=True)


@pytest.mark.parametrize("committed", [False, True])
def test_with_fsync_nothing_is_lost_after_the_end(
    bench: Bench, disk: Disk, committed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for state in (disk.mounted / "state", Path(os.environ["XDG_STATE_HOME"])):
        monkeypatch.setenv("XDG_STATE_HOME", str(state))
        on_disk(bench)
        ended = bench.run("--fsync", *bench.words())
        assert ended.code == 0, ended.err
        disk.cut(committed)
        assert_same(bench.destination, bench.new, owner=True)
        ended = bench.run("--json", *bench.words())
        assert ended.code == 0, ended.err
        assert "damaged" not in ended.err
        assert ended.summary["changed"] == ended.summary["created"] == 0
        assert ended.summary["match"] is True


def test_with_fsync_nothing_is_torn_at_any_moment(bench: Bench, disk: Disk) -> None:
    """The power goes as the run does, at the worst time: names are on the disk already."""
    found = bench.points(DESTINATION, _TREE, "--fsync")
    chosen = spread(found, 3)
    for point in chosen:
        on_disk(bench)
        strace = ("-o", "/dev/null", *point.inject("signal=KILL"))
        ended = bench.run("--fsync", *bench.words(), who=DESTINATION, strace=strace)
        assert ended.code == 12, (point, ended.err)
        assert bench.run.left() == []
        disk.cut(committed=True)
        bench.assert_survived(point)
    print(f"{bench.workload.name}: the power went at {len(chosen)} of {len(found)} points")


@pytest.mark.parametrize("committed", [False, True])
def test_without_fsync_what_was_there_is_old_or_new(
    bench: Bench, disk: Disk, committed: bool
) -> None:
    """What is new may be missing or empty; the next run sees it, whatever is remembered."""
    on_disk(bench)
    ended = bench.run(*bench.words())
    assert ended.code == 0, ended.err
    disk.cut(committed)
    found = read(bench.destination)
    assert isinstance(found, Directory)
    now, before, after = leaves(found), leaves(bench.before), leaves(bench.after)
    for path, node in now.items():
        if isinstance(node, File) and path != bench.workload.mixed:
            possible = [each for each in (before.get(path), after.get(path)) if each is not None]
            contents = [each.content for each in possible if isinstance(each, File)]
            if not isinstance(before.get(path), File):
                contents.append(b"")
            assert node.content in contents, path
    for path in before.keys() & after.keys():
        if isinstance(before[path], type(after[path])):
            assert path in now, path
    if committed and bench.workload.name == "new files":
        assert now[b"l"] == File(b"", 0o644, MTIME_NS), "nothing was lost: is the power cut at all?"
    bench.assert_goes_on("the power cut")


def test_a_disk_comes_back_though_somebody_holds_what_it_was(disk: Disk) -> None:
    """As any test that makes a mount namespace of its own does to the others beside it."""
    (disk.mounted / "old").write_bytes(b"1")
    words = ["unshare", "--mount", "sh", "-c", "echo; exec sleep 60"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        disk.cut(committed=True)
        (disk.mounted / "new").write_bytes(b"2")
        other.kill()
