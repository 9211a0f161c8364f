"""``--temp-dir`` where disks are full, and where file systems are mounted in the destination: only
root can bring that about."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from tests.e2e.conftest import Command, MakeWay, assert_copied, eventually, mounted
from tests.e2e.forking import Forked
from tests.trees import make, noise

MEGABYTE = 1 << 20


def test_a_full_scratch_directory(syncron: Command, make_way: MakeWay, tmp_path: Path) -> None:
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"large": noise(3 * MEGABYTE), "small": b"new"})
    make(destination, {"large": b"old", "more": b"m"})
    words = make_way("push-installed").words(source, destination)
    with mounted(tmp_path / "disk", "size=2m") as disk:
        ended = syncron("-T", disk, "--delete", *words)
        assert ended.code == 11
        assert f"The scratch directory {disk} cannot be written to any more: No space" in ended.err
        assert (destination / "large").read_bytes() == b"old"
        assert (destination / "more").exists()
        assert not any(disk.iterdir())
        assert not (destination / ".syncron").exists()
    syncron.ok("--delete", *words)
    assert_copied(source, destination)


def test_a_full_destination_keeps_what_is_elsewhere(forked: Forked, tmp_path: Path) -> None:
    source, scratch = tmp_path / "src", tmp_path / "scratch"
    make(source, {"large": noise(5 * MEGABYTE), "small": b"new"})
    scratch.mkdir()
    with mounted(tmp_path / "disk", "size=7m") as disk:
        (disk / "large").write_bytes(noise(4 * MEGABYTE, 1))
        words = "--json", "-T", scratch, source, disk
        ended = forked(*words)
        assert ended.code == 11, ended.err
        assert (
            "The destination cannot be written to any more" in ended.summary["errors"][0]["message"]
        )
        assert (disk / "large").read_bytes() == noise(4 * MEGABYTE, 1)
        assert not (disk / ".syncron").exists()
        subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True)
        ended = forked(*words)
        assert ended.code == 0, ended.err
        assert ended.summary["bytes_transferred"] < MEGABYTE
        assert_copied(source, disk)
        assert not any(scratch.iterdir())


def test_what_lies_on_another_file_system_of_the_destination(
    syncron: Command, make_way: MakeWay, tmp_path: Path
) -> None:
    """What is left of a run lies where its file was to go, which is another place by now."""
    source, destination = tmp_path / "src", tmp_path / "dst"
    make(source, {"m": {"large": noise(5 * MEGABYTE), "some": b"s"}})
    with mounted(destination / "m", "size=30m") as disk:
        words = make_way("push-installed").words(source, destination)
        slow = syncron.start("--bwlimit=2m", *words)
        staging = disk / ".syncron"

        def has_come() -> int:
            return sum(path.stat().st_size for path in staging.rglob("n*"))

        assert eventually(lambda: has_come() > 3 * MEGABYTE, 30)
        slow.send_signal(signal.SIGKILL)
        slow.communicate()
        os.rename(source / "m/large", source / "large")
        make(source / "new", {"copy": noise(100_000)})
        done = syncron.ok(*words, "--lock-wait=5")
        assert done["bytes_transferred"] < 3 * MEGABYTE
        assert (destination / "large").read_bytes() == noise(5 * MEGABYTE)
        assert not staging.exists()


def test_mounts_in_the_destination(forked: Forked, tmp_path: Path) -> None:
    """A rename leads from the scratch directory to some of it only, or it lies in one of them."""
    source, destination, scratch = tmp_path / "src", tmp_path / "dst", tmp_path / "scratch"
    large = noise(2 * MEGABYTE)
    make(
        source, {"large": large, "bound": {"l": large[1:]}, "m": {"l": large[2:], "n": {"f": b""}}}
    )
    scratch.mkdir()
    make(tmp_path / "bound", {})
    with mounted(destination / "m", "size=30m") as disk:
        (destination / "bound").mkdir()
        subprocess.run(["mount", "--bind", tmp_path / "bound", destination / "bound"], check=True)
        try:
            for number, where in enumerate((scratch, disk, disk / "t", destination / "bound")):
                if number:
                    for path in ("large", "bound/l", "m/l"):
                        with (source / path).open("ab") as file:
                            file.write(b"%d" % number)
                (disk / "t").mkdir(exist_ok=True)
                ended = forked("--json", "-T", where, source, destination)
                assert (ended.code, ended.err) == (0, "")
                for path in ("large", "bound/l", "m/l"):
                    assert (destination / path).read_bytes() == (source / path).read_bytes()
                assert not [*destination.rglob(".syncron*"), *scratch.iterdir()]
        finally:
            subprocess.run(["umount", "-l", destination / "bound"], check=True)
